//! Reads a custom resource's `openAPIV3Schema` into a table of its own.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use thiserror::Error;

use super::Schema;
use super::constraints::Constraints;
use super::table::{self, Field, Format, NONE, Node, Shape, Span, Table};

/// A schema that is not structural, or not readable.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    #[error("{path}: Required value: {detail}")]
    Missing { path: String, detail: String },
    #[error("{path}: Invalid value: {value:?}: {detail}")]
    Invalid { path: String, value: String, detail: String },
    #[error("{path}: nested more than {limit} levels deep")]
    TooDeep { path: String, limit: usize },
}

const DEPTH_LIMIT: usize = 64;

/// Reads a schema. With `root` set it describes a whole object: apiVersion, kind and metadata are the built-in ones.
/// Without a schema (`None`) anything goes.
pub fn parse(schema: Option<&Value>, root: bool) -> Result<Schema, SchemaError> {
    let mut builder = Builder::default();
    let id = match schema {
        Some(schema) => builder.node(schema, "", root, 0)?,
        None => builder.free_object(root),
    };
    Ok(Schema::shared(builder.finish(), id))
}

#[derive(Default)]
struct Builder {
    text: String,
    pool: HashMap<String, Span>,
    nodes: Vec<Node>,
    fields: Vec<Field>,
    constraints: Vec<Constraints>,
    copied: HashMap<u32, u32>,
}

const EMPTY: Node = Node {
    shape: Shape::Any,
    format: Format::None,
    flags: 0,
    name: Span { start: 0, len: 0 },
    keys: Span { start: 0, len: 0 },
    first: 0,
    count: 0,
    element: NONE,
    constraints: NONE,
};

impl Builder {
    fn finish(self) -> Table {
        Table {
            text: Cow::Owned(self.text),
            nodes: Cow::Owned(self.nodes),
            fields: Cow::Owned(self.fields),
            constraints: self.constraints,
        }
    }

