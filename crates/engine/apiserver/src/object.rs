//! Objects between their decoded form and the store's: access to metadata, keys, and encoding with the place where the
//! writer puts the resourceVersion.

use coracle_store::{Meta, Record, Value as Stored};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The metadata of an object; an empty one is made where it is missing or no object.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("just made sure of")
}

/// A text field of the metadata; empty where it is absent.
pub fn meta_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The object's name.
pub fn name(object: &Value) -> &str {
    meta_text(object, "name")
}

/// The object's namespace; empty where it has none.
pub fn namespace(object: &Value) -> &str {
    meta_text(object, "namespace")
}

/// Whether deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    !meta_text(object, "deletionTimestamp").is_empty()
}

/// Whether deletion may have begun, told without decoding: if not, it has not.
pub fn may_be_deleting(record: &Record) -> bool {
    const FIELD: &[u8] = b"\"deletionTimestamp\"";
    record.value_bytes().windows(FIELD.len()).any(|window| window == FIELD)
}

/// The finalizers that still hold the object.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = object.get("metadata").and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Sets a metadata field, or removes it where `value` is `None`.
pub fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    let metadata = metadata_mut(object);
    match value {
        Some(value) => {
            metadata.insert(field.to_owned(), value);
        }
        None => {
            metadata.remove(field);
        }
    }
}

/// A moment as Kubernetes writes it: whole seconds, UTC.
pub fn time(moment: Timestamp) -> String {
    let seconds = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    seconds.to_string()
}

/// What selectors and garbage collection need, taken from the decoded object.
pub fn meta(object: &Value, selectable: &[String]) -> Meta {
    let labels = object.get("metadata").and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
    let labels =
        labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let fields = selectable.iter().filter(|path| !path.starts_with("metadata.")).filter_map(|path| {
        let text = selected(object, path).and_then(scalar_text).or_else(|| unset(object, path).map(str::to_owned));
        Some((path.clone(), text?))
    });
    let owners = object.get("metadata").and_then(|metadata| metadata.get("ownerReferences")).and_then(Value::as_array);
    let owners = owners.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned));
    Meta {
        uid: meta_text(object, "uid").to_owned(),
        labels: labels.collect(),
        fields: fields.collect(),
        owners: owners.collect(),
    }
}

/// The value that a selectable field stands for. Events go by their reporter, in whichever field it stands.
fn selected<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let reporter = || lookup(object, "reportingComponent");
    match path {
        "source" => lookup(object, "source.component").filter(|component| *component != "").or_else(reporter),
        "reportingController" => reporter(),
        path => lookup(object, path),
    }
}

/// What an unset field of a built-in kind counts as, where that is not the empty text: selectors ask for nodes with
/// `spec.unschedulable=false`, which no node says of itself.
fn unset(object: &Value, path: &str) -> Option<&'static str> {
    let is_built_in = object["apiVersion"].as_str().is_some_and(|version| !version.contains('.'));
    match path {
        "spec.unschedulable" | "spec.hostNetwork" if is_built_in => Some("false"),
        "status.replicas" | "status.successful" if is_built_in => Some("0"),
        _ => None,
    }
}

/// The value at a dotted path.
pub fn lookup<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(object, |value, step| value.get(step))
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The object's bytes with a gap where its resourceVersion goes. `apiVersion` and `kind` come first, so that the version
/// stored bytes are in can be told without decoding them.
pub fn encode(object: &Value) -> Stored {
    let empty = Map::new();
    let map = object.as_object().unwrap_or(&empty);
    let mut head = Vec::with_capacity(1024);
    head.push(b'{');
    for (key, value) in ["apiVersion", "kind"].iter().filter_map(|key| map.get_key_value(*key)) {
        push_member(&mut head, key, value);
    }
    push_name(&mut head, "metadata");
    head.push(b'{');
    for (key, value) in map.get("metadata").and_then(Value::as_object).into_iter().flatten() {
        if key != "resourceVersion" {
            push_member(&mut head, key, value);
        }
    }
    push_name(&mut head, "resourceVersion");
    head.push(b'"');
    let mut tail = Vec::with_capacity(1024);
    tail.extend_from_slice(b"\"}");
    for (key, value) in map.iter().filter(|(key, _)| !is_leading(key)) {
        push_member(&mut tail, key, value);
    }
    tail.push(b'}');
    Stored::spliced(head, tail)
}

