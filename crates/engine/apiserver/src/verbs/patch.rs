//! PATCH, in its four kinds: JSON patch, merge patch, strategic merge patch, and server-side apply.

use coracle_schema::{apply, fields, patch as merging};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Call,
    create::create_object,
    incoming,
    modify::{Proposal, modify},
};
use crate::{
    object,
    request::{
        Request, payload,
        query::{FieldValidation, WriteOptions},
    },
    response::Answer,
    status::{Cause, Failure},
};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const APPLY_JSON: &str = "application/apply-patch+json";

/// Whether a request is a server-side apply.
pub fn is_apply(request: &Request) -> bool {
    matches!(payload::media_type(&request.headers), APPLY | APPLY_JSON)
}

/// Changes the object the path names.
pub async fn patch(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = WriteOptions::parse(&call.request.query)?;
    if call.request.body.is_empty() {
        return Err(Failure::bad_request("the body of the request was empty"));
    }
    if is_apply(call.request) {
        return apply_patch(call, &options).await;
    }
    if options.force {
        return Err(patch_option("force: Forbidden: may not be specified for non-apply patch"));
    }
    let patch = Patch::parse(call)?;
    let written = modify(call, &options, |live| {
        let mut value = patch.apply(call, live)?;
        let kind = &call.resource.kind;
        let unknown = fields::unknown(kind, &value);
        let problems = patch.duplicates.iter().cloned().chain(unknown).collect();
        incoming::check_fields(call.request, kind, &mut value, problems, options.field_validation)?;
        Ok(Proposal { value, managed: false })
    })
    .await?;
    call.show(StatusCode::OK, written.bytes(call).await?)
}

fn patch_option(what: &str) -> Failure {
    Failure::plain(422, "Invalid", format!("PatchOptions.meta.k8s.io \"\" is invalid: {what}"))
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Json,
    Merge,
    Strategic,
}

/// A patch that needs no knowledge of owners.
pub struct Patch {
    kind: Kind,
    document: Value,
    duplicates: Vec<String>,
}

impl Patch {
    /// Reads the patch in the body.
    pub fn parse(call: &Call<'_>) -> Result<Self, Failure> {
        let custom = !call.resource.kind.is_builtin();
        let kind = match payload::media_type(&call.request.headers) {
            JSON => Kind::Json,
            MERGE => Kind::Merge,
            STRATEGIC if !custom => Kind::Strategic,
            _ if custom => return Err(Failure::unsupported_media_type(&[JSON, MERGE, APPLY].join(", "))),
            _ => return Err(Failure::unsupported_media_type(&[JSON, MERGE, STRATEGIC, APPLY].join(", "))),
        };
        let decoded = coracle_schema::decode::json(&call.request.body, None)
            .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
        let document = decoded.value;
        Ok(Self { kind, document, duplicates: decoded.strict })
    }

    fn apply(&self, call: &Call<'_>, live: &Value) -> Result<Value, Failure> {
        self.apply_to(call, live, self.kind)
    }

    /// Patches a body that has no lists, such as a scale: there a strategic merge is a merge.
    pub fn apply_as_merge(&self, call: &Call<'_>, live: &Value) -> Result<Value, Failure> {
        let kind = if matches!(self.kind, Kind::Strategic) { Kind::Merge } else { self.kind };
        self.apply_to(call, live, kind)
    }

    fn apply_to(&self, call: &Call<'_>, live: &Value, kind: Kind) -> Result<Value, Failure> {
        let invalid = |why: String| {
            let name = &call.request.info.name;
            let of = call.resource.group_resource();
            Failure::plain(
                422,
                "Invalid",
                format!("{of} {name:?} is invalid: patch: Invalid value: {:?}: {why}", self.document.to_string()),
            )
        };
        let patched = match kind {
            Kind::Json => merging::json(live, &self.document).map_err(|error| match error {
                merging::PatchError::Malformed(why) => Failure::bad_request(why),
                error @ merging::PatchError::TooLarge { .. } => {
                    Failure::plain(413, "RequestEntityTooLarge", error.to_string())
                }
                other => Failure::plain(
                    422,
                    "Invalid",
                    format!("the server rejected our request due to an error in our request: {other}"),
                ),
            })?,
            Kind::Merge => merging::merge(live, &self.document),
            Kind::Strategic => merging::strategic(call.resource.kind.schema.root(), live, &self.document)
                .map_err(|error| Failure::bad_request(error.to_string()))?,
        };
        if !patched.is_object() {
            return Err(invalid("the patched document is no object".to_owned()));
        }
        Ok(patched)
    }
}

