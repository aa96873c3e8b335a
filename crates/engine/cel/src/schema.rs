//! Declarations from schemas: what a structural schema, or a built-in type, says of values and their sizes.

use std::{collections::BTreeMap, sync::Arc};

use coracle_schema::{
    Type as SchemaType,
    types::{Format, ListType, Shape},
};
use serde_json::Value as Json;

use crate::types::{Declaration, Field, ListKind, ObjectType, Reading, Type};

/// The largest body of a request.
pub const MAX_REQUEST_BYTES: u64 = 3 * 1024 * 1024;

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A property's name as expressions use it; `None` where there is no such way.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("__") {
            out += "__underscores__";
            rest = tail;
            continue;
        }
        match c {
            '.' => out += "__dot__",
            '-' => out += "__dash__",
            '/' => out += "__slash__",
            c if c.is_ascii_alphanumeric() || c == '_' => out.push(c),
            _ => return None,
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

fn sized(of: Type, max_elements: u64, min_size: u64, reading: Reading) -> Declaration {
    Declaration { max_elements, min_size, reading, ..Declaration::of(of) }
}

fn plain(of: Type, min_size: u64) -> Declaration {
    sized(of, 0, min_size, Reading::Plain)
}

fn text(max: u64) -> Declaration {
    sized(Type::String, max, 2, Reading::Plain)
}

/// What a structural schema declares; `None` where expressions may not see it. With `root` it is a whole object, whose
/// apiVersion, kind and names are always there.
pub fn declare(schema: &Json, root: bool) -> Option<Declaration> {
    let flag = |key: &str| schema[key] == Json::Bool(true);
    if flag("x-kubernetes-int-or-string") {
        let max = schema["maxLength"].as_u64().map_or(MAX_REQUEST_BYTES - 2, |max| max.saturating_mul(4));
        return Some(sized(Type::Dyn, max, 1, Reading::Plain));
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => declare_list(schema),
        "object" => declare_object(schema, root),
        "string" => Some(declare_text(schema)),
        "boolean" => Some(plain(Type::Bool, 4)),
        "number" => Some(Declaration { reading: Reading::Double, ..plain(Type::Double, 1) }),
        "integer" => Some(plain(Type::Int, 1)),
        _ => None,
    }
}

fn is_embedded(schema: &Json) -> bool {
    schema["x-kubernetes-embedded-resource"] == Json::Bool(true)
}

fn declare_list(schema: &Json) -> Option<Declaration> {
    let items = schema.get("items").filter(|items| items.is_object())?;
    let element = declare(items, is_embedded(items))?;
    let max = schema["maxItems"].as_u64().unwrap_or((MAX_REQUEST_BYTES - 2) / (element.min_size + 1));
    let list = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListKind::Map(keys.filter_map(Json::as_str).map(str::to_owned).collect())
        }
        _ => ListKind::Atomic,
    };
    Some(list_of(element, max, list))
}

fn list_of(element: Declaration, max: u64, list: ListKind) -> Declaration {
    let of = Type::list(element.of.clone());
    Declaration { element: Some(element.into()), list, ..plain_with(of, max) }
}

fn plain_with(of: Type, max: u64) -> Declaration {
    sized(of, max, 2, Reading::Plain)
}

fn map_of(value: Declaration, max: Option<u64>) -> Declaration {
    let max = max.unwrap_or((MAX_REQUEST_BYTES - 2) / (value.min_size + 6));
    let of = Type::map(Type::String, value.of.clone());
    Declaration { element: Some(value.into()), ..plain_with(of, max) }
}

fn declare_object(schema: &Json, root: bool) -> Option<Declaration> {
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        let value = declare(values, is_embedded(values))?;
        return Some(map_of(value, schema["maxProperties"].as_u64()));
    }
    let required = |name: &str| schema["required"].as_array().is_some_and(|list| list.iter().any(|r| r == name));
    let mut fields = BTreeMap::new();
    let mut min_size = 2;
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties.filter(|(name, _)| !(root && is_of_objects(name))) {
        let Some(declaration) = declare(property, is_embedded(property)) else { continue };
        if required(name) && property.get("default").is_none() {
            min_size += name.len() as u64 + declaration.min_size + 4;
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped, Field { json_name: name.clone(), declaration: declaration.into() });
        }
    }
    if root {
        let string = || text(MAX_REQUEST_BYTES - 2);
        let metadata = object_of("object", [("name", string()), ("generateName", string())], 2);
        for (name, declaration) in [("apiVersion", string()), ("kind", string()), ("metadata", metadata)] {
            fields.insert(name.to_owned(), Field { json_name: name.to_owned(), declaration: declaration.into() });
        }
    }
    let of = Type::Object(Arc::new(ObjectType { name: "object".to_owned(), fields }));
    Some(sized(of, 0, min_size, Reading::Plain))
}

