//! Certificate requests: who made one is the server's to say; who approves or signs must be allowed to for its signer;
//! and decisions stand.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{
    authz::{self, Decision},
    object,
    status::{Cause, Failure},
};

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";
const FIELDS: [&str; 4] = ["username", "uid", "groups", "extra"];

/// See the module.
#[derive(Debug)]
pub struct SigningRequest;

impl Admission for SigningRequest {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let user = request.user;
        if request.is(Operation::Create, GROUP, PLURAL) {
            let Some(spec) = object["spec"].as_object_mut() else { return Ok(()) };
            FIELDS.iter().for_each(|field| {
                spec.remove(*field);
            });
            spec.insert("username".into(), json!(user.name));
            spec.insert("groups".into(), json!(user.groups));
            if !user.uid.is_empty() {
                spec.insert("uid".into(), json!(user.uid));
            }
            if !user.extra.is_empty() {
                spec.insert("extra".into(), json!(user.extra));
            }
        }
        if let (true, Some(old)) = (is_about(request, Operation::Update), request.old) {
            // What was asked for stays as it was asked.
            object["spec"] = old["spec"].clone();
            stamp(object, old, &object::time(request.server.clock.now()));
        }
        Ok(())
    }

    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        if request.is(Operation::Create, GROUP, PLURAL) {
            return restrict_subject(request, object);
        }
        let (true, Some(old)) = (is_about(request, Operation::Update), request.old) else { return Ok(()) };
        let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
        let signs = request.subresource == "status" && old["status"] != object["status"];
        if request.subresource == "approval" && !may(request, "approve", signer) {
            return Err(
                request.forbidden(&format!("user not permitted to approve requests with signerName {signer:?}"))
            );
        }
        if signs && !may(request, "sign", signer) {
            return Err(request.forbidden(&format!("user not permitted to sign requests with signerName {signer:?}")));
        }
        let causes = wrong_conditions(request.subresource, object, old);
        if causes.is_empty() {
            return Ok(());
        }
        Err(Failure::invalid(GROUP, "CertificateSigningRequest", request.name, causes))
    }
}

fn is_about(request: &Attributes<'_>, operation: Operation) -> bool {
    let kind = &request.resource.kind;
    request.operation == operation && kind.group == GROUP && kind.plural == PLURAL
}

/// Nobody gets to be a master by asking for a certificate.
fn restrict_subject(request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
    const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
    if object["spec"]["signerName"] != SIGNER {
        return Ok(());
    }
    let text = object["spec"]["request"].as_str().unwrap_or_default();
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap_or_default();
    let asked = coracle_certs::SigningRequest::from_pem(&pem);
    if asked.is_ok_and(|asked| asked.organizations.iter().any(|one| one == crate::authn::MASTERS)) {
        return Err(request.forbidden(&format!("use of {SIGNER} signer with system:masters group is not allowed")));
    }
    Ok(())
}

/// Whether somebody may do something for a signer, or for all signers of its domain.
fn may(request: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        let asked = authz::Attributes {
            user: request.user,
            verb,
            api_group: GROUP,
            api_version: "*",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
            path: "",
            resource_request: true,
            selectors: authz::Selectors::default(),
        };
        matches!(request.server.authorizer.authorize(&asked), Decision::Allow { .. })
    })
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

/// Says when conditions came and changed, where the client does not.
fn stamp(object: &mut Value, old: &Value, now: &str) {
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        let before = conditions(old).find(|before| before["type"] == condition["type"]);
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = json!(now);
        }
        if condition["lastTransitionTime"].is_null() {
            let same = before.filter(|before| before["status"] == condition["status"]);
            condition["lastTransitionTime"] =
                same.map(|same| same["lastTransitionTime"].clone()).filter(Value::is_string).unwrap_or(json!(now));
        }
    }
}

/// What is wrong with conditions, alone and against those before.
fn wrong_conditions(subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (at, condition) in conditions(object).enumerate() {
        let kind = condition["type"].as_str().unwrap_or_default();
        let field = format!("status.conditions[{at}]");
        let must_be_true = matches!(kind, "Approved" | "Denied" | "Failed");
        if must_be_true && condition["status"] != "True" {
            let message = format!("Unsupported value: {}: supported values: \"True\"", condition["status"]);
            causes.push(Cause { reason: "FieldValueNotSupported".into(), message, field: format!("{field}.status") });
        }
        if seen.contains(&kind) {
            let message = format!("Duplicate value: {kind:?}");
            causes.push(Cause { reason: "FieldValueDuplicate".into(), message, field: format!("{field}.type") });
        }
        seen.push(kind);
    }
    if seen.contains(&"Approved") && seen.contains(&"Denied") {
        let detail = "Approved and Denied conditions are mutually exclusive";
        causes.push(Cause::invalid("status.conditions", "\"Denied\"", detail));
    }
    for kind in ["Approved", "Denied", "Failed"] {
        let find = |object: &'_ Value| conditions(object).find(|condition| condition["type"] == kind).cloned();
        match (find(old), find(object)) {
            (Some(_), None) => causes.push(Cause::forbidden(
                "status.conditions",
                &format!("updates may not remove a condition of type {kind:?}"),
            )),
            (None, Some(_)) if subresource != "approval" && kind != "Failed" => causes.push(Cause::forbidden(
                "status.conditions",
                &format!("updates may not add a condition of type {kind:?}"),
            )),
            _ => {}
        }
    }
    let before = old["status"]["certificate"].as_str().unwrap_or_default();
    if !before.is_empty() && object["status"]["certificate"] != before {
        causes.push(Cause::forbidden("status.certificate", "updates may not modify existing certificate content"));
    }
    causes
}
