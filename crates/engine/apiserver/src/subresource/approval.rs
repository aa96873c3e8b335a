//! Approving certificate requests: only conditions change, beside labels and annotations, and a decision stands.

use serde_json::Value;

/// What the approval subresource takes over from the client's object.
pub fn graft(value: &mut Value, live: &Value) {
    let conditions = value["status"]["conditions"].take();
    let notes = ["labels", "annotations"].map(|field| (field, value["metadata"].get(field).cloned()));
    *value = keep_metadata(value, live);
    for (field, given) in notes {
        crate::object::set_meta(value, field, given);
    }
    value["status"]["conditions"] = conditions;
}

/// The live object with the client's resourceVersion and managed fields, so that preconditions hold.
pub fn keep_metadata(value: &Value, live: &Value) -> Value {
    let mut kept = live.clone();
    for field in ["resourceVersion", "managedFields", "uid"] {
        match value["metadata"].get(field) {
            Some(said) => kept["metadata"][field] = said.clone(),
            None if field == "managedFields" => {}
            None => crate::object::set_meta(&mut kept, field, None),
        }
    }
    kept
}
