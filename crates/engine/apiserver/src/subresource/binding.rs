//! Binding: a scheduler's word on which node a pod runs.

use serde_json::{Value, json};

use super::{admit, body, created};
use crate::{
    admission::Operation,
    object,
    request::{Request, info::RequestInfo, query::WriteOptions},
    response::Answer,
    status::{Cause, Failure, GroupResource},
    verbs::{
        Call,
        modify::{Proposal, modify},
    },
};

/// Assigns the pod the path names.
pub async fn bind(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = WriteOptions::parse(&call.request.query)?;
    let attributes = call.attributes(Operation::Create, &call.request.info.name, None, options.dry_run);
    let mut binding = body(call, &attributes)?;
    admit(&attributes, &mut binding).await?;
    assign(call, &options, &binding).await
}

/// Assigns the pod that the binding itself names: what schedulers did before pods had the subresource.
pub async fn bind_named(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = WriteOptions::parse(&call.request.query)?;
    let mut binding = body(call, &call.attributes(Operation::Create, "", None, options.dry_run))?;
    let name = object::name(&binding).to_owned();
    if name.is_empty() {
        return Err(Failure::bad_request("Name parameter required."));
    }
    admit(&call.attributes(Operation::Create, &name, None, options.dry_run), &mut binding).await?;
    let resource = call.server.registry.find("", "v1", "pods").ok_or_else(Failure::no_such_resource)?;
    let info =
        RequestInfo { resource: "pods".into(), name, subresource: "binding".into(), ..call.request.info.clone() };
    let Request { query, headers, user, accept, body, .. } = call.request;
    let request = Request::new(info, query.clone(), headers.clone(), user.clone(), *accept, body.clone());
    assign(&Call { server: call.server, request: &request, resource: &resource }, &options, &binding).await
}

async fn assign(call: &Call<'_>, options: &WriteOptions, binding: &Value) -> Result<Answer, Failure> {
    let target = &binding["target"];
    let kind = target["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        let cause = Cause::unsupported("target.kind", kind, &["Node", "<empty>"]);
        return Err(Failure::plain(500, "", cause.sentence()));
    }
    let node = target["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::plain(500, "", Cause::required("target.name", "").sentence()));
    }
    modify(call, options, |live| Ok(Proposal { value: assigned(call, live, binding, node)?, managed: false })).await?;
    Ok(created(call))
}

fn assigned(call: &Call<'_>, live: &Value, binding: &Value, node: &str) -> Result<Value, Failure> {
    let name = &call.request.info.name;
    let refuse =
        |why: String| Err(Failure::conflict(GroupResource { group: "", resource: "pods/binding" }, name, &why));
    let uid = object::meta_text(binding, "uid");
    if !uid.is_empty() && uid != object::meta_text(live, "uid") {
        return refuse(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::meta_text(live, "uid")
        ));
    }
    if object::is_deleting(live) {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let assigned = live["spec"]["nodeName"].as_str().unwrap_or_default();
    if !assigned.is_empty() {
        return refuse(format!("pod {name} is already assigned to node {assigned:?}"));
    }
    if live["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut value = live.clone();
    value["spec"]["nodeName"] = json!(node);
    for notes in ["annotations", "labels"] {
        for (key, text) in binding["metadata"][notes].as_object().into_iter().flatten() {
            value["metadata"][notes][key] = text.clone();
        }
    }
    let now = object::time(call.server.clock.now());
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let mut conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(scheduled);
    value["status"]["conditions"] = conditions.into();
    Ok(value)
}
