//! Strategic merge: maps merge, lists with a known key merge by it (new elements first), other lists are replaced.

use coracle_yaml::{Mapping, Mark, Node, Value};

use crate::resource::Gvk;

/// A patch that cannot be merged.
#[derive(Debug)]
pub(crate) struct MergeError {
    pub mark: Mark,
    pub message: String,
}

/// Where the pod spec stands in the kinds that hold one.
fn pod_spec_path(gvk: &Gvk) -> Option<&'static [&'static str]> {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Pod") => Some(&["spec"]),
        ("", "PodTemplate") => Some(&["template", "spec"]),
        ("", "ReplicationController") | ("batch", "Job") => Some(&["spec", "template", "spec"]),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => Some(&["spec", "template", "spec"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// The keys a list merges by; `""` for lists of plain values that merge as sets.
fn merge_keys(gvk: &Gvk, path: &[&str]) -> Option<&'static [&'static str]> {
    let builtin = gvk.group.is_empty()
        || gvk.group.ends_with(".k8s.io")
        || matches!(gvk.group.as_str(), "apps" | "batch" | "policy" | "autoscaling" | "extensions");
    if !builtin {
        return None;
    }
    if let Some(rest) = pod_spec_path(gvk).and_then(|pod| path.strip_prefix(pod)) {
        return pod_merge_keys(rest);
    }
    match (gvk.kind.as_str(), path) {
        (_, [.., "metadata", "ownerReferences"]) => Some(&["uid"]),
        (_, [.., "metadata", "finalizers"]) => Some(&[""]),
        ("Service", ["spec", "ports"]) => Some(&["port", "protocol"]),
        ("ServiceAccount", ["secrets"]) => Some(&["name"]),
        ("Node", ["spec", "podCIDRs"]) => Some(&[""]),
        ("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration", ["webhooks"]) => Some(&["name"]),
        ("ValidatingAdmissionPolicy", ["spec", "matchConditions" | "variables"]) => Some(&["name"]),
        ("CSINode", ["spec", "drivers"]) => Some(&["name"]),
        (_, ["status", "conditions"]) => Some(&["type"]),
        _ => None,
    }
}

fn pod_merge_keys(path: &[&str]) -> Option<&'static [&'static str]> {
    match path {
        ["containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets"] => Some(&["name"]),
        ["schedulingGates" | "resourceClaims"] => Some(&["name"]),
        ["hostAliases"] => Some(&["ip"]),
        ["topologySpreadConstraints"] => Some(&["topologyKey", "whenUnsatisfiable"]),
        ["containers" | "initContainers" | "ephemeralContainers", rest @ ..] => match rest {
            ["env"] => Some(&["name"]),
            ["ports"] => Some(&["containerPort", "protocol"]),
            ["volumeMounts"] => Some(&["mountPath"]),
            ["volumeDevices"] => Some(&["devicePath"]),
            ["resources", "claims"] => Some(&["name"]),
            _ => None,
        },
        _ => None,
    }
}

/// Merges `patch` into `target`; `false` means the patch deletes the whole object.
pub(crate) fn merge(target: &mut Node, patch: &Node) -> Result<bool, MergeError> {
    let gvk = Gvk::of(target);
    let mut path = Vec::new();
    let merged = merge_node(&gvk, &mut path, Some(std::mem::replace(target, Node::null())), patch.clone())?;
    match merged {
        Some(node) => {
            *target = node;
            Ok(true)
        }
        None => Ok(false),
    }
}

enum Directive {
    Merge,
    Replace,
    Delete,
}

fn merge_node(
    gvk: &Gvk,
    path: &mut Vec<String>,
    target: Option<Node>,
    patch: Node,
) -> Result<Option<Node>, MergeError> {
    if patch.is_null() {
        return Ok(None);
    }
    let target = target.filter(|node| !node.is_null());
    let mark = patch.mark;
    match patch.value {
        Value::Scalar(_) => match target {
            Some(Node { value: Value::Mapping(_) | Value::Sequence(_), .. }) => Err(mismatch(path, mark, "a scalar")),
            _ => Ok(Some(patch)),
        },
        Value::Mapping(mapping) => match target {
            None => merge_mapping(gvk, path, Mapping::new(), mapping, mark),
            Some(Node { value: Value::Mapping(target), mark }) => merge_mapping(gvk, path, target, mapping, mark),
            Some(_) => Err(mismatch(path, mark, "a mapping")),
        },
        Value::Sequence(items) => match target {
            None => merge_sequence(gvk, path, None, items, mark),
            Some(Node { value: Value::Sequence(target), .. }) => merge_sequence(gvk, path, Some(target), items, mark),
            Some(_) => Err(mismatch(path, mark, "a list")),
        },
    }
}

fn mismatch(path: &[String], mark: Mark, found: &str) -> MergeError {
    MergeError {
        mark,
        message: format!("{}: the patch has {found} where the object has something else", path.join(".")),
    }
}

fn directive(mapping: &mut Mapping) -> Result<Directive, MergeError> {
    let Some(node) = mapping.remove("$patch") else { return Ok(Directive::Merge) };
    match node.as_text() {
        Some("merge") => Ok(Directive::Merge),
        Some("replace") => Ok(Directive::Replace),
        Some("delete") => Ok(Directive::Delete),
        _ => Err(MergeError {
            mark: node.mark,
            message: format!("$patch: expected merge, replace or delete, found {}", node.describe()),
        }),
    }
}

fn merge_mapping(
    gvk: &Gvk,
    path: &mut Vec<String>,
    mut target: Mapping,
    mut patch: Mapping,
    mark: Mark,
) -> Result<Option<Node>, MergeError> {
    match directive(&mut patch)? {
        Directive::Delete => return Ok(None),
        Directive::Replace => return Ok(Some(Node { mark, value: Value::Mapping(patch) })),
        Directive::Merge => {}
    }
    for entry in patch.into_entries() {
        path.push(entry.key.to_string());
        let merged = merge_node(gvk, path, target.get(&entry.key).cloned(), entry.value)?;
        path.pop();
        match merged {
            Some(node) => target.insert(&entry.key, node),
            None => {
                target.remove(&entry.key);
            }
        }
    }
    Ok(Some(Node { mark, value: Value::Mapping(target) }))
}

fn merge_sequence(
    gvk: &Gvk,
    path: &mut Vec<String>,
    target: Option<Vec<Node>>,
    mut patch: Vec<Node>,
    mark: Mark,
) -> Result<Option<Node>, MergeError> {
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some(keys) = merge_keys(gvk, &steps) else {
        return Ok(Some(Node { mark, value: Value::Sequence(patch) }));
    };
    match list_directive(&mut patch)? {
        Directive::Delete => return Ok(None),
        Directive::Replace => return Ok(Some(Node { mark, value: Value::Sequence(patch) })),
        Directive::Merge => {}
    }
    let target = target.unwrap_or_default();
    let merged = if keys == [""] { merge_set(target, patch) } else { merge_by_keys(gvk, path, keys, target, patch)? };
    Ok(Some(Node { mark, value: Value::Sequence(merged) }))
}

/// A list's directive is an element of its own that says nothing else.
fn list_directive(patch: &mut Vec<Node>) -> Result<Directive, MergeError> {
    let is_directive =
        |node: &Node| node.as_mapping().is_some_and(|mapping| mapping.len() == 1 && mapping.get("$patch").is_some());
    let Some(index) = patch.iter().position(is_directive) else { return Ok(Directive::Merge) };
    let mut element = patch.remove(index);
    directive(element.as_mapping_mut().expect("found as a mapping"))
}

fn merge_set(target: Vec<Node>, patch: Vec<Node>) -> Vec<Node> {
    let mut merged: Vec<Node> = Vec::new();
    for node in patch.into_iter().chain(target) {
        if merged.iter().all(|known| known.as_text() != node.as_text()) {
            merged.push(node);
        }
    }
    merged
}

/// Elements are the same when all keys that either of them has agree; those the patch names come first, in its order.
fn merge_by_keys(
    gvk: &Gvk,
    path: &mut Vec<String>,
    keys: &[&str],
    mut target: Vec<Node>,
    patch: Vec<Node>,
) -> Result<Vec<Node>, MergeError> {
    let mut merged = Vec::new();
    for item in patch {
        let known = target.iter().position(|known| same_element(known, &item, keys)).map(|index| target.remove(index));
        merged.extend(merge_node(gvk, path, known, item)?);
    }
    merged.extend(target);
    Ok(merged)
}

fn same_element(left: &Node, right: &Node, keys: &[&str]) -> bool {
    let value = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default().to_owned();
    let mut agreed = false;
    for key in keys {
        let (left, right) = (value(left, key), value(right, key));
        if !left.is_empty() && !right.is_empty() && left != right {
            return false;
        }
        agreed |= !left.is_empty() && left == right;
    }
    agreed
}
