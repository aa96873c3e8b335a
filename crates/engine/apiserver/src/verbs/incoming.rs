//! Objects on their way in: decoded, checked against their type, cleaned of what the client may not say.

use bytes::Bytes;
use coracle_schema::{
    Kind, Schema, Type,
    decode::{self, Decoded},
    fields, protobuf,
};
use serde_json::Value;

use super::Call;
use crate::{
    request::{Request, accept::PROTOBUF, payload, query::FieldValidation},
    status::Failure,
};

/// Decodes a body that should be an object of `kind`.
pub fn object(request: &Request, kind: &Kind, body: &Bytes, validation: FieldValidation) -> Result<Value, Failure> {
    if body.is_empty() {
        return Err(Failure::bad_request("the body of the request was empty"));
    }
    let decoded = decode_body(request, kind.is_builtin(), body, Some(kind.schema.root()))
        .map_err(|problem| problem.unwrap_or_else(|error| cannot_be_handled(kind, &error)))?;
    let mut value = decoded.value;
    if !value.is_object() {
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {})",
            kind.kind
        )));
    }
    fill_type(kind, &mut value)?;
    check_fields(request, kind, &mut value, decoded.strict, validation)?;
    Ok(value)
}

/// Decodes the body in the format its type names. An inner text is what is wrong with the body itself.
fn decode_body(
    request: &Request,
    with_protobuf: bool,
    body: &Bytes,
    root: Option<Type<'_>>,
) -> Result<Decoded, Result<Failure, String>> {
    let text = |error: &dyn std::fmt::Display| Err(error.to_string());
    match (payload::media_type(&request.headers), root) {
        ("application/yaml" | "text/yaml", root) => decode::yaml(body, root).map_err(|error| text(&error)),
        ("application/json" | "*/*", root) => decode::json(body, root).map_err(|error| text(&error)),
        (PROTOBUF, Some(root)) if with_protobuf => protobuf::object(body, root)
            .map(|value| Decoded { value, strict: Vec::new() })
            .map_err(|error| text(&error)),
        _ => {
            let with = if with_protobuf { ", application/vnd.kubernetes.protobuf" } else { "" };
            Err(Ok(Failure::unsupported_media_type(&format!("application/json, application/yaml{with}"))))
        }
    }
}

/// The body of a request whose bodies are no objects of the resource itself, such as a scale or the options of a deletion.
/// `definition` is the type's OpenAPI name.
pub fn document(request: &Request, definition: &str) -> Result<Value, Failure> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let schema = Schema::builtin(definition);
    let decoded = decode_body(request, true, &request.body, schema.as_ref().map(Schema::root));
    let decoded = decoded.map_err(|problem| {
        problem.unwrap_or_else(|error| Failure::bad_request(format!("the object provided is unrecognized: {error}")))
    })?;
    Ok(decoded.value)
}

/// Refuses what is nested too deeply and values of the wrong type; drops unknown and duplicate fields, or refuses them, or
/// says so.
pub fn check_fields(
    request: &Request,
    kind: &Kind,
    value: &mut Value,
    problems: Vec<String>,
    validation: FieldValidation,
) -> Result<(), Failure> {
    if fields::is_too_deep(value) {
        return Err(cannot_be_handled(kind, &format!("it is nested more than {} levels deep", fields::DEEPEST)));
    }
    if let Some(error) = fields::type_error(kind, value) {
        return Err(cannot_be_handled(kind, &error));
    }
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => problems.into_iter().for_each(|problem| request.warn(problem)),
        FieldValidation::Strict if problems.is_empty() => {}
        FieldValidation::Strict => return Err(Failure::bad_request(fields::strict_message(kind, &problems))),
    }
    fields::prune(kind, value);
    Ok(())
}

fn cannot_be_handled(kind: &Kind, why: &str) -> Failure {
    Failure::bad_request(format!("{0} in version {1:?} cannot be handled as a {0}: {why}", kind.kind, kind.version))
}

/// Fills in `apiVersion` and `kind` where the client left them out, and refuses others than the path's.
fn fill_type(kind: &Kind, value: &mut Value) -> Result<(), Failure> {
    let api_version = kind.api_version();
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (given_version, given_kind) = (text("apiVersion"), text("kind"));
    if !given_kind.is_empty() && given_kind != kind.kind {
        return Err(Failure::bad_request(format!(
            "{given_kind} in version {:?} cannot be handled as a {}: no kind {:?} is registered for version {:?} at this path",
            given_version.rsplit('/').next().unwrap_or_default(),
            kind.kind,
            given_kind,
            given_version
        )));
    }
    if !given_version.is_empty() && given_version != api_version {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )));
    }
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.kind.as_ref().into();
    Ok(())
}

/// Puts the path's namespace into the object, and refuses another one.
pub fn fill_namespace(call: &Call<'_>, value: &mut Value) -> Result<(), Failure> {
    let given = crate::object::namespace(value);
    let namespace = call.request.info.namespace.as_str();
    if !call.resource.kind.namespaced {
        crate::object::set_meta(value, "namespace", None);
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(Failure::bad_request("an empty namespace may not be set during creation"));
    }
    if !given.is_empty() && given != namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    crate::object::set_meta(value, "namespace", Some(namespace.into()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Schema;

    #[test]
    fn all_bodies_have_a_type() {
        for definition in [
            "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
            "io.k8s.api.autoscaling.v1.Scale",
            "io.k8s.api.core.v1.Binding",
            "io.k8s.api.policy.v1.Eviction",
            "io.k8s.api.authentication.v1.TokenRequest",
        ] {
            assert!(Schema::builtin(definition).is_some(), "{definition}");
        }
    }
}
