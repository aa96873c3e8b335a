//! What a webhook is asked, and what it answers.

use coracle_schema::{Kind, patch};
use serde_json::{Value, json};

use super::{hooks::Hook, rules::operation};
use crate::{
    admission::{Attributes, Operation},
    names,
    registry::Resource,
    review::user_info,
    status::{Cause, Details, Failure},
};

/// Why a webhook gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[error("failed calling webhook {name:?}: {why}")]
pub struct CallError {
    /// The webhook.
    pub name: String,
    /// What went wrong.
    pub why: String,
}

/// What a webhook says of a request it allows or refuses.
pub struct Verdict {
    /// Why the request is refused.
    pub refusal: Option<Failure>,
    /// For the client.
    pub warnings: Vec<String>,
    /// For auditors.
    pub notes: Vec<(String, String)>,
    /// The patch's operations.
    patch: Option<Value>,
}

/// A request as a webhook sees it: in the version its rules name.
pub struct Question<'a> {
    /// The request.
    pub request: &'a Attributes<'a>,
    /// The version.
    pub seen_as: &'a Resource,
    /// The object as it will be; null for deletions.
    pub object: Value,
    /// The object as it was; null for what is new.
    pub old: Value,
}

impl Question<'_> {
    /// Asks a webhook.
    pub async fn ask(&self, hook: &Hook) -> Result<Verdict, CallError> {
        let failed = |why: String| CallError { name: hook.name.clone(), why };
        let version = hook
            .review_version
            .ok_or_else(|| failed("webhook does not accept known AdmissionReview versions (v1, v1beta1)".into()))?;
        let api_version = format!("admission.k8s.io/{version}");
        let uid = names::uid();
        let review =
            json!({"kind": "AdmissionReview", "apiVersion": api_version, "request": self.document(&uid)}).to_string();
        let remote = hook.remote.as_ref().map_err(|why| failed(why.clone()))?;
        let answer = remote.post(review.into_bytes(), hook.timeout).await;
        let answer = answer.map_err(|error| failed(format!("failed to call webhook: {error}")))?;
        verdict(&hook.name, &answer, &api_version, &uid).map_err(failed)
    }

    fn document(&self, uid: &str) -> Value {
        let mut document = describe(self.request, self.seen_as);
        document["uid"] = json!(uid);
        document["object"] = self.object.clone();
        document["oldObject"] = self.old.clone();
        document
    }
}

/// What is asked, without the objects.
pub(in crate::admission) fn describe(request: &Attributes<'_>, seen_as: &Resource) -> Value {
    let (seen, own) = (&*seen_as.kind, &*request.resource.kind);
    let resource = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let mut document = json!({
        "kind": body_kind(seen, request.subresource), "resource": resource(seen),
        "requestKind": body_kind(own, request.subresource), "requestResource": resource(own),
        "operation": operation(request.operation), "userInfo": user_info(request.user),
        "dryRun": request.dry_run, "options": options(request),
    });
    for (field, text) in [
        ("name", request.name),
        ("namespace", request.namespace),
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
    ] {
        if !text.is_empty() {
            document[field] = json!(text);
        }
    }
    document
}

/// The kind of the bodies at a path.
fn body_kind(kind: &Kind, subresource: &str) -> Value {
    let own = (&*kind.group, &*kind.version, &*kind.kind);
    let (group, version, kind) = kind.subresource(subresource).and_then(|part| part.body).unwrap_or(own);
    json!({"group": group, "version": version, "kind": kind})
}

fn options(request: &Attributes<'_>) -> Value {
    let query = &request.request.query;
    // A patch is an update, or a creation, to those who are asked.
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    for field in ["fieldManager", "fieldValidation"] {
        if let Some(text) = query.get(field) {
            options[field] = json!(text);
        }
    }
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options
}

