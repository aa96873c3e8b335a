//! What a client is told when a request fails: Kubernetes' `Status`, with upstream's reasons and words,
//! because clients match on both.

use std::borrow::Cow;

use coracle_schema::validate::FieldError;
use serde_json::{Map, Value, json};

/// A refused or failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// Machine readable reason; empty where upstream leaves it out.
    pub reason: Cow<'static, str>,
    /// What a person reads.
    pub message: String,
    /// The object it is about.
    pub details: Option<Box<Details>>,
    /// Where a list may go on all the same, without being of one moment.
    pub continue_token: Option<String>,
    /// Whether the same request may succeed at once on what is there now.
    pub is_lost_race: bool,
}

/// The object a failure is about.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Object name.
    pub name: String,
    /// API group.
    pub group: String,
    /// Resource (plural), or the kind for validation failures, as upstream does.
    pub kind: String,
    /// Object uid.
    pub uid: String,
    /// One per wrong field.
    pub causes: Vec<Cause>,
    /// When to come back.
    pub retry_after_seconds: u32,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid` and its like.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// Path of the field; empty where it is not about one.
    pub field: String,
}

impl Cause {
    /// A field with a value that is not allowed.
    pub fn invalid(field: &str, value: impl std::fmt::Display, detail: &str) -> Self {
        Self {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {value}: {detail}"),
            field: field.into(),
        }
    }

    /// A field that must be there.
    pub fn required(field: &str, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired".into(), message, field: field.into() }
    }

    /// A field that may not be set this way.
    pub fn forbidden(field: &str, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden".into(), message: format!("Forbidden: {detail}"), field: field.into() }
    }

    /// A field whose value is none of those there are.
    pub fn unsupported(field: &str, value: &str, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", list.join(", "));
        Self { reason: "FieldValueNotSupported".into(), message, field: field.into() }
    }

    /// A value that is there already.
    pub fn duplicate(field: &str, value: &str) -> Self {
        let message = format!("Duplicate value: {value:?}");
        Self { reason: "FieldValueDuplicate".into(), message, field: field.into() }
    }

    /// More than there may be.
    pub fn too_many(field: &str, count: usize, most: usize) -> Self {
        let message = format!("Too many: {count}: must have at most {most} items");
        Self { reason: "FieldValueTooMany".into(), message, field: field.into() }
    }

    /// The field and what is wrong with it.
    pub fn sentence(&self) -> String {
        if self.field.is_empty() { self.message.clone() } else { format!("{}: {}", self.field, self.message) }
    }
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self { reason: error.reason().into(), message: error.message(), field: error.field.clone() }
    }
}

/// A group and one of its resources, for messages.
#[derive(Debug, Clone, Copy)]
pub struct GroupResource<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
}

impl std::fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

impl Failure {
    /// A failure with no object behind it.
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let reason = Cow::Borrowed(reason);
        Self { code, reason, message: message.into(), details: None, continue_token: None, is_lost_race: false }
    }

    fn about(code: u16, reason: &'static str, message: String, of: GroupResource<'_>, name: &str) -> Self {
        let details =
            Details { name: name.into(), group: of.group.into(), kind: of.resource.into(), ..Details::default() };
        Self { details: Some(Box::new(details)), ..Self::plain(code, reason, message) }
    }

    /// 404: no such object.
    pub fn not_found(of: GroupResource<'_>, name: &str) -> Self {
        Self::about(404, "NotFound", format!("{of} \"{name}\" not found"), of, name)
    }

    /// 404: no such resource under a group that is served.
    pub fn no_such_resource() -> Self {
        let mut failure = Self::plain(404, "NotFound", "the server could not find the requested resource");
        failure.details = Some(Box::default());
        failure
    }

    /// 409: there is one of that name.
    pub fn already_exists(of: GroupResource<'_>, name: &str) -> Self {
        Self::about(409, "AlreadyExists", format!("{of} \"{name}\" already exists"), of, name)
    }

    /// 409: the write cannot be carried out on what is there.
    pub fn conflict(of: GroupResource<'_>, name: &str, why: &str) -> Self {
        Self::about(409, "Conflict", format!("Operation cannot be fulfilled on {of} \"{name}\": {why}"), of, name)
    }

    /// 409: somebody else wrote first.
    pub fn modified(of: GroupResource<'_>, name: &str) -> Self {
        Self::conflict(
            of,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422: fields are wrong. `kind` is the object's kind, as upstream names it here.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let list = match causes.as_slice() {
            [one] => one.sentence(),
            many => format!("[{}]", many.iter().map(Cause::sentence).collect::<Vec<_>>().join(", ")),
        };
        let details =
            Details { name: name.into(), group: group.into(), kind: kind.into(), causes, ..Details::default() };
        Self {
            code: 422,
            reason: "Invalid".into(),
            message: format!("{qualified} \"{name}\" is invalid: {list}"),
            details: Some(Box::new(details)),
            continue_token: None,
            is_lost_race: false,
        }
    }

    /// 403: an admission step or the authorizer says no. `why` is the full clause after the colon.
    pub fn forbidden(of: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = match (of.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{of} is forbidden: {why}"),
            (false, false) => format!("{of} \"{name}\" is forbidden: {why}"),
        };
        Self::about(403, "Forbidden", message, of, name)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 405.
    pub fn method_not_supported(of: GroupResource<'_>, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{of}\"");
        Self::about(405, "MethodNotAllowed", message, of, "")
    }

    /// 405 for a path that knows no such HTTP method.
    pub fn method_not_allowed() -> Self {
        let mut failure =
            Self::plain(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        failure.details = Some(Box::default());
        failure
    }

    /// 406.
    pub fn not_acceptable(with_protobuf: bool) -> Self {
        let more = if with_protobuf { ", application/vnd.kubernetes.protobuf" } else { "" };
        let text = format!("only the following media types are accepted: application/json, application/yaml{more}");
        Self::plain(406, "NotAcceptable", text)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::plain(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 410: the revision asked for is no longer in the history.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 413.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::plain(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit_bytes}"))
    }

    /// 408: the body did not come in time.
    pub fn slow_body() -> Self {
        Self::plain(408, "Timeout", "the request body did not arrive in time")
    }

    /// 429, with when to come back.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut failure = Self::plain(429, "TooManyRequests", message);
        failure.details = Some(Box::new(Details { retry_after_seconds, ..Details::default() }));
        failure
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 500.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {cause}");
        let mut failure = Self::plain(500, "InternalError", message);
        let cause = Cause { reason: String::new(), message: cause.to_string(), field: String::new() };
        failure.details = Some(Box::new(Details { causes: vec![cause], ..Details::default() }));
        failure
    }

    /// Adds causes to the details.
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    /// The `Status` document.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = json!(token);
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            out.insert("retryAfterSeconds".into(), json!(self.retry_after_seconds));
        }
        Value::Object(out)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(failure: &Failure, expected: Expect) {
        expected.assert_eq(&failure.to_value().to_string());
    }

    const DEPLOYMENTS: GroupResource<'_> = GroupResource { group: "apps", resource: "deployments" };

    #[test]
    fn words_are_upstreams() {
        check(
            &Failure::not_found(DEPLOYMENTS, "x"),
            expect![[
                r#"{"apiVersion":"v1","code":404,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"deployments.apps \"x\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#
            ]],
        );
        check(
            &Failure::modified(DEPLOYMENTS, "x"),
            expect![[
                r#"{"apiVersion":"v1","code":409,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please apply your changes to the latest version and try again","metadata":{},"reason":"Conflict","status":"Failure"}"#
            ]],
        );
        check(
            &Failure::invalid(
                "apps",
                "Deployment",
                "x",
                vec![Cause::required("spec.selector", ""), Cause::forbidden("spec.a", "no")],
            ),
            expect![[
                r#"{"apiVersion":"v1","code":422,"details":{"causes":[{"field":"spec.selector","message":"Required value","reason":"FieldValueRequired"},{"field":"spec.a","message":"Forbidden: no","reason":"FieldValueForbidden"}],"group":"apps","kind":"Deployment","name":"x"},"kind":"Status","message":"Deployment.apps \"x\" is invalid: [spec.selector: Required value, spec.a: Forbidden: no]","metadata":{},"reason":"Invalid","status":"Failure"}"#
            ]],
        );
    }
}
