//! Server-side apply: fields have owners, owners are told apart by manager, and two of them may not disagree unasked.
//!
//! The object's [`managedFields`](managed) say who owns what. Applying merges a configuration into the live object, takes out
//! what its manager applied before and does not any more (unless somebody else owns it), and refuses to change what others own.
//! Every other write is compared with the live object, and what it changed becomes its manager's.

mod managed;
mod set;
mod walk;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::defaults;
use crate::kinds::Kind;
use managed::{Entry, Managed, Manager, Operation};
pub use set::{Set, SetError};
use walk::{compare, field_set, merge, problems, reconciled, remove};

/// Who writes what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub kind: &'a Kind,
    /// The stored object; `None` when it is being created.
    pub live: Option<&'a Value>,
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339, whole seconds, UTC.
    pub now: &'a str,
    /// Take over what others own instead of refusing.
    pub force: bool,
}

/// Why an apply was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own fields that the configuration would change: 409 with these causes.
    #[error("{}", sentence(.0))]
    Conflicts(Vec<Conflict>),
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit the type; upstream answers 500.
    #[error("{0}")]
    Typed(String),
}

/// One field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The cause's message: `conflict with "kubectl" using apps/v1`.
    pub message: String,
    /// `.spec.replicas`
    pub field: String,
}

/// The manager of what was there before anything was applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// kubectl's name on server-side apply, for whose sake objects it applied client-side are taken over without conflict.
const KUBECTL: &str = "kubectl";

impl Request<'_> {
    fn identity(&self, operation: Operation) -> Manager {
        Manager {
            name: self.manager.to_owned(),
            operation,
            api_version: self.kind.api_version(),
            subresource: self.subresource.to_owned(),
        }
    }

    /// What this kind of request cannot change, and so cannot own.
    fn ignored(&self) -> Set {
        match self.subresource {
            "" if self.kind.has_status() => Set::of_fields(&[&["status"]]),
            "status" => Set::of_fields(&[&["spec"]]),
            _ => Set::default(),
        }
    }
}

/// Applies a configuration. Without a live object the result is the object to create; when the result equals the live object,
/// nothing need be written.
pub fn apply(request: &Request<'_>, config: Value) -> Result<Value, ApplyError> {
    check_config(request, &config)?;
    let fresh = empty_object(&config);
    let live = request.live.unwrap_or(&fresh);
    let mut managed = Managed::read(live)
        .map_err(|error| ApplyError::BadRequest(format!("failed to decode managed fields: {error}")))?;
    let mut stripped = live.clone();
    take_managed_fields(&mut stripped);
    reconcile(request.kind, &stripped, &mut managed);
    if managed.is_empty() && live["metadata"].get("uid").is_some() {
        let before = Request { manager: BEFORE_FIRST_APPLY, subresource: "", ..*request };
        updated(&before, &empty_object(live), &stripped, &mut managed);
    }
    let outcome = applied(request, &stripped, &config, &managed, request.force);
    let (mut object, mut managed) = match outcome {
        Err(ApplyError::Conflicts(conflicts)) if request.manager == KUBECTL => {
            let owned = last_applied_set(request, &stripped);
            let left: Vec<Conflict> = conflicts.into_iter().filter(|c| !owned.contains(&c.field)).collect();
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            applied(request, &stripped, &config, &managed, true)?
        }
        outcome => outcome?,
    };
    if request.manager == KUBECTL {
        refresh_last_applied(&mut object, &config);
    }
    let identity = request.identity(Operation::Apply);
    let changed = object != stripped;
    if let Some(at) = managed.position(&identity) {
        let entry = &mut managed.0[at];
        entry.set = entry.set.difference(&UNOWNED);
        if changed || entry.time.is_none() {
            entry.time = Some(request.now.to_owned());
        }
    }
    managed.drop_empty();
    if object == stripped && request.live.is_some() && managed.same_but_times(live) {
        return Ok(live.clone());
    }
    managed.write(&mut object);
    Ok(object)
}

