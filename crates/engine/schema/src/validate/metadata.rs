//! ObjectMeta: names by each kind's rule, labels, annotations, finalizers, owners; and what may not change.

use serde_json::Value;

use super::field::Findings;
use super::{list, names, text};
use crate::kinds::Kind;

const ANNOTATIONS_LIMIT_BYTES: usize = 256 * 1024;

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    let metadata = &object["metadata"];
    let (name, generate) = (text(&metadata["name"]), text(&metadata["generateName"]));
    if !generate.is_empty() {
        // Whatever is appended makes up for a dash at the end.
        let shown = generate.strip_suffix('-').map_or(generate.to_owned(), |stem| format!("{stem}a"));
        findings.invalid_each("metadata.generateName", generate, name_problems(kind, &shown));
    }
    if name.is_empty() {
        findings.required("metadata.name", "name or generateName is required");
    } else {
        findings.invalid_each("metadata.name", name, name_problems(kind, name));
    }
    let namespace = text(&metadata["namespace"]);
    if kind.namespaced {
        if namespace.is_empty() {
            findings.required("metadata.namespace", "");
        } else {
            findings.invalid_each("metadata.namespace", namespace, names::dns_1123_label(namespace));
        }
    } else if !namespace.is_empty() {
        findings.forbidden("metadata.namespace", "not allowed on this type");
    }
    common(metadata, findings);
}

fn name_problems(kind: &Kind, name: &str) -> Vec<String> {
    if !kind.is_builtin() {
        return names::dns_1123_subdomain(name);
    }
    match (kind.group.as_ref(), kind.kind.as_ref()) {
        ("", "Namespace") => names::dns_1123_label(name),
        ("", "Service") => names::dns_1035_label(name),
        ("", "Event") | ("events.k8s.io", "Event") => Vec::new(),
        ("rbac.authorization.k8s.io", _) | ("apiregistration.k8s.io", _) => names::path_segment(name),
        ("networking.k8s.io", "IPAddress") => match name.parse::<std::net::IpAddr>() {
            Ok(address) if address.to_string() == name => Vec::new(),
            _ => vec!["must be a valid IP address in canonical form, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        },
        _ => names::dns_1123_subdomain(name),
    }
}

/// What templates check, too.
pub(super) fn labels_and_annotations(metadata: &Value, path: &str, findings: &mut Findings) {
    labels(&metadata["labels"], &format!("{path}.labels"), findings);
    let path = format!("{path}.annotations");
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        findings.invalid_each(&path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + text(value).len();
    }
    if size > ANNOTATIONS_LIMIT_BYTES {
        findings.too_long(&path, ANNOTATIONS_LIMIT_BYTES as u64);
    }
}

pub(super) fn labels(labels: &Value, path: &str, findings: &mut Findings) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        findings.invalid_each(path, key, names::qualified_name(key));
        findings.invalid_each(path, text(value), names::label_value(text(value)));
    }
}

fn common(metadata: &Value, findings: &mut Findings) {
    labels_and_annotations(metadata, "metadata", findings);
    for owner in list(&metadata["ownerReferences"]) {
        let mut needs = |field: &str, words: &str| {
            if text(&owner[field]).is_empty() {
                findings.invalid(&format!("metadata.ownerReferences.{field}"), "", words);
            }
        };
        needs("apiVersion", "version must not be empty");
        needs("kind", "must not be empty");
        needs("name", "must not be empty");
        needs("uid", "must not be empty");
    }
    let controllers: Vec<&Value> =
        list(&metadata["ownerReferences"]).iter().filter(|owner| owner["controller"] == Value::Bool(true)).collect();
    if let [first, second, ..] = controllers[..] {
        let words = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
            text(&first["kind"]),
            text(&first["name"]),
            text(&second["kind"]),
            text(&second["name"])
        );
        findings.invalid("metadata.ownerReferences", metadata["ownerReferences"].clone(), words);
    }
    let mut deletion = [false, false];
    for finalizer in list(&metadata["finalizers"]).iter().map(text) {
        findings.invalid_each("metadata.finalizers", finalizer, names::qualified_name(finalizer));
        deletion[0] |= finalizer == "orphan";
        deletion[1] |= finalizer == "foregroundDeletion";
    }
    if deletion == [true, true] {
        let words = "finalizer orphan and foregroundDeletion cannot be both set";
        findings.invalid("metadata.finalizers", metadata["finalizers"].clone(), words);
    }
}

/// Built-in kinds take no finalizers but the standard ones and those with a domain.
pub(super) fn qualified_finalizers(metadata: &Value, findings: &mut Findings) {
    for (index, finalizer) in list(&metadata["finalizers"]).iter().map(text).enumerate() {
        let standard = ["kubernetes", "orphan", "foregroundDeletion"].contains(&finalizer);
        if !finalizer.contains('/') && !standard && names::qualified_name(finalizer).is_empty() {
            let words = "name is neither a standard finalizer name nor is it fully qualified";
            findings.invalid(&format!("metadata.finalizers[{index}]"), finalizer, words);
        }
    }
}

pub(super) fn check_update(new: &Value, old: &Value, findings: &mut Findings) {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    if !old["deletionTimestamp"].is_null() {
        let before = list(&old["finalizers"]);
        let added: Vec<&Value> = list(&new["finalizers"]).iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let shown: Vec<String> = added.iter().map(|f| format!("{:?}", text(f))).collect();
            let words = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            );
            findings.forbidden("metadata.finalizers", words);
        }
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        findings.immutable(&format!("metadata.{field}"), &new[field], &old[field]);
    }
    common(new, findings);
}
