//! Eviction: a deletion that asks the disruption budgets first.

use coracle_store::{Change, Expect, Record};
use serde_json::{Value, json};
use std::sync::Arc;

use super::{admit, body, created, scale::selector_text};
use crate::{
    admission::Operation,
    object,
    request::{query::WriteOptions, selector::LabelSelector},
    response::Answer,
    server::commit_failure,
    status::{Cause, Failure},
    verbs::{
        Call,
        delete::{DeleteOptions, delete_admitted},
    },
};

const BUDGETS: &str = "/policy/poddisruptionbudgets/";

/// Evicts the pod the path names.
pub async fn evict(call: &Call<'_>) -> Result<Answer, Failure> {
    let dry_run = WriteOptions::parse(&call.request.query)?.dry_run;
    let attributes = call.attributes(Operation::Create, &call.request.info.name, None, dry_run);
    let mut eviction = body(call, &attributes)?;
    admit(&attributes, &mut eviction).await?;
    let options = DeleteOptions::from_value(call, &eviction["deleteOptions"])?;
    let record = call.record()?;
    let pod = object::decode(&record)?;
    if needs_budget(&pod) {
        take_from_budget(call, &record, &options).await?;
    }
    // The eviction was admitted; the deletion that it comes to is not asked about again.
    delete_admitted(call, &call.key(), &options).await?;
    Ok(created(call))
}

/// Pods that do not run any more, or do not run yet, disturb nobody by going.
fn needs_budget(pod: &Value) -> bool {
    !object::is_deleting(pod) && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

async fn take_from_budget(call: &Call<'_>, pod: &Record, options: &DeleteOptions) -> Result<(), Failure> {
    let budgets = matching_budgets(call, pod)?;
    let (record, mut budget) = match budgets.len() {
        0 => return Ok(()),
        1 => budgets.into_iter().next().expect("there is one"),
        _ => {
            return Err(Failure::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let status = &budget["status"];
    let name = object::name(&budget).to_owned();
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    let observed = status["observedGeneration"].as_i64().unwrap_or(0);
    if observed < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        return Err(refuse(format!("The disruption budget {name} is still being processed by the server."), 10));
    }
    if allowed <= 0 {
        let (desired, current) =
            (status["desiredHealthy"].as_i64().unwrap_or(0), status["currentHealthy"].as_i64().unwrap_or(0));
        return Err(refuse(
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently"),
            0,
        ));
    }
    if options.dry_run {
        return Ok(());
    }
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    budget["status"]["disruptedPods"][object::key_name(pod.key())] = json!(object::time(call.server.clock.now()));
    let meta = object::meta(&budget, &[]);
    let change = Change::put(record.key(), Expect::Revision(record.revision()), meta, object::encode(&budget));
    match call.server.store.commit(vec![change]).await {
        Ok(_) => Ok(()),
        Err(coracle_store::CommitError::Conflict(_)) => {
            Err(Failure::too_many_requests("the disruption budget changed while the eviction was considered", 1))
        }
        Err(error) => Err(commit_failure(&error)),
    }
}

fn matching_budgets(call: &Call<'_>, pod: &Record) -> Result<Vec<(Arc<Record>, Value)>, Failure> {
    let snapshot = call.server.store.snapshot();
    let mut found = Vec::new();
    for record in snapshot.list(&format!("{BUDGETS}{}/", call.request.info.namespace)) {
        let budget = object::decode(record)?;
        // No selector selects nothing; an empty one everything.
        let selector = &budget["spec"]["selector"];
        if selector.is_object() && LabelSelector::parse(&selector_text(selector))?.matches(|key| pod.label(key)) {
            found.push((record.clone(), budget));
        }
    }
    Ok(found)
}

fn refuse(message: String, retry_after_seconds: u32) -> Failure {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = Cause { reason: "DisruptionBudget".into(), message, field: String::new() };
    Failure::too_many_requests(text, retry_after_seconds).with_causes(vec![cause])
}
