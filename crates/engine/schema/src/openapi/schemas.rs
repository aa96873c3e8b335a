//! Schemas: the types written out, with the extensions that clients read (`x-kubernetes-…`).

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

use serde_json::{Map, Value, json};

use super::{Version, definition, group_version_kind, list_definition};
use crate::kinds::{self, Kind};
use crate::types::{Field, Format, ListType, Schema, Shape, Type, table};

/// Writes definitions and everything they refer to, each once.
pub(super) struct Writer {
    version: Version,
    /// Of each field, then of each definition, in the table's order.
    descriptions: Vec<String>,
    /// Which definition comes where among the descriptions.
    order: HashMap<u32, usize>,
    written: BTreeMap<String, Value>,
    waiting: Vec<String>,
}

impl Writer {
    pub(super) fn new(version: Version) -> Self {
        let fields = table::builtin().fields.len();
        let order = table::builtin_roots().iter().enumerate().map(|(at, id)| (*id, fields + at)).collect();
        Self { version, descriptions: table::descriptions(), order, written: BTreeMap::new(), waiting: Vec::new() }
    }

    pub(super) fn finish(self) -> BTreeMap<String, Value> {
        self.written
    }

    /// A kind, its list, and the bodies of its subresources.
    pub(super) fn kind(&mut self, kind: &Kind) {
        let name = definition(kind);
        match &kind.custom {
            None => self.definition(&name),
            Some(custom) => {
                let mut schema = unpack(&custom.packed_schema);
                let keeps_all = schema["x-kubernetes-preserve-unknown-fields"] == true;
                if !schema.is_object() || (keeps_all && self.version == Version::V2) {
                    // Clients that check against version 2 are to let everything through.
                    schema = json!({"type": "object"});
                } else {
                    if self.version == Version::V2 {
                        simplify(&mut schema);
                    }
                    self.custom_object(&mut schema);
                }
                self.written.insert(name.clone(), schema);
                self.drain();
            }
        }
        let identity = group_version_kind(&kind.group, &kind.version, &kind.kind);
        if let Some(schema) = self.written.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([identity]);
        }
        if kind.verbs.contains(&"list") {
            let list = self.list(kind, &name);
            self.written.insert(list_definition(kind), list);
        }
        for (group, version, body) in kind.subresources.iter().filter_map(|subresource| subresource.body) {
            let name = kinds::definition_name(group, version, body);
            if Schema::builtin(&name).is_some() {
                self.definition(&name);
                if let Some(schema) = self.written.get_mut(&name) {
                    schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(group, version, body)]);
                }
            }
        }
    }

    /// A built-in definition with all it refers to.
    pub(super) fn definition(&mut self, name: &str) {
        self.waiting.push(name.to_owned());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(name) = self.waiting.pop() {
            if self.written.contains_key(&name) {
                continue;
            }
            let Some(schema) = Schema::builtin(&name) else { continue };
            let of = schema.root();
            let mut written = self.body(of);
            let described = self.order.get(&of.id()).and_then(|at| self.descriptions.get(*at));
            if let Some(text) = described.filter(|text| !text.is_empty()) {
                written.insert("description".to_owned(), json!(text));
            }
            if name.ends_with(".meta.v1.Status") || name.ends_with(".meta.v1.DeleteOptions") {
                let kind = name.rsplit('.').next().unwrap_or_default();
                written
                    .insert("x-kubernetes-group-version-kind".to_owned(), json!([group_version_kind("", "v1", kind)]));
            }
            self.written.insert(name, Value::Object(written));
        }
    }

    fn list(&mut self, kind: &Kind, item: &str) -> Value {
        let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
        self.waiting.push(metadata.to_owned());
        json!({
            "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": self.version.reference(metadata)},
                "items": {"type": "array", "items": {"$ref": self.version.reference(item)}},
            },
            "x-kubernetes-group-version-kind":
                [group_version_kind(&kind.group, &kind.version, &kind.list_kind)],
        })
    }

    /// A custom object's apiVersion, kind and metadata are every object's.
    fn custom_object(&mut self, schema: &mut Value) {
        let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        self.waiting.push(metadata.to_owned());
        let pod = Schema::builtin("io.k8s.api.core.v1.Pod");
        for name in ["apiVersion", "kind"] {
            let field = pod.as_ref().and_then(|pod| pod.root().field(name).map(Field::index));
            let description = field.and_then(|index| self.descriptions.get(index).cloned()).unwrap_or_default();
            schema["properties"][name] = json!({"type": "string", "description": description});
        }
        schema["properties"]["metadata"] = self.reference(metadata, json!({
            "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        }));
    }

    /// A reference, with what else is to be said beside it. Version 3 allows nothing beside a reference.
    fn reference(&self, name: &str, beside: Value) -> Value {
        let target = json!({"$ref": self.version.reference(name)});
        let Value::Object(mut beside) = beside else { return target };
        if beside.is_empty() {
            return target;
        }
        match self.version {
            Version::V2 => beside.insert("$ref".to_owned(), target["$ref"].clone()),
            Version::V3 => beside.insert("allOf".to_owned(), json!([target])),
        };
        Value::Object(beside)
    }

    /// What stands in a definition, or in place where the type has no name.
    fn body(&mut self, of: Type<'_>) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut set = |key: &str, value: Value| schema.insert(key.to_owned(), value);
        match of.shape() {
            Shape::Any => {}
            Shape::IntOrString if self.version == Version::V3 => {
                set("format", json!("int-or-string"));
                set("oneOf", json!([{"type": "integer"}, {"type": "string"}]));
            }
            Shape::Quantity if self.version == Version::V3 => {
                set("oneOf", json!([{"type": "string"}, {"type": "number"}]));
            }
            Shape::IntOrString => {
                set("type", json!("string"));
                set("format", json!("int-or-string"));
            }
            Shape::Quantity | Shape::String => {
                set("type", json!("string"));
            }
            Shape::Integer => {
                set("type", json!("integer"));
            }
            Shape::Number => {
                set("type", json!("number"));
            }
            Shape::Boolean => {
                set("type", json!("boolean"));
            }
            Shape::List => {
                set("type", json!("array"));
            }
            Shape::Object => {
                set("type", json!("object"));
            }
        }
        if let Some(format) = format_name(of.format()) {
            set("format", json!(format));
        }
        match (of.shape(), of.element()) {
            (Shape::List, Some(element)) => {
                let items = self.place(element, Map::new());
                schema.insert("items".to_owned(), items);
            }
            (Shape::Object, Some(element)) => {
                let values = self.place(element, Map::new());
                schema.insert("additionalProperties".to_owned(), values);
            }
            (Shape::Object, None) if of.has_fields() => self.properties(of, &mut schema),
            _ => {}
        }
        if of.shape() == Shape::Object && of.is_atomic() && (of.has_fields() || of.element().is_some()) {
            schema.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
        }
        schema
    }

    fn properties(&mut self, of: Type<'_>, schema: &mut Map<String, Value>) {
        let required: Vec<&str> = of.fields().filter(|field| field.is_required()).map(Field::name).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        let mut properties = Map::new();
        for field in of.fields() {
            let beside = self.beside(field);
            let property = self.place(field.value(), beside);
            properties.insert(field.name().to_owned(), property);
        }
        schema.insert("properties".to_owned(), Value::Object(properties));
    }

    /// What a field says beyond its type.
    fn beside(&self, field: Field<'_>) -> Map<String, Value> {
        let mut beside = Map::new();
        let mut set = |key: &str, value: Value| beside.insert(key.to_owned(), value);
        if let Some(text) = self.descriptions.get(field.index()).filter(|text| !text.is_empty()) {
            set("description", json!(text));
        }
        let default = field.default_text().and_then(|text| serde_json::from_str(text).ok());
        if let (Version::V3, Some(default)) = (self.version, default) {
            set("default", default);
        }
        let of = field.value();
        if of.shape() == Shape::List {
            match of.list_type() {
                ListType::Map => {
                    set("x-kubernetes-list-map-keys", json!(of.keys().collect::<Vec<_>>()));
                    set("x-kubernetes-list-type", json!("map"));
                }
                ListType::Set => {
                    set("x-kubernetes-list-type", json!("set"));
                }
                ListType::Atomic if of.is_atomic() => {
                    set("x-kubernetes-list-type", json!("atomic"));
                }
                ListType::Atomic => {}
            }
        }
        let strategy = match (field.patch_merges(), field.patch_retains_keys()) {
            (true, true) => "merge,retainKeys",
            (true, false) => "merge",
            (false, true) => "retainKeys",
            (false, false) => "",
        };
        if !strategy.is_empty() {
            set("x-kubernetes-patch-strategy", json!(strategy));
        }
        if let Some(key) = field.merge_key() {
            set("x-kubernetes-patch-merge-key", json!(key));
        }
        beside
    }

    /// A type where it is used: a reference to its definition, or its body in place.
    fn place(&mut self, of: Type<'_>, mut beside: Map<String, Value>) -> Value {
        if !of.name().is_empty() {
            self.waiting.push(of.name().to_owned());
            return self.reference(of.name(), Value::Object(beside));
        }
        let mut body = self.body(of);
        beside.append(&mut body);
        Value::Object(beside)
    }
}

fn format_name(format: Format) -> Option<&'static str> {
    match format {
        Format::None => None,
        Format::Int32 => Some("int32"),
        Format::Int64 => Some("int64"),
        Format::Double => Some("double"),
        Format::Byte => Some("byte"),
        Format::DateTime | Format::MicroTime => Some("date-time"),
    }
}

fn unpack(packed: &[u8]) -> Value {
    let mut text = String::new();
    let read = flate2::read::ZlibDecoder::new(packed).read_to_string(&mut text);
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}

/// Version 2 knows no junctions and no null, and cannot say that a field is of two types.
fn simplify(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for key in ["oneOf", "anyOf", "allOf", "not", "nullable", "default"] {
        members.remove(key);
    }
    if members.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        for key in ["properties", "items"] {
            members.remove(key);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(key) {
            simplify(inner);
        }
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
}