/// Reads an answer; the error says why it is none.
fn verdict(name: &str, review: &Value, api_version: &str, uid: &str) -> Result<Verdict, String> {
    let (kind, version) =
        (review["kind"].as_str().unwrap_or_default(), review["apiVersion"].as_str().unwrap_or_default());
    let lenient = api_version.ends_with("v1beta1") && kind.is_empty() && version.is_empty();
    if !lenient && (kind != "AdmissionReview" || version != api_version) {
        return Err(format!(
            "received invalid webhook response: expected webhook response of {api_version}, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    if !lenient && api_version.ends_with("/v1") && response["uid"] != uid {
        let given = response["uid"].as_str().unwrap_or_default();
        return Err(format!("received invalid webhook response: expected response.uid={uid:?}, got {given:?}"));
    }
    let texts = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let notes = response["auditAnnotations"].as_object().into_iter().flatten();
    let allowed = response["allowed"] == json!(true);
    Ok(Verdict {
        refusal: (!allowed).then(|| refusal(name, &response["status"])),
        warnings: texts.map(str::to_owned).collect(),
        notes: notes.filter_map(|(key, text)| Some((format!("{name}/{key}"), text.as_str()?.to_owned()))).collect(),
        patch: patch_of(response)?,
    })
}

fn patch_of(response: &Value) -> Result<Option<Value>, String> {
    let Some(encoded) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else { return Ok(None) };
    if response["patchType"] != "JSONPatch" {
        let given = &response["patchType"];
        return Err(format!(
            "received invalid webhook response: unsupported patchType: {given}, expected \"JSONPatch\""
        ));
    }
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded);
    let bytes = bytes.map_err(|_| "received invalid webhook response: the patch is not base64".to_owned())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("received invalid patch: {error}"))
}

/// A refusal in the webhook's own words, after upstream's.
fn refusal(name: &str, status: &Value) -> Failure {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        (Some(why), _) | (None, Some(why)) => format!("{denied}: {why}"),
        (None, None) => format!("{denied} without explanation"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    let mut failure = Failure::plain(code.unwrap_or(400), "", message);
    failure.reason = text("reason").unwrap_or_default().to_owned().into();
    failure.details = status["details"].is_object().then(|| Box::new(details(&status["details"])));
    failure
}

fn details(given: &Value) -> Details {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let cause = |given: &Value| Cause {
        reason: text(given, "reason"),
        message: text(given, "message"),
        field: text(given, "field"),
    };
    Details {
        name: text(given, "name"),
        group: text(given, "group"),
        kind: text(given, "kind"),
        uid: text(given, "uid"),
        causes: given["causes"].as_array().into_iter().flatten().map(cause).collect(),
        retry_after_seconds: given["retryAfterSeconds"].as_u64().and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
    }
}

impl Verdict {
    /// The object with the patch applied.
    pub fn apply(&self, object: &Value) -> Result<Option<Value>, Failure> {
        let Some(operations) = &self.patch else { return Ok(None) };
        let patched = patch::json(object, operations).map_err(Failure::internal)?;
        Ok((patched != *object).then_some(patched))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(api_version: &str, review: Value, expected: Expect) {
        let shown = match verdict("h.example.com", &review, api_version, "u") {
            Ok(verdict) => match verdict.refusal {
                Some(failure) => format!("{} {} {}", failure.code, failure.reason, failure.message),
                None => format!("allowed, {:?}, patch {:?}", verdict.warnings, verdict.patch.map(|p| p.to_string())),
            },
            Err(why) => format!("error: {why}"),
        };
        expected.assert_eq(&shown);
    }

    const V1: &str = "admission.k8s.io/v1";

    fn answer(response: Value) -> Value {
        json!({"kind": "AdmissionReview", "apiVersion": V1, "response": response})
    }

    #[test]
    fn answers_are_worded_as_upstream_does() {
        check(
            V1,
            answer(json!({"uid": "u", "allowed": true, "warnings": ["w"]})),
            expect![[r#"allowed, ["w"], patch None"#]],
        );
        check(
            V1,
            answer(json!({"uid": "u", "allowed": false, "status": {"message": "no", "code": 418, "reason": "Tea"}})),
            expect![[r#"418 Tea admission webhook "h.example.com" denied the request: no"#]],
        );
        check(
            V1,
            answer(json!({"uid": "u", "allowed": false})),
            expect![[r#"400  admission webhook "h.example.com" denied the request without explanation"#]],
        );
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        check(
            V1,
            answer(json!({"uid": "x", "allowed": true})),
            expect![[r#"error: received invalid webhook response: expected response.uid="u", got "x""#]],
        );
        check(V1, json!({"kind": "AdmissionReview", "apiVersion": V1}), expect!["error: webhook response was absent"]);
        check("admission.k8s.io/v1beta1", json!({"response": {"allowed": true}}), expect!["allowed, [], patch None"]);
    }
}