/// The new object with its managed fields brought up to date, for every write that is not an apply.
pub fn update(request: &Request<'_>, new: Value) -> Value {
    let mut new = new;
    let sent = Managed::read(&new);
    let reset = new["metadata"]["managedFields"] == json!([{}]);
    take_managed_fields(&mut new);
    let fresh = empty_object(&new);
    let live = request.live.unwrap_or(&fresh);
    let kept = || Managed::read(live).unwrap_or_default();
    let mut managed = match sent {
        _ if !request.subresource.is_empty() => kept(),
        _ if reset => Managed::default(),
        Ok(sent) if !sent.is_empty() => sent,
        _ => kept(),
    };
    // An object that nobody tracked so far is tracked from its first apply on.
    if managed.is_empty() && live["metadata"].get("uid").is_some() {
        return new;
    }
    if !request.kind.is_builtin() {
        let mut stripped = live.clone();
        take_managed_fields(&mut stripped);
        reconcile(request.kind, &stripped, &mut managed);
    }
    updated(request, live, &new, &mut managed);
    managed.cap();
    managed.write(&mut new);
    new
}

/// Entries written under an older schema are brought to the form the present one gives them. Only custom resources change theirs.
fn reconcile(kind: &Kind, live: &Value, managed: &mut Managed) {
    if kind.is_builtin() {
        return;
    }
    for entry in &mut managed.0 {
        if let Some(set) = reconciled(kind.schema.root(), live, &entry.set) {
            entry.set = set;
        }
    }
}

/// Gives what `new` changed to the request's manager.
fn updated(request: &Request<'_>, live: &Value, new: &Value, managed: &mut Managed) {
    let difference = compare(request.kind.schema.root(), live, new).without(&request.ignored());
    let changed = difference.modified.union(&difference.added);
    // The live object may come with its managed fields; that they are gone from the new one says nothing.
    let removed = difference.removed.difference(&MANAGED_FIELDS);
    for lost in [&changed, &removed].into_iter().filter(|lost| !lost.is_empty()) {
        for entry in &mut managed.0 {
            entry.set = entry.set.difference(lost);
        }
    }
    let taken = changed.difference(&UNOWNED);
    if !taken.is_empty() {
        let manager = request.identity(Operation::Update);
        match managed.position(&manager) {
            Some(at) => {
                let entry = &mut managed.0[at];
                entry.set = std::mem::take(&mut entry.set).union(&taken);
                entry.time = Some(request.now.to_owned());
            }
            None => managed.0.push(Entry { manager, time: Some(request.now.to_owned()), set: taken }),
        }
    }
    managed.drop_empty();
}

/// The object after an apply (its managed fields still apart), and the managed fields.
fn applied(
    request: &Request<'_>,
    live: &Value,
    config: &Value,
    managed: &Managed,
    force: bool,
) -> Result<(Value, Managed), ApplyError> {
    let root = request.kind.schema.root();
    let mut managed = managed.clone();
    let manager = request.identity(Operation::Apply);
    let merged = merge(root, live, config);
    let set = field_set(root, config).without_trees(&request.ignored());
    let entry = Entry { manager: manager.clone(), time: None, set };
    let last = match managed.position(&manager) {
        Some(at) => {
            let before = std::mem::replace(&mut managed.0[at], entry);
            managed.0[at].time.clone_from(&before.time);
            Some(before.set)
        }
        None => {
            managed.0.push(entry);
            None
        }
    };
    let mut object = match last.filter(|last| !last.is_empty()) {
        Some(last) => prune(request, &merged, &managed, &last),
        None => merged,
    };
    // Compared as it will be stored: what defaulting puts back, or writes another way, is no change and nobody's conflict.
    defaults::apply(request.kind, &mut object);
    let difference = compare(root, live, &object).without(&request.ignored());
    let changed = difference.modified.union(&difference.added);
    let mut conflicts = Vec::new();
    for entry in managed.0.iter_mut().filter(|entry| !entry.manager.is(&manager)) {
        let disputed = entry.set.intersection(&changed);
        let shown = entry.manager.shown();
        conflicts.extend(disputed.paths().into_iter().map(|field| Conflict {
            manager: shown.clone(),
            message: format!("conflict with {shown}"),
            field,
        }));
        entry.set = entry.set.difference(&disputed).difference(&difference.removed);
    }
    if !force && !conflicts.is_empty() {
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        return Err(ApplyError::Conflicts(conflicts));
    }
    managed.drop_empty();
    Ok((object, managed))
}

