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

use crate::{
    admission::{Attributes, Operation},
    object,
    registry::Resource,
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
    pub fn served_bytes(&self, record: &Record) -> Result<Bytes, Failure> {
        served_bytes(self.resource, record)
    }

    /// The decoded object in this version.
    pub fn served_value(&self, record: &Record) -> Result<Value, Failure> {
        served_value(self.resource, record)
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
    pub fn show_record(&self, status: StatusCode, record: &Record) -> Result<Answer, Failure> {
        self.show(status, self.served_bytes(record)?)
    }
}

/// Stored bytes as `resource` shows them.
pub fn served_bytes(resource: &Resource, record: &Record) -> Result<Bytes, Failure> {
    if resource.is_plain(record) {
        return Ok(record.value());
    }
    Ok(object::encode_plain(&served_value(resource, record)?).into())
}

/// The decoded object as `resource` shows it.
pub fn served_value(resource: &Resource, record: &Record) -> Result<Value, Failure> {
    let value = object::decode(record)?;
    if resource.is_plain(record) {
        return Ok(value);
    }
    let mut value = resource.conversion.to_served(value, &resource.api_version);
    // Defaults that came into the schema after the object was written.
    if record.revision() < resource.complete_since {
        coracle_schema::defaults::apply(&resource.kind, &mut value);
    }
    Ok(value)
}
