//! Admission by webhooks: servers of others that may change an object, or refuse the request.
//!
//! Those that change are asked one after the other, by the name of their configuration; those that only refuse, all at
//! once. Configurations of webhooks are never shown to webhooks, so that none can shut the door on its own removal.

mod hooks;
pub(super) mod review;
pub(super) mod rules;

use std::{collections::BTreeSet, sync::Arc};

use coracle_schema::{defaults, fields};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{Attributes, Operation, policy::conditions::hold_for};
use crate::{
    reach::Reach,
    registry::{Resource, Served},
    request::selector::LabelSelector,
    status::{Failure, GroupResource},
};
use hooks::{Hook, Hooks};
use review::{CallError, Question, Verdict};
use rules::Asked;

const GROUP: &str = "admissionregistration.k8s.io";

/// All webhooks that are configured.
pub struct Webhooks {
    mutating: Hooks,
    validating: Hooks,
}

impl Webhooks {
    /// The webhooks configured in the store.
    pub fn new(reach: &Reach) -> Self {
        Self {
            mutating: Hooks::new("/admissionregistration.k8s.io/mutatingwebhookconfigurations/", reach.clone()),
            validating: Hooks::new("/admissionregistration.k8s.io/validatingwebhookconfigurations/", reach.clone()),
        }
    }
}

/// Lets webhooks change the object. `steps` are the built-in ones, which see again what a webhook changed. The object is
/// `None` for deletions and connections, which have nothing to change.
pub async fn mutate(
    request: &Attributes<'_>,
    mut object: Option<&mut Value>,
    steps: impl Fn(&mut Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let hooks = request.server.webhooks.mutating.at(&request.server.store.snapshot());
    if hooks.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let mut changed = false;
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut again: BTreeSet<usize> = BTreeSet::new();
    for (at, hook) in hooks.iter().enumerate() {
        match let_change(request, hook, object.as_deref_mut()).await? {
            Change::NotAsked => continue,
            Change::Changed => {
                changed = true;
                again.extend(&seen);
            }
            Change::Nothing => {}
        }
        if hook.again {
            seen.insert(at);
        }
    }
    let Some(object) = object.filter(|_| changed) else { return Ok(()) };
    let before = object.clone();
    steps(object)?;
    if *object != before {
        again = seen;
    }
    for at in again {
        let_change(request, &hooks[at], Some(object)).await?;
    }
    Ok(())
}

enum Change {
    NotAsked,
    Nothing,
    Changed,
}

async fn let_change(request: &Attributes<'_>, hook: &Hook, object: Option<&mut Value>) -> Result<Change, Failure> {
    let served = request.server.registry.served();
    let Some(seen_as) = wanted(request, hook, object.as_deref(), &served)? else { return Ok(Change::NotAsked) };
    if !conditions_hold(request, hook, seen_as, object.as_deref()).await? {
        return Ok(Change::NotAsked);
    }
    check_dry_run(request, hook)?;
    let question = question(request, seen_as, object.as_deref()).await?;
    let Some(verdict) = settle(request, hook, question.ask(hook).await)? else { return Ok(Change::Nothing) };
    let Some(object) = object else { return Ok(Change::Nothing) };
    let Some(mut patched) = verdict.apply(&question.object)? else { return Ok(Change::Nothing) };
    let kind = request.body_kind(seen_as);
    if let Some(error) = fields::type_error(&kind, &patched) {
        return Err(Failure::internal(error));
    }
    fields::prune(&kind, &mut patched);
    if converts(request, seen_as) {
        patched = convert(seen_as, request.resource, patched).await?;
    }
    defaults::apply(&request.body_kind(request.resource), &mut patched);
    *object = patched;
    Ok(Change::Changed)
}

/// Lets webhooks refuse the request. The object is `None` for deletions.
pub async fn validate(request: &Attributes<'_>, object: Option<&Value>) -> Result<(), Failure> {
    let hooks = request.server.webhooks.validating.at(&request.server.store.snapshot());
    if hooks.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let served = request.server.registry.served();
    let mut asked = Vec::new();
    for hook in hooks.iter() {
        if let Some(seen_as) = wanted(request, hook, object, &served)? {
            if !conditions_hold(request, hook, seen_as, object).await? {
                continue;
            }
            check_dry_run(request, hook)?;
            let question = question(request, seen_as, object).await?;
            asked.push(async move { (hook, question.ask(hook).await) });
        }
    }
    for (hook, outcome) in join_all(asked).await {
        settle(request, hook, outcome)?;
    }
    Ok(())
}

fn is_exempt(request: &Attributes<'_>) -> bool {
    request.resource.kind.group == GROUP
}

fn check_dry_run(request: &Attributes<'_>, hook: &Hook) -> Result<(), Failure> {
    if request.dry_run && !hook.dry_runs {
        let text = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(Failure::bad_request(text));
    }
    Ok(())
}

/// What a webhook's answer, or its absence, means for the request.
fn settle(
    request: &Attributes<'_>,
    hook: &Hook,
    outcome: Result<Verdict, CallError>,
) -> Result<Option<Verdict>, Failure> {
    match outcome {
        Ok(verdict) => {
            verdict.warnings.iter().for_each(|text| request.request.warn(text));
            verdict.notes.iter().for_each(|(key, text)| request.request.annotate(key, text));
            match verdict.refusal {
                Some(refusal) => Err(refusal),
                None => Ok(Some(verdict)),
            }
        }
        Err(error) if hook.ignores_failure => {
            tracing::warn!(%error, "failing open");
            request.request.annotate("failed-open.webhook.admission.k8s.io", hook.name.clone());
            Ok(None)
        }
        Err(error) => Err(Failure::internal(error)),
    }
}

/// Whether a webhook's conditions let it be asked.
async fn conditions_hold<'a>(
    request: &Attributes<'a>,
    hook: &Hook,
    seen_as: &'a Resource,
    object: Option<&'a Value>,
) -> Result<bool, Failure> {
    let held = match &hook.conditions {
        Ok(conditions) => hold_for(conditions, request, seen_as, object).await?,
        Err(problem) => Err(problem.clone()),
    };
    match held {
        Ok(holds) => Ok(holds),
        Err(_) if hook.ignores_failure => Ok(false),
        Err(problem) => Err(request.forbidden(&problem)),
    }
}

