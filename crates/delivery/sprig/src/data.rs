//! YAML, JSON and TOML, to text and back; and looking a host up, which a render may not.

pub mod json;
mod toml;
pub mod yaml;

use coracle_gotemplate::{Dict, Function, FunctionError, Type, Value};

use crate::args::{nil_dict, nil_list, text};

const ANY: &[Type] = &[Type::Any];
const S: &[Type] = &[Type::String];

pub(crate) const TABLE: &[Function] = &[
    Function::new("toYaml", ANY, |_, a| Ok(yaml::write(&a[0]).into())),
    Function::new("mustToYaml", ANY, |_, a| Ok(yaml::write_checked(&a[0])?.into())),
    Function::new("toYamlPretty", ANY, |_, a| Ok(yaml::write_pretty(&a[0]).into())),
    Function::new("fromYaml", S, |_, a| Ok(map_or_error(yaml::read(&text(&a[0])), empty_dict, yaml::UNMARSHALING))),
    Function::new("fromYamlArray", S, |_, a| {
        Ok(list_or_error(yaml::read(&text(&a[0])), empty_list, yaml::UNMARSHALING))
    }),
    Function::new("toJson", ANY, |_, a| Ok(json::write(&a[0], json::Html::Escaped).unwrap_or_default().into())),
    Function::new("mustToJson", ANY, |_, a| Ok(json::write(&a[0], json::Html::Escaped)?.into())),
    Function::new("toRawJson", ANY, |_, a| Ok(json::write(&a[0], json::Html::Plain)?.into())),
    Function::new("mustToRawJson", ANY, |_, a| Ok(json::write(&a[0], json::Html::Plain)?.into())),
    Function::new("toPrettyJson", ANY, |_, a| Ok(json::write_pretty(&a[0]).unwrap_or_default().into())),
    Function::new("mustToPrettyJson", ANY, |_, a| Ok(json::write_pretty(&a[0])?.into())),
    Function::new("fromJson", S, |_, a| Ok(map_or_error(json::read(&text(&a[0])), nil_dict, ""))),
    Function::new("fromJsonArray", S, |_, a| Ok(list_or_error(json::read(&text(&a[0])), nil_list, ""))),
    Function::new("mustFromJson", S, |_, a| json::read(&text(&a[0])).map_err(FunctionError::from)),
    Function::new("toToml", ANY, |_, a| Ok(toml::write(&a[0]).unwrap_or_else(|error| error).into())),
    Function::new("mustToToml", ANY, |_, a| Ok(toml::write(&a[0])?.into())),
    Function::new("fromToml", S, |_, a| Ok(toml::read(&text(&a[0])).unwrap_or_else(error_map))),
    // A render that depends on the network could not be repeated; Helm too answers nothing unless told to look up.
    Function::new("getHostByName", S, |_, _| Ok("".into())),
];

fn error_map(error: String) -> Value {
    Value::dict([("Error", Value::from(error))])
}

fn empty_dict() -> Value {
    Value::Dict(Dict::default().into())
}

fn empty_list() -> Value {
    Value::list(Vec::new())
}

/// What was read if it is a map; else a map with the error, as Helm's functions for templates give it. `null` is what
/// Go's decoder leaves in its place: nothing for YAML, a nil map for JSON.
fn map_or_error(read: std::result::Result<Value, String>, null: fn() -> Value, before: &str) -> Value {
    match read {
        Ok(Value::Nil) => null(),
        Ok(value @ Value::Dict(_)) => value,
        Ok(other) => error_map(format!("{before}{}", mismatch(&other, "map[string]interface {}"))),
        Err(error) => error_map(error),
    }
}

fn list_or_error(read: std::result::Result<Value, String>, null: fn() -> Value, before: &str) -> Value {
    match read {
        Ok(Value::Nil) => null(),
        Ok(value @ Value::List(_)) => value,
        Ok(other) => Value::list(vec![format!("{before}{}", mismatch(&other, "[]interface {}")).into()]),
        Err(error) => Value::list(vec![error.into()]),
    }
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Bool(_) => "bool",
        Value::Float(_) => "number",
        Value::List(_) => "array",
        Value::Dict(_) => "object",
        _ => "string",
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}