fn is_of_objects(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn declare_text(schema: &Json) -> Declaration {
    let max = schema["maxLength"].as_u64();
    match schema["format"].as_str() {
        Some("byte") => sized(Type::Bytes, max.unwrap_or(MAX_REQUEST_BYTES - 2), 2, Reading::Bytes),
        Some("duration") => sized(Type::Duration, 32, 3, Reading::Duration),
        Some("date") => sized(Type::Timestamp, 12, 12, Reading::Date),
        Some("date-time") => sized(Type::Timestamp, 32, 21, Reading::Timestamp),
        _ => {
            let longest_choice = || {
                let choices = schema["enum"].as_array().filter(|choices| !choices.is_empty())?;
                choices.iter().filter_map(Json::as_str).map(|choice| choice.len() as u64).max()
            };
            let max = max.map(|max| max.saturating_mul(4)).or_else(longest_choice);
            text(max.unwrap_or(MAX_REQUEST_BYTES - 2))
        }
    }
}

/// An object with these fields.
pub fn object_of<const N: usize>(name: &str, fields: [(&str, Declaration); N], min_size: u64) -> Declaration {
    let fields = fields
        .into_iter()
        .map(|(name, declaration)| {
            (name.to_owned(), Field { json_name: name.to_owned(), declaration: declaration.into() })
        })
        .collect();
    let of = Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }));
    sized(of, 0, min_size, Reading::Plain)
}

/// What a type of the registry declares, built in or custom. Types that contain themselves are anything where they do.
pub fn declare_type(of: SchemaType<'_>) -> Declaration {
    declare_inner(of, &mut Vec::new())
}

fn declare_inner<'a>(of: SchemaType<'a>, above: &mut Vec<SchemaType<'a>>) -> Declaration {
    match of.shape() {
        Shape::Any | Shape::IntOrString => plain(Type::Dyn, 1),
        Shape::Quantity => text(MAX_REQUEST_BYTES - 2),
        Shape::Boolean => plain(Type::Bool, 4),
        Shape::Integer => plain(Type::Int, 1),
        Shape::Number => Declaration { reading: Reading::Double, ..plain(Type::Double, 1) },
        Shape::String => match of.format() {
            Format::Byte => sized(Type::Bytes, MAX_REQUEST_BYTES - 2, 2, Reading::Bytes),
            Format::DateTime | Format::MicroTime => sized(Type::Timestamp, 32, 21, Reading::Timestamp),
            _ => text(MAX_REQUEST_BYTES - 2),
        },
        Shape::List => {
            let element = of.element().map_or(plain(Type::Dyn, 1), |element| declare_inner(element, above));
            let max = (MAX_REQUEST_BYTES - 2) / (element.min_size + 1);
            let list = match of.list_type() {
                ListType::Set => ListKind::Set,
                ListType::Map => ListKind::Map(of.keys().map(str::to_owned).collect()),
                ListType::Atomic => ListKind::Atomic,
            };
            list_of(element, max, list)
        }
        Shape::Object if of.has_fields() => {
            if above.iter().any(|outer| outer.same(of)) {
                return plain(Type::Dyn, 1);
            }
            above.push(of);
            let mut fields = BTreeMap::new();
            for field in of.fields() {
                if let Some(escaped) = escape(field.name()) {
                    let declaration = declare_inner(field.value(), above).into();
                    fields.insert(escaped, Field { json_name: field.name().to_owned(), declaration });
                }
            }
            above.pop();
            let name = if of.name().is_empty() { "object" } else { of.name() };
            let of = Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }));
            sized(of, 0, 2, Reading::Plain)
        }
        Shape::Object => match of.element() {
            Some(value) => map_of(declare_inner(value, above), None),
            None => plain(Type::Dyn, 1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn names_are_escaped_as_upstream_does() {
        let shown = |name| escape(name).unwrap_or_else(|| "-".to_owned());
        assert_eq!(shown("a.b-c/d__e"), "a__dot__b__dash__c__slash__d__underscores__e");
        assert_eq!(shown("namespace"), "__namespace__");
        assert_eq!(shown("int"), "int");
        assert_eq!(shown("1a"), "-");
        assert_eq!(shown("a$"), "-");
    }
}
