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

use coracle_schema::{fields, kinds::definition_name};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    admission::{self, Attributes},
    object,
    response::{self, Answer},
    status::Failure,
    verbs::{Call, get, incoming, patch, update},
};

pub use binding::bind_named;
pub use graft::graft;
pub use scale::{Scale, selector_text};

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

/// The body of a request that creates something other than an object of the resource.
fn body(call: &Call<'_>, attributes: &Attributes<'_>) -> Result<Value, Failure> {
    let kind = attributes.body_kind(call.resource);
    let definition = definition_name(&kind.group, &kind.version, &kind.kind);
    let mut body = incoming::document(call.request, &definition)?;
    let unrecognized = |why: &str| {
        Failure::bad_request(format!("the object provided is unrecognized (must be of type {}): {why}", kind.kind))
    };
    if !body.is_object() {
        return Err(unrecognized("couldn't get version/kind"));
    }
    if let Some(error) = fields::type_error(&kind, &body) {
        return Err(unrecognized(&error));
    }
    fields::prune(&kind, &mut body);
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.kind);
    incoming::fill_namespace(call, &mut body)?;
    Ok(body)
}

/// Lets admission change what is created at a path, and refuse it.
async fn admit(attributes: &Attributes<'_>, body: &mut Value) -> Result<(), Failure> {
    admission::mutate(attributes, body).await?;
    check_name(attributes, body)?;
    admission::validate(attributes, body).await?;
    Ok(())
}

fn check_name(attributes: &Attributes<'_>, body: &Value) -> Result<(), Failure> {
    if object::name(body) == attributes.name {
        return Ok(());
    }
    let kind = body["kind"].as_str().unwrap_or_default();
    Err(Failure::bad_request(format!("name in URL does not match name in {kind} object")))
}

/// What creating a binding or an eviction is answered with.
fn created(call: &Call<'_>) -> Answer {
    let status: Value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    response::value(StatusCode::CREATED, call.request.accept, &status)
}
