//! Parts of objects and things done with them: status, scale, binding, eviction, token, and the connections.

mod approval;
mod binding;
pub mod connect;
mod eviction;
mod graft;
mod proxy;
pub mod relay;
mod scale;
mod token;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    response::{self, Answer},
    status::Failure,
    verbs::{Call, get, patch, update},
};

pub use binding::bind_named;
pub use graft::graft;
pub use scale::selector_text;

/// Answers a request for a subresource that is no connection.
pub async fn answer(call: &Call<'_>) -> Result<Answer, Failure> {
    let info = &call.request.info;
    let subresource = call.resource.kind.subresource(&info.subresource).ok_or_else(Failure::no_such_resource)?;
    if !subresource.verbs.contains(&info.verb.as_str()) {
        return Err(Failure::method_not_allowed());
    }
    match (info.subresource.as_str(), info.verb.as_str()) {
        ("scale", _) => scale::answer(call).await,
        ("binding", _) => binding::bind(call).await,
        ("eviction", _) => eviction::evict(call).await,
        ("token", _) => token::request(call).await,
        (_, "get") => get::get(call).await,
        (_, "update") => update::update(call).await,
        (_, "patch") => patch::patch(call).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// What creating a binding or an eviction is answered with.
fn created(call: &Call<'_>) -> Answer {
    let status: Value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    response::value(StatusCode::CREATED, call.request.accept, &status)
}
