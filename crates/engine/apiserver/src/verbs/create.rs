//! POST to a collection: a new object.

use bytes::Bytes;
use coracle_schema::{apply, defaults, strategy as shapes, validate};
use coracle_store::{Change, CommitError, Record};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

use super::{Call, Today, incoming, served_bytes};
use crate::{
    admission::{self, Operation},
    crd, names, object,
    request::query::WriteOptions,
    response::Answer,
    server::commit_failure,
    status::{Cause, Failure},
    strategy::Hold,
};

/// A made-up name that is taken is made up anew so many times.
const NAME_ATTEMPTS: usize = 8;

/// What a write led to.
pub enum Written {
    /// It is in the store.
    Stored(Arc<Record>),
    /// It would have been written like this.
    Dry(Value),
    /// The object is gone: its last finalizer was removed.
    Gone(Value),
    /// There was nothing to change.
    Unchanged(Arc<Record>),
}

impl Written {
    /// The object's bytes as the resource shows them.
    pub async fn bytes(&self, call: &Call<'_>) -> Result<Bytes, Failure> {
        match self {
            Self::Stored(record) | Self::Unchanged(record) => served_bytes(call.resource, record).await,
            Self::Dry(value) | Self::Gone(value) => Ok(object::encode_plain(value).into()),
        }
    }
}

/// Creates the object in the body.
pub async fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = WriteOptions::parse(&call.request.query)?;
    let body = &call.request.body;
    let value = incoming::object(call.request, &call.resource.kind, body, options.field_validation)?;
    let written = create_object(call, value, &options).await?;
    call.show(StatusCode::CREATED, written.bytes(call).await?)
}

/// Creates an object that is decoded already.
pub async fn create_object(call: &Call<'_>, value: Value, options: &WriteOptions) -> Result<Written, Failure> {
    match Today::of(call)? {
        Some(today) => {
            let written = create_todays(&today.call(call), today.new_object(value), options).await?;
            Ok(today.written(written))
        }
        None => create_todays(call, value, options).await,
    }
}

async fn create_todays(call: &Call<'_>, mut value: Value, options: &WriteOptions) -> Result<Written, Failure> {
    if call.resource.terminating {
        let text = "create not allowed while custom resource definition is terminating";
        return Err(Failure::plain(405, "MethodNotAllowed", text));
    }
    if !object::meta_text(&value, "resourceVersion").is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let in_path = &call.request.info.name;
    if !in_path.is_empty() && object::name(&value).is_empty() {
        object::set_meta(&mut value, "name", Some(json!(in_path)));
    }
    incoming::fill_namespace(call, &mut value)?;
    if !is_to_be_named(&value) {
        return write_new(call, value, options).await;
    }
    for attempt in 1.. {
        let mut candidate = value.clone();
        name_it(&mut candidate);
        match write_new(call, candidate, options).await {
            Err(failure) if failure.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS => {}
            outcome => return outcome,
        }
    }
    unreachable!("the loop ends by its own count")
}

/// Whether a name is to be made up from `generateName`.
fn is_to_be_named(value: &Value) -> bool {
    object::name(value).is_empty() && !object::meta_text(value, "generateName").is_empty()
}

fn name_it(value: &mut Value) {
    let name = names::generate(object::meta_text(value, "generateName"));
    object::set_meta(value, "name", Some(json!(name)));
}

async fn write_new(call: &Call<'_>, value: Value, options: &WriteOptions) -> Result<Written, Failure> {
    let Prepared { value, hold, turn: _turn } = prepare(call, value, options).await?;
    let key = call.resource.key(object::namespace(&value), object::name(&value));
    let name = object::name(&value).to_owned();
    let exists = || Failure::already_exists(call.resource.group_resource(), &name);
    if call.server.store.get(&key).is_some() {
        return Err(exists());
    }
    if options.dry_run {
        return Ok(Written::Dry(value));
    }
    let stored = call.resource.conversion.to_stored(value).await?;
    let meta = object::meta(&stored, &call.resource.selectable);
    let change = Change::create(key, meta, object::encode(&stored));
    let committed = call.server.store.commit(vec![change]).await.map_err(|error| match error {
        CommitError::Conflict(_) => exists(),
        other => commit_failure(&other),
    })?;
    if let Some(hold) = hold {
        hold.keep();
    }
    let record = committed.records.into_iter().next().flatten();
    record.map(Written::Stored).ok_or_else(|| Failure::internal("a write left no record"))
}

/// An object that may be written, with what is held for it until it is.
pub struct Prepared {
    /// The object.
    pub value: Value,
    /// What its strategy took for it.
    pub hold: Hold,
    /// Its turn at the quotas.
    pub turn: admission::Turn,
}

/// Everything between decoding and the store.
async fn prepare(call: &Call<'_>, mut value: Value, options: &WriteOptions) -> Result<Prepared, Failure> {
    let kind = &*call.resource.kind;
    let server = call.server;
    let now = object::time(server.clock.now());
    let metadata = object::metadata_mut(&mut value);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), json!(names::uid()));
    metadata.insert("creationTimestamp".into(), json!(now));
    shapes::prepare_create(kind, &mut value);
    defaults::apply(kind, &mut value);
    let name = object::name(&value).to_owned();
    let attributes = call.attributes(Operation::Create, &name, None, options.dry_run);
    admission::mutate(&attributes, &mut value).await?;
    let hold = call.resource.strategy.prepare_create(server, &mut value)?;
    defaults::apply(kind, &mut value);
    let mut causes: Vec<Cause> = validate::create(kind, &value).iter().map(Cause::from).collect();
    causes.extend(call.resource.strategy.validate_create(&value));
    crd::rules::check(call, &value, None, &mut causes);
    if !causes.is_empty() {
        return Err(Failure::invalid(&kind.group, &kind.kind, &name, causes));
    }
    let turn = admission::validate(&attributes, &value).await?;
    if call.request.info.verb != "patch" || !super::patch::is_apply(call.request) {
        let manager = super::modify::manager(call, options);
        let request = apply::Request {
            kind,
            live: None,
            manager: &manager,
            subresource: &call.request.info.subresource,
            now: &now,
            force: options.force,
        };
        value = apply::update(&request, value);
    }
    Ok(Prepared { value, hold, turn })
}
