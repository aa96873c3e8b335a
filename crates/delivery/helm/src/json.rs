//! JSON to values, with all numbers `float64`, as Go decodes into an interface.

use coracle_gotemplate::Value;

/// A whole text.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map(|json: serde_json::Value| from_json(&json)).map_err(|error| error.to_string())
}

/// The value a text begins with, and how many bytes it takes.
pub(crate) fn parse_prefix(text: &str) -> Result<(Value, usize), String> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    match stream.next() {
        Some(Ok(json)) => Ok((from_json(&json), stream.byte_offset())),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("unexpected end of JSON input".to_owned()),
    }
}

pub(crate) fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json).collect()),
        serde_json::Value::Object(fields) => {
            Value::dict(fields.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}
