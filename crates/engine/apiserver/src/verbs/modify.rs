//! A change of an existing object, shared by update, patch and apply: read, change, check, write where nobody else wrote
//! in between, try again where the client did not mind.

use coracle_schema::{apply, defaults, strategy as shapes, validate};
use coracle_store::{Change, CommitError, Expect, Record};
use serde_json::{Value, json};
use std::sync::Arc;

use super::{
    Call, Today,
    create::{Prepared, Written},
};
use crate::{
    admission::{self, Operation},
    crd, object,
    request::query::WriteOptions,
    server::commit_failure,
    status::{Cause, Failure},
    strategy::Hold,
    subresource,
};

/// So often a change is tried on top of somebody else's before the client hears of the conflict.
const ATTEMPTS: usize = 16;

/// What a client makes of the present object.
pub struct Proposal {
    /// The object as it should be, in the request's version.
    pub value: Value,
    /// Whether its managed fields are final, as server-side apply leaves them.
    pub managed: bool,
}

/// Carries out `propose` on the object the path names.
pub async fn modify(
    call: &Call<'_>,
    options: &WriteOptions,
    mut propose: impl FnMut(&Value) -> Result<Proposal, Failure>,
) -> Result<Written, Failure> {
    let today = Today::of(call)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let record = call.record()?;
        let live = call.served_value(&record).await?;
        let proposal = propose(&live)?;
        let insists = check_preconditions(call, &proposal.value, &live)?;
        let outcome = match &today {
            Some(today) => {
                let call = today.call(call);
                let live = call.served_value(&record).await?;
                let value = today.changed_object(proposal.value, &live);
                let written = attempt_write(&call, options, &record, &live, Proposal { value, ..proposal }).await;
                written.map(|written| today.written(written))
            }
            None => attempt_write(call, options, &record, &live, proposal).await,
        };
        match outcome {
            Err(failure) if failure.is_lost_race && !insists && attempt < ATTEMPTS => {}
            outcome => return outcome,
        }
    }
}

/// Refuses a change of another version or another object than the present one; whether the client named a version.
fn check_preconditions(call: &Call<'_>, new: &Value, live: &Value) -> Result<bool, Failure> {
    let of = call.resource.group_resource();
    let name = &call.request.info.name;
    let version = object::meta_text(new, "resourceVersion");
    let is_patch = call.request.info.verb == "patch";
    if version.is_empty() || version == "0" {
        let needed = call.resource.strategy.needs_version() && !is_patch;
        if needed {
            let kind = &call.resource.kind;
            let cause = Cause::invalid("metadata.resourceVersion", "0x0", "must be specified for an update");
            return Err(Failure::invalid(&kind.group, &kind.kind, name, vec![cause]));
        }
    } else if version != object::meta_text(live, "resourceVersion") {
        return Err(Failure::modified(of, name));
    }
    let uid = object::meta_text(new, "uid");
    let live_uid = object::meta_text(live, "uid");
    if !uid.is_empty() && uid != live_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}");
        return Err(Failure::conflict(of, name, &why));
    }
    Ok(!version.is_empty() && !is_patch)
}

async fn attempt_write(
    call: &Call<'_>,
    options: &WriteOptions,
    record: &Arc<Record>,
    live: &Value,
    proposal: Proposal,
) -> Result<Written, Failure> {
    let Prepared { value, hold, turn: _turn } = prepare(call, options, live, proposal).await?;
    if is_finished(call, &value) && object::is_deleting(live) {
        return remove(call, options, record, value, hold).await;
    }
    if value == *live {
        return Ok(Written::Unchanged(record.clone()));
    }
    if options.dry_run {
        return Ok(Written::Dry(value));
    }
    let stored = call.resource.conversion.to_stored(value).await?;
    let meta = object::meta(&stored, &call.resource.selectable);
    let expect = Expect::Revision(record.revision());
    let change = Change::put(record.key(), expect, meta, object::encode(&stored));
    let committed = call.server.store.commit(vec![change]).await.map_err(|error| lost_race(call, &error))?;
    if let Some(hold) = hold {
        hold.keep();
    }
    let record = committed.records.into_iter().next().flatten();
    record.map(Written::Stored).ok_or_else(|| Failure::internal("a write left no record"))
}

