//! DELETE of one object: at once, after a grace period, or once its finalizers are through.

use coracle_store::{Change, Expect, Record};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

use super::{
    Call, incoming,
    modify::{is_finished, lost_race},
};
use crate::{
    admission::{self, Operation},
    object,
    request::query::dry_run,
    response::{self, Answer},
    status::Failure,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const ATTEMPTS: usize = 16;
const JOBS_ORPHAN: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// How a deletion is to be carried out.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// How long the object may go on.
    pub grace_seconds: Option<i64>,
    /// What becomes of those it owns.
    pub propagation: Option<Propagation>,
    /// Only this very object.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
    /// Do everything but the deletion.
    pub dry_run: bool,
}

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
}

impl DeleteOptions {
    /// Reads the options from body and query; the body goes first.
    pub fn parse(call: &Call<'_>) -> Result<Self, Failure> {
        let body = incoming::document(call.request, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")?;
        Self::from_value(call, &body)
    }

    /// Reads the options from a document, and from the query what it does not say.
    pub fn from_value(call: &Call<'_>, body: &Value) -> Result<Self, Failure> {
        let query = &call.request.query;
        let text =
            |field: &str| body[field].as_str().map(str::to_owned).or_else(|| query.get(field).map(str::to_owned));
        let orphan =
            body["orphanDependents"].as_bool().or_else(|| query.get("orphanDependents").map(|value| value == "true"));
        let propagation = match (text("propagationPolicy").as_deref(), orphan) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (None | Some(""), _) => None,
            (Some(other), _) => {
                return Err(Failure::plain(
                    422,
                    "Invalid",
                    format!(
                        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
                    ),
                ));
            }
        };
        let in_body = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            grace_seconds: body["gracePeriodSeconds"].as_i64().or(query.number("gracePeriodSeconds")?),
            propagation,
            uid: body["preconditions"]["uid"].as_str().map(str::to_owned),
            resource_version: body["preconditions"]["resourceVersion"].as_str().map(str::to_owned),
            dry_run: dry_run(in_body.chain(query.all("dryRun")))?,
        })
    }
}

/// What became of the object.
pub enum Outcome {
    /// It is gone; this was its last state.
    Gone(Value),
    /// It is on its way.
    Deleting(Value),
}

/// Deletes the object the path names.
pub async fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = DeleteOptions::parse(call)?;
    let outcome = delete_object(call, &call.key(), &options).await?;
    let value = match outcome {
        Outcome::Gone(value) if !call.resource.strategy.returns_deleted() => {
            return Ok(response::value(StatusCode::OK, call.request.accept, &success(call, &value)));
        }
        Outcome::Gone(value) | Outcome::Deleting(value) => value,
    };
    call.show(StatusCode::OK, object::encode_plain(&value).into())
}

fn success(call: &Call<'_>, value: &Value) -> Value {
    let kind = &call.resource.kind;
    let mut details = json!({"name": object::name(value), "kind": kind.plural, "uid": object::meta_text(value, "uid")});
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Deletes the object under `key`, on top of whatever others write to it meanwhile.
pub async fn delete_object(call: &Call<'_>, key: &str, options: &DeleteOptions) -> Result<Outcome, Failure> {
    delete_with(call, key, options, true).await
}

/// The same without asking admission, which has let something pass that comes to a deletion.
pub async fn delete_admitted(call: &Call<'_>, key: &str, options: &DeleteOptions) -> Result<Outcome, Failure> {
    delete_with(call, key, options, false).await
}

async fn delete_with(call: &Call<'_>, key: &str, options: &DeleteOptions, asks: bool) -> Result<Outcome, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let name = object::key_name(key);
        let record = call.server.store.get(key);
        let record = record.ok_or_else(|| Failure::not_found(call.resource.group_resource(), name))?;
        match attempt_delete(call, &record, options, asks).await {
            Err(failure) if failure.is_lost_race && attempt < ATTEMPTS => {}
            outcome => return outcome,
        }
    }
}

