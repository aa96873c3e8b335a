//! Questions in the shape of objects: who am I, may I, may they, is this token good. They are answered, never stored.

mod access;
mod token;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    authn::User,
    request::{accept::Shape, query::FieldValidation},
    response::Answer,
    status::Failure,
    verbs::{Call, incoming},
};

/// Answers a review; `None` where the resource is none.
pub async fn answer(call: &Call<'_>) -> Result<Option<Answer>, Failure> {
    let kind = &call.resource.kind;
    let judge: fn(&Call<'_>, &mut Value) -> Result<(), Failure> = match (&*kind.group, &*kind.plural) {
        // Whoever knows tokens may have to be waited for.
        ("authentication.k8s.io", "tokenreviews") => |_, _| Ok(()),
        ("authentication.k8s.io", "selfsubjectreviews") => self_subject,
        ("authorization.k8s.io", "subjectaccessreviews") => access::subject,
        ("authorization.k8s.io", "localsubjectaccessreviews") => access::local_subject,
        ("authorization.k8s.io", "selfsubjectaccessreviews") => access::self_subject,
        ("authorization.k8s.io", "selfsubjectrulesreviews") => access::self_rules,
        _ => return Ok(None),
    };
    if call.request.info.verb != "create" {
        return Err(Failure::method_not_supported(call.resource.group_resource(), &call.request.info.verb));
    }
    // There is nothing to put into a row, nor metadata to show alone.
    if call.request.accept.shape != Shape::Whole {
        return Err(Failure::not_acceptable(true));
    }
    let mut review = incoming::object(call.request, kind, &call.request.body, FieldValidation::Ignore)?;
    judge(call, &mut review)?;
    if kind.plural == "tokenreviews" {
        token::review(call, &mut review).await?;
    }
    if !review["metadata"].is_object() {
        review["metadata"] = json!({"creationTimestamp": null});
    }
    call.show(StatusCode::CREATED, crate::object::encode_plain(&review).into()).map(Some)
}

fn self_subject(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    review["status"] = json!({"userInfo": user_info(&call.request.user)});
    Ok(())
}

/// A user as reviews show it.
pub fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