/// Whether deletion has begun and nothing holds the object any more.
pub fn is_finished(call: &Call<'_>, value: &Value) -> bool {
    object::is_deleting(value)
        && object::finalizers(value).next().is_none()
        && !call.resource.strategy.is_held(value)
        && value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

async fn remove(
    call: &Call<'_>,
    options: &WriteOptions,
    record: &Arc<Record>,
    value: Value,
    hold: Hold,
) -> Result<Written, Failure> {
    if options.dry_run {
        return Ok(Written::Gone(value));
    }
    let stored = call.resource.conversion.to_stored(value.clone()).await?;
    let change = Change::delete(record.key(), Expect::Revision(record.revision()), Some(object::encode(&stored)));
    call.server.store.commit(vec![change]).await.map_err(|error| lost_race(call, &error))?;
    if let Some(hold) = hold {
        hold.keep();
    }
    call.resource.strategy.deleted(call.server, &value);
    Ok(Written::Gone(value))
}

/// A commit's failure, marked where trying again may help.
pub fn lost_race(call: &Call<'_>, error: &CommitError) -> Failure {
    match error {
        CommitError::Conflict(conflict) if conflict.current.is_none() => call.not_found(),
        CommitError::Conflict(_) => {
            let failure = Failure::modified(call.resource.group_resource(), &call.request.info.name);
            Failure { is_lost_race: true, ..failure }
        }
        other => commit_failure(other),
    }
}

/// Everything between the client's wish and the store.
async fn prepare(
    call: &Call<'_>,
    options: &WriteOptions,
    live: &Value,
    proposal: Proposal,
) -> Result<Prepared, Failure> {
    let Proposal { mut value, managed } = proposal;
    let kind = &*call.resource.kind;
    let name = call.request.info.name.as_str();
    let given = object::name(&value);
    if !given.is_empty() && given != name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    object::set_meta(&mut value, "name", Some(json!(name)));
    super::incoming::fill_namespace(call, &mut value)?;
    object::set_meta(&mut value, "resourceVersion", live["metadata"].get("resourceVersion").cloned());
    let subresource = call.request.info.subresource.as_str();
    let scale = (subresource == "scale").then(|| subresource::Scale::of(call)).flatten();
    let mut hold = None;
    let mut causes = Vec::new();
    match subresource {
        "" | "scale" => shapes::prepare_update(kind, &mut value, live),
        "status" => shapes::prepare_status_update(kind, &mut value, live),
        other => causes = subresource::graft(other, &mut value, live),
    }
    defaults::apply(kind, &mut value);
    let scaled_live = scale.as_ref().map(|scale| scale.show(live));
    let old = scaled_live.as_ref().unwrap_or(live);
    let attributes = call.attributes(Operation::Update, name, Some(old), options.dry_run);
    // A binding was admitted as such.
    let is_admitted = subresource == "binding";
    match &scale {
        Some(scale) => {
            let mut shown = scale.show(&value);
            admission::mutate(&attributes, &mut shown).await?;
            scale.set(&mut value, &shown)?;
        }
        None if is_admitted => {}
        None => admission::mutate(&attributes, &mut value).await?,
    }
    if subresource.is_empty() {
        hold = call.resource.strategy.prepare_update(call.server, &mut value, live)?;
    }
    causes.extend(validate::update_at(kind, subresource, &value, live).iter().map(Cause::from));
    if subresource.is_empty() {
        causes.extend(call.resource.strategy.validate_update(&value, live));
    }
    crd::rules::check(call, &value, Some(live), &mut causes);
    if !causes.is_empty() {
        return Err(Failure::invalid(&kind.group, &kind.kind, name, causes));
    }
    let turn = match &scale {
        Some(scale) => admission::validate(&attributes, &scale.show(&value)).await?,
        None if is_admitted => None,
        None => admission::validate(&attributes, &value).await?,
    };
    if !managed {
        value = track(call, options, live, value);
    }
    Ok(Prepared { value, hold, turn })
}

/// Brings the managed fields up to date with what an update changed.
pub fn track(call: &Call<'_>, options: &WriteOptions, live: &Value, value: Value) -> Value {
    let manager = manager(call, options);
    let now = object::time(call.server.clock.now());
    let request = apply::Request {
        kind: &call.resource.kind,
        live: Some(live),
        manager: &manager,
        subresource: &call.request.info.subresource,
        now: &now,
        force: options.force,
    };
    apply::update(&request, value)
}

/// Who owns the fields a request writes.
pub fn manager(call: &Call<'_>, options: &WriteOptions) -> String {
    match options.field_manager.as_str() {
        "" => call.request.manager_from_user_agent(),
        manager => manager.to_owned(),
    }
}
