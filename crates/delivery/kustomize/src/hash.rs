//! The content hash behind the names of generated ConfigMaps and Secrets: the first ten hex digits of SHA-256 over
//! sorted JSON, with the digits that could spell words replaced. The name is meant to be part of it, but the original
//! looks it up in the wrong place and hashes an empty one; names have depended on that ever since.

use coracle_yaml::Node;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const LENGTH: usize = 10;

pub(crate) fn suffix(node: &Node) -> String {
    let text = |path: &[&str]| node.at_path(path).and_then(Node::as_text).unwrap_or_default().to_owned();
    let field = |key: &str| node.get(key).map_or_else(|| Value::String(String::new()), Node::to_json);
    let mut hashed = match text(&["kind"]).as_str() {
        kind @ "ConfigMap" => json!({"kind": kind, "name": "", "data": field("data")}),
        kind @ "Secret" => json!({"kind": kind, "type": text(&["type"]), "name": "", "data": field("data")}),
        _ => node.to_json(),
    };
    for extra in ["binaryData", "stringData"] {
        if let Some(value) = node.get(extra).filter(|value| value.as_mapping().is_some()) {
            hashed[extra] = value.to_json();
        }
    }
    encode(&go_json(&hashed))
}

/// JSON as Go writes it: the characters that are special in HTML are escaped.
fn go_json(value: &Value) -> String {
    let mut escaped = String::new();
    for char in value.to_string().chars() {
        match char {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn encode(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars()
        .take(LENGTH)
        .map(|digit| match digit {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            other => other,
        })
        .collect()
}