async fn apply_patch(call: &Call<'_>, options: &WriteOptions) -> Result<Answer, Failure> {
    if options.field_manager.is_empty() {
        return Err(patch_option("fieldManager: Required value: is required for apply patch"));
    }
    let kind = &*call.resource.kind;
    let decoded = coracle_schema::decode::yaml(&call.request.body, Some(kind.schema.root()))
        .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?;
    let mut config = decoded.value;
    for field in ["apiVersion", "kind"] {
        if config[field].as_str().unwrap_or_default().is_empty() {
            return Err(Failure::bad_request(format!("invalid object type: Object 'Kind' is missing in '{config}'")));
        }
    }
    if config["apiVersion"] != call.resource.api_version.as_str() || config["kind"] != kind.kind.as_ref() {
        return Err(Failure::bad_request(format!(
            "incorrect kind or version in patch: expected {} {}, got {} {}",
            call.resource.api_version, kind.kind, config["apiVersion"], config["kind"]
        )));
    }
    if config["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    if options.field_validation == FieldValidation::Strict {
        check_declared(call, &decoded.strict)?;
    }
    incoming::check_fields(call.request, kind, &mut config, decoded.strict, options.field_validation)?;
    let name = &call.request.info.name;
    if object::name(&config).is_empty() {
        object::set_meta(&mut config, "name", Some(json!(name)));
    }
    incoming::fill_namespace(call, &mut config)?;
    loop {
        let missing = call.record().is_err();
        if missing && call.request.info.subresource.is_empty() {
            if !object::meta_text(&config, "uid").is_empty()
                || !object::meta_text(&config, "resourceVersion").is_empty()
            {
                return Err(Failure::conflict(
                    call.resource.group_resource(),
                    name,
                    "uid mismatch: the provided object specified uid or resourceVersion, and no existing object was found",
                ));
            }
            let value = merge(call, options, None, config.clone())?;
            match create_object(call, value, options).await {
                // Somebody else made it in between: apply onto that.
                Err(failure) if failure.reason == "AlreadyExists" && !options.dry_run => continue,
                outcome => return call.show(StatusCode::CREATED, outcome?.bytes(call).await?),
            }
        }
        let written = modify(call, options, |live| {
            let value = merge(call, options, Some(live), config.clone())?;
            Ok(Proposal { value, managed: true })
        })
        .await?;
        return call.show(StatusCode::OK, written.bytes(call).await?);
    }
}

/// Refuses unknown fields as upstream does where it owns fields one by one; duplicates are refused before that.
fn check_declared(call: &Call<'_>, problems: &[String]) -> Result<(), Failure> {
    let unknown = |problem: &String| {
        let path = problem.strip_prefix("unknown field \"")?.strip_suffix('"')?;
        Some(format!(".{path}: field not declared in schema"))
    };
    let unknown: Option<Vec<String>> = problems.iter().map(unknown).collect();
    let list = match unknown.as_deref() {
        None | Some([]) => return Ok(()),
        Some([one]) => one.clone(),
        Some(many) => format!("errors:\n  {}", many.join("\n  ")),
    };
    let info = &call.request.info;
    let of =
        format!("{}/{}; {}, Kind={}", info.namespace, info.name, call.resource.api_version, call.resource.kind.kind);
    Err(Failure::plain(500, "", format!("failed to create typed patch object ({of}): {list}")))
}

fn merge(call: &Call<'_>, options: &WriteOptions, live: Option<&Value>, config: Value) -> Result<Value, Failure> {
    let now = object::time(call.server.clock.now());
    let request = apply::Request {
        kind: &call.resource.kind,
        live,
        manager: &options.field_manager,
        subresource: &call.request.info.subresource,
        now: &now,
        force: options.force,
    };
    apply::apply(&request, config).map_err(|error| match error {
        apply::ApplyError::Conflicts(conflicts) => {
            let message = apply::ApplyError::Conflicts(conflicts.clone()).to_string();
            let cause = |conflict: apply::Conflict| Cause {
                reason: "FieldManagerConflict".into(),
                message: conflict.message,
                field: conflict.field,
            };
            let causes = conflicts.into_iter().map(cause).collect();
            Failure::plain(409, "Conflict", message).with_causes(causes)
        }
        apply::ApplyError::BadRequest(why) => Failure::bad_request(why),
        apply::ApplyError::Typed(why) => Failure::plain(500, "", why),
    })
}
