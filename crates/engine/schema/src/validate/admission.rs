//! Webhooks, bindings of policies, and aggregated APIs: what is wrong with them whatever the server knows.

use serde_json::Value;

use super::field::Findings;
use super::{list, text};
use crate::kinds::Kind;

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    match kind.kind.as_ref() {
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => binding(&object["spec"], findings),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            for (index, hook) in list(&object["webhooks"]).iter().enumerate() {
                for (at, rule) in list(&hook["rules"]).iter().enumerate() {
                    resources(&rule["resources"], &format!("webhooks[{index}].rules[{at}].resources"), findings);
                }
            }
        }
        "APIService" => api_service(object, findings),
        _ => {}
    }
}

fn binding(spec: &Value, findings: &mut Findings) {
    let actions = &spec["validationActions"];
    let acts = |action: &str| list(actions).iter().any(|one| one == action);
    if acts("Deny") && acts("Warn") {
        let words = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        findings.invalid("spec.validationActions", actions.clone(), words);
    }
    let params = &spec["paramRef"];
    if !params.is_object() {
        return;
    }
    match (text(&params["name"]).is_empty(), params["selector"].is_null()) {
        (true, true) => findings.required("spec.paramRef", "one of name or selector must be specified"),
        (false, false) => {
            for field in ["name", "selector"] {
                findings.forbidden(&format!("spec.paramRef.{field}"), "name and selector are mutually exclusive");
            }
        }
        _ => {}
    }
}

fn resources(resources: &Value, path: &str, findings: &mut Findings) {
    let names = || list(resources).iter().map(text);
    if names().any(|name| name == "*") && names().any(|name| name != "*" && !name.contains('/')) {
        let words = "if '*' is present, must not specify other resources without subresources";
        findings.invalid(path, resources.clone(), words);
    }
}

fn api_service(object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    let name = text(&object["metadata"]["name"]);
    let wanted = format!("{}.{}", text(&spec["version"]), text(&spec["group"]));
    if name != wanted {
        let words = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        findings.invalid("metadata.name", name, words);
    }
    if spec["insecureSkipTLSVerify"] != true {
        return;
    }
    if !text(&spec["caBundle"]).is_empty() {
        findings.invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present");
    }
    if spec["service"].is_null() {
        findings.invalid("spec.insecureSkipTLSVerify", true, "local APIServices may not have insecureSkipTLSVerify");
    }
}