/// The object's bytes as they are, for answers to requests that wrote nothing.
pub fn encode_plain(object: &Value) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(512);
    let empty = Map::new();
    let map = object.as_object().unwrap_or(&empty);
    ordered.push(b'{');
    for (key, value) in ["apiVersion", "kind", "metadata"].iter().filter_map(|key| map.get_key_value(*key)) {
        push_member(&mut ordered, key, value);
    }
    for (key, value) in map.iter().filter(|(key, _)| !is_leading(key)) {
        push_member(&mut ordered, key, value);
    }
    ordered.push(b'}');
    ordered
}

fn is_leading(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

fn push_member(into: &mut Vec<u8>, key: &str, value: &Value) {
    push_name(into, key);
    serde_json::to_writer(&mut *into, value).expect("a value always encodes");
}

/// A member's name, and what stands before and after it.
fn push_name(into: &mut Vec<u8>, key: &str) {
    if into.last() != Some(&b'{') {
        into.push(b',');
    }
    serde_json::to_writer(&mut *into, key).expect("a string always encodes");
    into.push(b':');
}

/// Decodes stored bytes. What is stored was encoded here, so this fails only on a damaged store.
pub fn decode(record: &Record) -> Result<Value, crate::status::Failure> {
    serde_json::from_slice(record.value_bytes()).map_err(|error| {
        crate::status::Failure::internal(format!("stored object {} is damaged: {error}", record.key()))
    })
}

/// The name at the end of a key.
pub fn key_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// The namespace in a key, empty for cluster-wide objects.
pub fn key_namespace(key: &str) -> &str {
    let mut parts = key.splitn(5, '/').skip(3);
    match (parts.next(), parts.next()) {
        (Some(namespace), Some(_)) => namespace,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use coracle_store::{Change, Store};
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn an_unset_field_of_a_built_in_kind_counts_as_its_zero() {
        let fields = |api_version: &str, path: &str| {
            let object = serde_json::json!({"apiVersion": api_version, "metadata": {"name": "x"}});
            meta(&object, &[path.to_owned()]).fields
        };
        assert_eq!(fields("v1", "spec.unschedulable")[0].1, "false");
        assert_eq!(fields("apps/v1", "status.replicas")[0].1, "0");
        assert!(fields("v1", "spec.nodeName").is_empty());
        assert!(fields("example.com/v1", "status.replicas").is_empty());
    }

    async fn stored(object: Value) -> String {
        let store = Store::in_memory();
        let change = Change::create("/core/pods/a/x", Meta::default(), encode(&object));
        store.commit(vec![change]).await.unwrap();
        let bytes = store.get("/core/pods/a/x").unwrap().value();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap();
        text
    }

    async fn check(object: Value, expected: Expect) {
        let text = stored(object).await;
        let revision =
            serde_json::from_str::<Value>(&text).unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        expected
            .assert_eq(&text.replace(&format!("\"resourceVersion\":\"{revision}\""), "\"resourceVersion\":\"REV\""));
    }

    #[tokio::test]
    async fn the_revision_goes_into_the_metadata() {
        check(
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x", "resourceVersion": "7"}, "spec": {"a": 1}, "data": {}}),
            expect![[r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","resourceVersion":"REV"},"data":{},"spec":{"a":1}}"#]],
        )
        .await;
        check(json!({"kind": "Pod"}), expect![[r#"{"kind":"Pod","metadata":{"resourceVersion":"REV"}}"#]]).await;
    }

    #[test]
    fn keys_are_taken_apart() {
        assert_eq!((key_namespace("/core/pods/a/x"), key_name("/core/pods/a/x")), ("a", "x"));
        assert_eq!((key_namespace("/core/nodes/n"), key_name("/core/nodes/n")), ("", "n"));
    }
}
