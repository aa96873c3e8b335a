//! Pod templates: when two are the same, and what to call one.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// The label that tells sets of a deployment, and their pods, apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// The template as a value in which what is empty is not there, and without the hash label: for comparing.
pub(crate) fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).expect("templates are plain data");
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    prune(&mut value);
    value
}

/// Removes nulls, empty lists and empty objects; says whether anything is left.
fn prune(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => {
            // An empty volume source or handler means something; the emptiness of lists and maps of settings does not.
            fields.retain(|name, field| prune(field) || is_meaningful_when_empty(name, field));
            !fields.is_empty()
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                prune(item);
            }
            !items.is_empty()
        }
        _ => true,
    }
}

fn is_meaningful_when_empty(name: &str, field: &Value) -> bool {
    field.is_object() && matches!(name, "emptyDir" | "configMap" | "secret" | "downwardAPI" | "projected" | "ephemeral")
}

/// The text sets and pods of one template are told apart by. Stable across restarts and releases; characters that form
/// no words.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 0x811c_9dc5;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(canonical(template).to_string().as_bytes());
    if collisions > 0 {
        feed(&collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}
