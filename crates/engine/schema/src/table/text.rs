//! The words cells are made of.

use serde_json::{Value, json};

/// Longer lists end in how many more there are.
pub(super) const SHOWN: usize = 3;

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text as it is, anything else as JSON, nothing as an empty text.
pub(super) fn words(value: &Value) -> Value {
    match value {
        Value::Null => json!(""),
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

pub(super) fn or(value: &Value, otherwise: &str) -> Value {
    if text(value).is_empty() { json!(otherwise) } else { value.clone() }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn size(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn count(value: &Value) -> Value {
    json!(value.as_i64().unwrap_or(0))
}

pub(super) fn ratio(part: &Value, whole: &Value) -> Value {
    json!(format!("{}/{}", part.as_i64().unwrap_or(0), whole.as_i64().unwrap_or(0)))
}

pub(super) fn joined(values: &[Value], separator: &str) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(separator)
}

pub(super) fn labels(labels: &Value) -> String {
    let pairs: Vec<String> =
        labels.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

pub(super) fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", text(value))));
    }
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let shown = match text(&expression["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), shown));
    }
    parts.sort();
    parts.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(",")
}

pub(super) fn selector(selector: &Value) -> String {
    let text = selector_text(selector);
    if text.is_empty() { "<none>".to_owned() } else { text }
}

pub(super) fn containers(spec: &Value) -> [Value; 2] {
    let all = |key: &str| {
        let values: Vec<&str> = list(&spec["containers"]).iter().map(|container| text(&container[key])).collect();
        json!(values.join(","))
    };
    [all("name"), all("image")]
}

pub(super) fn with_more(shown: Vec<String>, total: usize) -> String {
    match (shown.is_empty(), total > SHOWN) {
        (true, _) => "<none>".to_owned(),
        (_, false) => shown.join(","),
        (_, true) => format!("{} + {} more...", shown.join(","), total - SHOWN),
    }
}
