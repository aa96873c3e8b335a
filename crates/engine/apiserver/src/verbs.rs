//! What can be done to objects: one file a verb.

pub mod collection;
pub mod create;
pub mod delete;
pub mod frames;
pub mod get;
pub mod incoming;
pub mod list;
pub mod modify;
pub mod patch;
pub mod update;
pub mod watch;

use std::sync::Arc;

use bytes::Bytes;
use coracle_store::Record;
use http::StatusCode;
use serde_json::Value;

use create::Written;

use crate::{
    admission::{Attributes, Operation},
    object,
    registry::{
        Resource,
        convert::{Conversion, older::Older},
    },
    request::{Request, accept::Shape},
    response::{self, Answer},
    server::Server,
    show,
    status::Failure,
};

/// One request at one resource.
pub struct Call<'a> {
    /// The server.
    pub server: &'a Server,
    /// The request.
    pub request: &'a Request,
    /// What it is about.
    pub resource: &'a Arc<Resource>,
}

impl Call<'_> {
    /// The key of the object the path names.
    pub fn key(&self) -> String {
        self.resource.key(&self.request.info.namespace, &self.request.info.name)
    }

    /// The object the path names.
    pub fn record(&self) -> Result<Arc<Record>, Failure> {
        self.server.store.get(&self.key()).ok_or_else(|| self.not_found())
    }

    /// 404 for the object the path names.
    pub fn not_found(&self) -> Failure {
        Failure::not_found(self.resource.group_resource(), &self.request.info.name)
    }

    /// What admission sees.
    pub fn attributes<'b>(
        &'b self,
        operation: Operation,
        name: &'b str,
        old: Option<&'b Value>,
        dry_run: bool,
    ) -> Attributes<'b> {
        Attributes {
            server: self.server,
            request: self.request,
            user: &self.request.user,
            operation,
            resource: self.resource,
            subresource: &self.request.info.subresource,
            namespace: &self.request.info.namespace,
            name,
            old,
            dry_run,
        }
    }

    /// Stored bytes as this version shows them: the same bytes wherever they are in it already.
    pub async fn served_bytes(&self, record: &Record) -> Result<Bytes, Failure> {
        served_bytes(self.resource, record).await
    }

    /// The decoded object in this version.
    pub async fn served_value(&self, record: &Record) -> Result<Value, Failure> {
        served_value(self.resource, record).await
    }

    /// A single object's answer, in the shape the client wants.
    pub fn show(&self, status: StatusCode, bytes: Bytes) -> Result<Answer, Failure> {
        let accept = self.request.accept;
        match accept.shape {
            Shape::Whole => Ok(response::document(status, accept, bytes)),
            _ => {
                let value: Value = serde_json::from_slice(&bytes).map_err(Failure::internal)?;
                let now = self.server.clock.now();
                Ok(response::value(status, accept, &show::one(self.resource, self.request, &value, now)))
            }
        }
    }

    /// A record's answer.
    pub async fn show_record(&self, status: StatusCode, record: &Record) -> Result<Answer, Failure> {
        self.show(status, self.served_bytes(record).await?)
    }
}

/// What a request in an older version comes down to: the rules are those of today's.
pub struct Today {
    older: &'static Older,
    resource: Arc<Resource>,
}

impl Today {
    /// `None` where the request's own version rules.
    pub fn of(call: &Call<'_>) -> Result<Option<Self>, Failure> {
        let Conversion::Older(older) = &call.resource.conversion else { return Ok(None) };
        let (group, version) = older.today;
        let resource = call.server.registry.find(group, version, &call.resource.kind.plural);
        Ok(Some(Self { older, resource: resource.ok_or_else(Failure::no_such_resource)? }))
    }

    /// The request, as one for today's version.
    pub fn call<'a>(&'a self, call: &Call<'a>) -> Call<'a> {
        Call { server: call.server, request: call.request, resource: &self.resource }
    }

    /// A new object as today's.
    pub fn new_object(&self, object: Value) -> Value {
        self.older.to_today(object)
    }

    /// A change of `live`, which is today's already.
    pub fn changed_object(&self, object: Value, live: &Value) -> Value {
        let mut object = self.older.to_today(object);
        self.older.keep_unseen(&mut object, live);
        object
    }

    /// What was not stored, as the older version shows it.
    pub fn written(&self, written: Written) -> Written {
        match written {
            Written::Dry(value) => Written::Dry(self.older.to_older(value)),
            Written::Gone(value) => Written::Gone(self.older.to_older(value)),
            stored => stored,
        }
    }
}

/// Stored bytes as `resource` shows them.
pub async fn served_bytes(resource: &Resource, record: &Record) -> Result<Bytes, Failure> {
    if resource.is_plain(record) {
        return Ok(record.value());
    }
    Ok(object::encode_plain(&served_value(resource, record).await?).into())
}

/// The decoded object as `resource` shows it.
pub async fn served_value(resource: &Resource, record: &Record) -> Result<Value, Failure> {
    let value = object::decode(record)?;
    if resource.is_plain(record) {
        return Ok(value);
    }
    let value = resource.conversion.to_served(value, &resource.api_version).await?;
    Ok(completed(resource, record, value))
}

/// The bytes of many objects: whoever converts them is asked once.
pub async fn all_served_bytes(resource: &Resource, records: &[Arc<Record>]) -> Result<Vec<Bytes>, Failure> {
    let mut all: Vec<Bytes> = records.iter().map(|record| record.value()).collect();
    let others: Vec<usize> = (0..records.len()).filter(|at| !resource.is_plain(&records[*at])).collect();
    let stored = others.iter().map(|at| object::decode(&records[*at])).collect::<Result<Vec<_>, _>>()?;
    let served = resource.conversion.all_to_served(stored, &resource.api_version).await?;
    for (at, value) in others.into_iter().zip(served) {
        all[at] = object::encode_plain(&completed(resource, &records[at], value)).into();
    }
    Ok(all)
}

/// Many decoded objects.
pub async fn all_served_values(resource: &Resource, records: &[Arc<Record>]) -> Result<Vec<Value>, Failure> {
    let bytes = all_served_bytes(resource, records).await?;
    bytes.iter().map(|bytes| serde_json::from_slice(bytes).map_err(Failure::internal)).collect()
}

/// Adds the defaults that came into the schema after the object was written.
fn completed(resource: &Resource, record: &Record, mut value: Value) -> Value {
    if record.revision() < resource.complete_since {
        coracle_schema::defaults::apply(&resource.kind, &mut value);
    }
    value
}