/// The version in which a webhook wants to see the request, where it does.
fn wanted<'a>(
    request: &Attributes<'a>,
    hook: &Hook,
    object: Option<&Value>,
    served: &'a Served,
) -> Result<Option<&'a Resource>, Failure> {
    let Some(seen_as) = seen_as(request, hook, served) else { return Ok(None) };
    if !hook.objects.is_empty() && ![object, request.old].into_iter().flatten().any(|of| has_labels(&hook.objects, of))
    {
        return Ok(None);
    }
    Ok(in_namespace(request, &hook.namespaces, object)?.then_some(seen_as))
}

fn seen_as<'a>(request: &Attributes<'a>, hook: &Hook, served: &'a Served) -> Option<&'a Resource> {
    let meant = |resource: &Resource| {
        let kind = &*resource.kind;
        let asked = Asked {
            operation: request.operation,
            group: &kind.group,
            version: &kind.version,
            resource: &kind.plural,
            subresource: request.subresource,
            namespaced: kind.namespaced,
        };
        hook.rules.iter().any(|rule| rule.matches(&asked))
    };
    if meant(request.resource) {
        return Some(request.resource);
    }
    let others = served.all.iter().map(Arc::as_ref).filter(|other| {
        other.prefix == request.resource.prefix
            && other.kind.subresource(request.subresource).is_some() != request.subresource.is_empty()
    });
    others.into_iter().find(|other| hook.equivalent && meant(other))
}

pub(super) fn has_labels(selector: &LabelSelector, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.matches(|key| labels.get(key).and_then(Value::as_str))
}

/// Whether a request is about an object in one of the namespaces selected, or about such a namespace.
pub(super) fn in_namespace(
    request: &Attributes<'_>,
    namespaces: &LabelSelector,
    object: Option<&Value>,
) -> Result<bool, Failure> {
    if namespaces.is_empty() {
        return Ok(true);
    }
    let is_namespace = request.resource.kind.plural == "namespaces" && request.resource.kind.group.is_empty();
    if is_namespace && request.subresource.is_empty() {
        return Ok(object.or(request.old).is_some_and(|object| has_labels(namespaces, object)));
    }
    if request.namespace.is_empty() {
        return Ok(true);
    }
    let record = request.server.store.get(&format!("/core/namespaces/{}", request.namespace));
    let resource = GroupResource { group: "", resource: "namespaces" };
    let record = record.ok_or_else(|| Failure::not_found(resource, request.namespace))?;
    Ok(namespaces.matches(|key| record.label(key)))
}

async fn question<'a>(
    request: &'a Attributes<'a>,
    seen_as: &'a Resource,
    object: Option<&Value>,
) -> Result<Question<'a>, Failure> {
    if request.operation == Operation::Connect {
        return Ok(Question { request, seen_as, object: connect_options(request), old: Value::Null });
    }
    let (mut object, mut old) = (object.cloned().unwrap_or_default(), request.old.cloned().unwrap_or_default());
    if converts(request, seen_as) {
        for shown in [&mut object, &mut old] {
            if !shown.is_null() {
                *shown = convert(request.resource, seen_as, shown.take()).await?;
            }
        }
    }
    Ok(Question { request, seen_as, object, old })
}

/// What a connection asks for, as the object that admission sees in its place.
pub fn connect_options(request: &Attributes<'_>) -> Value {
    let kind = request.resource.kind.subresource(request.subresource).and_then(|part| part.body);
    let Some((_, version, kind)) = kind else { return Value::Null };
    let mut options = json!({"kind": kind, "apiVersion": version});
    let query = &request.request.query;
    match request.subresource {
        "proxy" => {
            let path = &request.request.info.rest;
            if !path.is_empty() {
                options["path"] = json!(path);
            }
        }
        "portforward" => {
            let ports = query.all("ports").flat_map(|list| list.split(','));
            let ports: Vec<i64> = ports.filter_map(|port| port.trim().parse().ok()).collect();
            if !ports.is_empty() {
                options["ports"] = json!(ports);
            }
        }
        _ => {
            for stream in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|stream| query.flag(stream)) {
                options[stream] = json!(true);
            }
            if let Some(container) = query.get("container") {
                options["container"] = json!(container);
            }
            let command: Vec<&str> = query.all("command").collect();
            if !command.is_empty() {
                options["command"] = json!(command);
            }
        }
    }
    options
}

/// Whether what a request carries looks different in another version of the resource. A scale is a scale in all of them.
pub(super) fn converts(request: &Attributes<'_>, seen_as: &Resource) -> bool {
    seen_as.api_version != request.resource.api_version && !request.has_own_body()
}

/// An object of one version of a resource in another.
pub(super) async fn convert(from: &Resource, to: &Resource, object: Value) -> Result<Value, Failure> {
    to.conversion.to_served(from.conversion.to_stored(object).await?, &to.api_version).await
}