    fn span(&mut self, text: &str) -> Span {
        if text.is_empty() {
            return Span::default();
        }
        if let Some(span) = self.pool.get(text) {
            return *span;
        }
        let span = Span { start: self.text.len() as u32, len: text.len() as u32 };
        self.text.push_str(text);
        self.pool.insert(text.to_owned(), span);
        span
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    fn free_object(&mut self, root: bool) -> u32 {
        let mut node = Node { shape: Shape::Object, flags: table::PRESERVE, ..EMPTY };
        if root {
            let mut fields = Vec::new();
            self.object_fields(&mut fields);
            self.set_fields(&mut node, fields);
        }
        self.push(node)
    }

    fn node(&mut self, schema: &Value, path: &str, root: bool, depth: usize) -> Result<u32, SchemaError> {
        if depth > DEPTH_LIMIT {
            return Err(SchemaError::TooDeep { path: path.to_owned(), limit: DEPTH_LIMIT });
        }
        let yes = |key: &str| schema[key] == Value::Bool(true);
        let embedded = yes("x-kubernetes-embedded-resource");
        let mut node = EMPTY;
        node.shape = shape(schema, path)?;
        if depth == 0 && root && node.shape != Shape::Object {
            let value = schema["type"].as_str().unwrap_or_default().to_owned();
            let detail = "must be object at the root".to_owned();
            return Err(SchemaError::Invalid { path: format!("{path}.type"), value, detail });
        }
        node.format = format(schema);
        for (key, flag) in [
            ("nullable", table::NULLABLE),
            ("x-kubernetes-preserve-unknown-fields", table::PRESERVE),
            ("x-kubernetes-embedded-resource", table::EMBEDDED),
        ] {
            node.flags |= if yes(key) { flag } else { 0 };
        }
        match node.shape {
            Shape::List => self.list(&mut node, schema, path, depth)?,
            Shape::Object => {
                if schema["x-kubernetes-map-type"] == "atomic" {
                    node.flags |= table::ATOMIC;
                }
                let mut fields = self.properties(schema, path, depth)?;
                if root || embedded {
                    self.object_fields(&mut fields);
                }
                self.set_fields(&mut node, fields);
                match &schema["additionalProperties"] {
                    Value::Object(_) => {
                        let inner = format!("{path}.additionalProperties");
                        node.element = self.node(&schema["additionalProperties"], &inner, false, depth + 1)?;
                    }
                    Value::Bool(true) => node.flags |= table::PRESERVE,
                    _ => {}
                }
            }
            _ => {}
        }
        let constraints = Constraints::parse(schema, false).map_err(|detail| SchemaError::Invalid {
            path: format!("{path}.pattern"),
            value: schema["pattern"].as_str().unwrap_or_default().to_owned(),
            detail,
        })?;
        if !constraints.is_empty() {
            node.constraints = self.constraints.len() as u32;
            self.constraints.push(constraints);
        }
        Ok(self.push(node))
    }

    fn list(&mut self, node: &mut Node, schema: &Value, path: &str, depth: usize) -> Result<(), SchemaError> {
        if !schema["items"].is_object() {
            return Err(SchemaError::Missing { path: format!("{path}.items"), detail: "must be specified".to_owned() });
        }
        node.element = self.node(&schema["items"], &format!("{path}.items"), false, depth + 1)?;
        node.flags |= match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => table::SET,
            Some("map") => table::MAP,
            _ => table::ATOMIC,
        };
        let keys = schema["x-kubernetes-list-map-keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        node.keys = self.span(&keys.join(","));
        Ok(())
    }

    fn properties(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Vec<Field>, SchemaError> {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut fields = Vec::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let node = self.node(property, &format!("{path}.properties[{name}]"), false, depth + 1)?;
            let default = property.get("default").map(Value::to_string).unwrap_or_default();
            fields.push(Field {
                name: self.span(name),
                node,
                merge_key: Span::default(),
                default: self.span(&default),
                flags: if required.iter().any(|r| r == name.as_str()) { table::REQUIRED } else { 0 },
                number: [0; 3],
            });
        }
        Ok(fields)
    }

    /// Whole objects have the built-in apiVersion, kind and metadata, whatever the schema says of them.
    fn object_fields(&mut self, fields: &mut Vec<Field>) {
        let metadata = self.copy(table::object_meta());
        let string = self.push(Node { shape: Shape::String, ..EMPTY });
        for (name, node) in [("apiVersion", string), ("kind", string), ("metadata", metadata)] {
            let span = self.span(name);
            fields.retain(|field| field.name != span);
            fields.push(Field {
                name: span,
                node,
                merge_key: Span::default(),
                default: Span::default(),
                flags: 0,
                number: [0; 3],
            });
        }
    }

    fn set_fields(&mut self, node: &mut Node, mut fields: Vec<Field>) {
        let text = &self.text;
        let name = |field: &Field| &text[field.name.start as usize..(field.name.start + field.name.len) as usize];
        fields.sort_by(|a, b| name(a).cmp(name(b)));
        node.first = self.fields.len() as u32;
        node.count = fields.len() as u32;
        self.fields.extend(fields);
    }

    /// Copies a built-in type, and what it refers to, into this table.
    fn copy(&mut self, id: u32) -> u32 {
        if let Some(copied) = self.copied.get(&id) {
            return *copied;
        }
        let source = table::builtin();
        let mut node = source.nodes[id as usize].clone();
        let own = self.push(node.clone());
        self.copied.insert(id, own);
        node.name = self.span(source.text(node.name));
        node.keys = self.span(source.text(node.keys));
        if node.element != NONE {
            node.element = self.copy(node.element);
        }
        let rows = node.first as usize..(node.first + node.count) as usize;
        let mut fields = Vec::new();
        for row in &source.fields[rows] {
            fields.push(Field {
                name: self.span(source.text(row.name)),
                node: self.copy(row.node),
                merge_key: self.span(source.text(row.merge_key)),
                default: self.span(source.text(row.default)),
                ..row.clone()
            });
        }
        node.first = self.fields.len() as u32;
        self.fields.extend(fields);
        self.nodes[own as usize] = node;
        own
    }
}

fn shape(schema: &Value, path: &str) -> Result<Shape, SchemaError> {
    if schema["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return Ok(Shape::IntOrString);
    }
    match schema["type"].as_str().unwrap_or_default() {
        "object" => Ok(Shape::Object),
        "array" => Ok(Shape::List),
        "string" => Ok(Shape::String),
        "integer" => Ok(Shape::Integer),
        "number" => Ok(Shape::Number),
        "boolean" => Ok(Shape::Boolean),
        "" if schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) => Ok(Shape::Any),
        "" => {
            let detail = "must not be empty for specified object fields".to_owned();
            Err(SchemaError::Missing { path: format!("{path}.type"), detail })
        }
        other => {
            let detail = "must be one of array, boolean, integer, number, object, string".to_owned();
            Err(SchemaError::Invalid { path: format!("{path}.type"), value: other.to_owned(), detail })
        }
    }
}

fn format(schema: &Value) -> Format {
    match schema["format"].as_str().unwrap_or_default() {
        "int32" => Format::Int32,
        "int64" => Format::Int64,
        "double" => Format::Double,
        "byte" => Format::Byte,
        "date-time" => Format::DateTime,
        _ => Format::None,
    }
}