async fn attempt_delete(
    call: &Call<'_>,
    record: &Arc<Record>,
    options: &DeleteOptions,
    asks: bool,
) -> Result<Outcome, Failure> {
    let live = call.served_value(record).await?;
    check_preconditions(call, &live, options)?;
    if asks {
        let attributes = call.attributes(Operation::Delete, object::name(&live), Some(&live), options.dry_run);
        admission::validate_without_object(&attributes, &live).await?;
    }
    let mut value = live.clone();
    let by_default = call.resource.strategy.orphans_by_default().then_some(Propagation::Orphan);
    if let (None, true) = (options.propagation, &*call.resource.kind.plural == "jobs") {
        call.request.warn(JOBS_ORPHAN);
    }
    set_propagation(&mut value, options.propagation.or(by_default));
    let holds_back = begin(call, &mut value, options);
    if holds_back && value == live {
        return Ok(Outcome::Deleting(live));
    }
    if options.dry_run {
        return Ok(if holds_back { Outcome::Deleting(value) } else { Outcome::Gone(value) });
    }
    let expect = Expect::Revision(record.revision());
    let stored = call.resource.conversion.to_stored(value.clone()).await?;
    if !holds_back {
        let last = Some(object::encode(&stored));
        let change = Change::delete(record.key(), expect, last);
        call.server.store.commit(vec![change]).await.map_err(|error| lost_race(call, &error))?;
        call.resource.strategy.deleted(call.server, &value);
        return Ok(Outcome::Gone(value));
    }
    let meta = object::meta(&stored, &call.resource.selectable);
    let change = Change::put(record.key(), expect, meta, object::encode(&stored));
    let committed = call.server.store.commit(vec![change]).await.map_err(|error| lost_race(call, &error))?;
    match committed.records.into_iter().next().flatten() {
        Some(record) => Ok(Outcome::Deleting(call.served_value(&record).await?)),
        None => Err(Failure::internal("a write left no record")),
    }
}

fn check_preconditions(call: &Call<'_>, live: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let refuse = |what: &str, wanted: &str, have: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {have}");
        Err(Failure::conflict(call.resource.group_resource(), object::name(live), &why))
    };
    let (uid, version) = (object::meta_text(live, "uid"), object::meta_text(live, "resourceVersion"));
    match (&options.uid, &options.resource_version) {
        (Some(wanted), _) if wanted != uid => refuse("UID", wanted, uid),
        (_, Some(wanted)) if wanted != version => refuse("ResourceVersion", wanted, version),
        _ => Ok(()),
    }
}

/// The finalizers that stand for what becomes of the owned.
fn set_propagation(value: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wanted = match propagation {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let mut list: Vec<String> =
        object::finalizers(value).filter(|name| ![ORPHAN, FOREGROUND].contains(name)).map(str::to_owned).collect();
    list.extend(wanted.map(str::to_owned));
    object::set_meta(value, "finalizers", (!list.is_empty()).then(|| json!(list)));
}

/// Marks the object as being deleted where something holds it; whether something does.
fn begin(call: &Call<'_>, value: &mut Value, options: &DeleteOptions) -> bool {
    let strategy = call.resource.strategy;
    let held = object::finalizers(value).next().is_some() || strategy.is_held(value);
    let grace = strategy.grace_seconds(value, options.grace_seconds).unwrap_or(0);
    if object::is_deleting(value) {
        shorten(call, value, grace);
        return !is_finished(call, value);
    }
    if !held && grace == 0 {
        return false;
    }
    let ends = call.server.clock.now() + jiff::SignedDuration::from_secs(grace);
    object::set_meta(value, "deletionTimestamp", Some(json!(object::time(ends))));
    object::set_meta(value, "deletionGracePeriodSeconds", Some(json!(grace)));
    // Beginning to delete is a change of what is wanted.
    let generation = value["metadata"]["generation"].as_i64();
    if let Some(generation) = generation {
        object::set_meta(value, "generation", Some(json!(generation + 1)));
    }
    strategy.begin_deletion(value);
    true
}

/// A second deletion may only hasten the end.
fn shorten(call: &Call<'_>, value: &mut Value, grace: i64) {
    let Some(present) = value["metadata"]["deletionGracePeriodSeconds"].as_i64() else { return };
    if grace >= present {
        return;
    }
    let end: Option<jiff::Timestamp> = object::meta_text(value, "deletionTimestamp").parse().ok();
    let begun = end.map_or_else(|| call.server.clock.now(), |end| end - jiff::SignedDuration::from_secs(present));
    let ends = begun + jiff::SignedDuration::from_secs(grace);
    object::set_meta(value, "deletionTimestamp", Some(json!(object::time(ends))));
    object::set_meta(value, "deletionGracePeriodSeconds", Some(json!(grace)));
}
