//! From the tree to JSON, as the Kubernetes tools convert.

use serde_json::{Map, Number};

use crate::node::{Entry, Node, Scalar, Value};
use crate::resolve::Resolved;

/// Whole numbers up to here are written without an exponent by Go's JSON encoder, and so are integers to what reads it.
const LARGEST_PLAIN: f64 = 1e21;

impl Node {
    /// The node as JSON. Infinities and not-a-number have no JSON form and become strings.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar_to_json(scalar),
            Value::Sequence(items) => serde_json::Value::Array(items.iter().map(Node::to_json).collect()),
            Value::Mapping(mapping) => {
                let fields: Map<_, _> =
                    mapping.iter().map(|entry| (entry.key.to_string(), entry.value.to_json())).collect();
                serde_json::Value::Object(fields)
            }
        }
    }

    /// A tree that says what the JSON says, standing nowhere.
    pub fn from_json(json: &serde_json::Value) -> Node {
        match json {
            serde_json::Value::Null => Node::null(),
            serde_json::Value::Bool(value) => Node::plain(if *value { "true" } else { "false" }),
            serde_json::Value::Number(number) => Node::plain(&number.to_string()),
            serde_json::Value::String(text) => Node::string(text),
            serde_json::Value::Array(items) => Node::sequence(items.iter().map(Node::from_json).collect()),
            serde_json::Value::Object(fields) => {
                let mut node = Node::mapping();
                let mapping = node.as_mapping_mut().expect("just made as one");
                for (key, value) in fields {
                    let value = Node::from_json(value);
                    mapping.push(Entry { key: key.as_str().into(), key_mark: value.mark, key_quoted: true, value });
                }
                node
            }
        }
    }
}

fn scalar_to_json(scalar: &Scalar) -> serde_json::Value {
    match scalar.resolve() {
        Resolved::Null => serde_json::Value::Null,
        Resolved::Bool(value) => value.into(),
        Resolved::Int(value) => value.into(),
        Resolved::UInt(value) => value.into(),
        Resolved::Float(value) => float_to_json(value, &scalar.text),
        Resolved::Timestamp(text) => text.into(),
        Resolved::String => scalar.text.to_string().into(),
    }
}

fn float_to_json(value: f64, text: &str) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < LARGEST_PLAIN {
        // In range of the casts: checked against the limits of the integer types just below.
        if value >= -(2f64.powi(63)) && value < 2f64.powi(63) {
            return (value as i64).into();
        }
        if value >= 0.0 && value < 2f64.powi(64) {
            return (value as u64).into();
        }
    }
    Number::from_f64(value).map_or_else(|| text.to_owned().into(), serde_json::Value::Number)
}
