//! PUT: the whole object anew.

use http::StatusCode;

use super::{
    Call,
    create::{Written, create_object},
    incoming,
    modify::{Proposal, modify},
};
use crate::{object, request::query::WriteOptions, response::Answer, status::Failure};

/// Replaces the object the path names.
pub async fn update(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = WriteOptions::parse(&call.request.query)?;
    let body = &call.request.body;
    let value = incoming::object(call.request, &call.resource.kind, body, options.field_validation)?;
    let name = object::name(&value);
    if name.is_empty() {
        return Err(Failure::bad_request("name must be provided"));
    }
    if name != call.request.info.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.request.info.name
        )));
    }
    let may_create = call.resource.strategy.creates_on_update()
        && call.request.info.subresource.is_empty()
        && object::meta_text(&value, "resourceVersion").is_empty();
    if may_create && call.record().is_err() {
        let written = create_object(call, value, &options).await?;
        return call.show(StatusCode::CREATED, written.bytes(call).await?);
    }
    let mut value = Some(value);
    let propose = |_: &_| {
        // Only whoever lost a race has to decode the body once more.
        let again = || incoming::object(call.request, &call.resource.kind, body, options.field_validation);
        Ok(Proposal { value: value.take().map_or_else(again, Ok)?, managed: false })
    };
    let written: Written = modify(call, &options, propose).await?;
    call.show(StatusCode::OK, written.bytes(call).await?)
}