/// Takes out what this manager applied last time and does not now, except what somebody owns.
fn prune(request: &Request<'_>, merged: &Value, managed: &Managed, last: &Set) -> Value {
    let root = request.kind.schema.root();
    let full = |set: &Set| set.with_struct_fields(Some(root));
    let last = full(last);
    let pruned = remove(root, merged, &last);
    let merged_set = full(&field_set(root, merged));
    let owned = managed.0.iter().fold(Set::default(), |owned, entry| owned.union(&entry.set));
    let owned = full(&owned);
    let keep = full(&field_set(root, &pruned)).union(&owned);
    let pruned = remove(root, merged, &merged_set.difference(&keep));
    // What nobody owned and went only because it hung below something removed comes back.
    let pruned_set = full(&field_set(root, &pruned));
    remove(root, merged, &merged_set.difference(&pruned_set).intersection(&last).difference(&owned))
}

/// What was refused and whom to ask, in upstream's words.
fn sentence(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", one.message, one.field);
    }
    let mut lines = Vec::new();
    let mut manager = "";
    for conflict in conflicts {
        if conflict.manager != manager {
            manager = &conflict.manager;
            lines.push(format!("conflicts with {manager}:"));
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn check_config(request: &Request<'_>, config: &Value) -> Result<(), ApplyError> {
    let kind = request.kind;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, name) = (text(&config["apiVersion"]), text(&config["kind"]));
    if version != kind.api_version() || name != kind.kind {
        return Err(ApplyError::BadRequest(format!("invalid object type: {version}, Kind={name}")));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let found = problems(kind.schema.root(), config);
    let found = match &found[..] {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (namespace, object) = (text(&config["metadata"]["namespace"]), text(&config["metadata"]["name"]));
    Err(ApplyError::Typed(format!(
        "failed to create typed patch object ({namespace}/{object}; {version}, Kind={name}): {found}"
    )))
}

/// What every object has from the start.
fn empty_object(like: &Value) -> Value {
    json!({"apiVersion": like["apiVersion"], "kind": like["kind"], "metadata": {}})
}

fn take_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

static MANAGED_FIELDS: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&[&["metadata", "managedFields"]]));

/// Fields that belong to no manager, because they name the object or are the server's.
static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The fields kubectl applied client-side that still are as it left them.
fn last_applied_set(request: &Request<'_>, live: &Value) -> Vec<String> {
    let read = || {
        let config: Value = serde_json::from_str(live["metadata"]["annotations"][LAST_APPLIED].as_str()?).ok()?;
        let root = request.kind.schema.root();
        if config["apiVersion"] != request.kind.api_version() || !problems(root, &config).is_empty() {
            return None;
        }
        let difference = compare(root, &config, live);
        let set = field_set(root, &config);
        Some(set.difference(&difference.modified).difference(&difference.added).difference(&difference.removed))
    };
    read().map(|set: Set| set.paths()).unwrap_or_default()
}

/// Whoever goes back to applying client-side finds what was applied last.
fn refresh_last_applied(object: &mut Value, config: &Value) {
    let annotation =
        object.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(LAST_APPLIED));
    let Some(annotation) = annotation.filter(|text| text.as_str().is_some_and(|text| !text.is_empty())) else { return };
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            config["metadata"].as_object_mut().map(|metadata: &mut Map<String, Value>| metadata.remove("annotations"));
        }
    }
    *annotation = Value::String(format!("{config}\n"));
}

#[cfg(test)]
mod tests;
