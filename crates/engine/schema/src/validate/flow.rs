//! Flow schemas and priority levels.

use serde_json::{Value, json};

use super::field::Findings;
use super::{is_empty, list, names, text};
use crate::kinds::Kind;

const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const MOST_QUEUES: i64 = 10_000_000;
/// A flow's queues are drawn from one number of so many bits.
const MOST_BITS: i64 = 60;

pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    let name = text(&object["metadata"]["name"]);
    match kind.kind.as_ref() {
        "FlowSchema" => schema(name, &object["spec"], findings),
        _ => level(name, &object["spec"], findings),
    }
}

fn schema(name: &str, spec: &Value, findings: &mut Findings) {
    if spec["matchingPrecedence"] == 1 && name != EXEMPT {
        let words = "only the schema named 'exempt' may have matchingPrecedence 1";
        findings.invalid("spec.matchingPrecedence", 1, words);
    }
    let method = &spec["distinguisherMethod"]["type"];
    if !method.is_null() && !["ByNamespace", "ByUser"].contains(&text(method)) {
        findings.not_supported("spec.distinguisherMethod.type", json!({"Type": method}), ["ByNamespace", "ByUser"]);
    }
    for (index, rule) in list(&spec["rules"]).iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        for (index, one) in list(&rule["subjects"]).iter().enumerate() {
            subject(one, &format!("{path}.subjects[{index}]"), findings);
        }
        if is_empty(&rule["resourceRules"]) && is_empty(&rule["nonResourceRules"]) {
            findings.required(&path, "at least one of resourceRules and nonResourceRules has to be non-empty");
        }
        for (index, rule) in list(&rule["resourceRules"]).iter().enumerate() {
            resource_rule(rule, &format!("{path}.resourceRules[{index}]"), findings);
        }
        for (index, rule) in list(&rule["nonResourceRules"]).iter().enumerate() {
            let path = format!("{path}.nonResourceRules[{index}]");
            verbs(&rule["verbs"], &path, findings);
            for (index, url) in list(&rule["nonResourceURLs"]).iter().map(text).enumerate() {
                url_path(url, &format!("{path}.nonResourceURLs[{index}]"), findings);
            }
        }
    }
}

fn subject(subject: &Value, path: &str, findings: &mut Findings) {
    for (kind, field) in [("User", "user"), ("Group", "group"), ("ServiceAccount", "serviceAccount")] {
        let at = format!("{path}.{field}");
        match (subject["kind"] == kind, subject[field].is_null()) {
            (true, true) => findings.required(&at, &format!("{field} is required when subject kind is '{kind}'")),
            (false, false) => {
                findings.forbidden(&at, format!("{field} is forbidden when subject kind is not '{kind}'"))
            }
            _ => {}
        }
    }
}

/// Whether a list has a wildcard; beside others it is a mistake.
fn has_wildcard(values: &Value, path: &str, what: &str, findings: &mut Findings) -> bool {
    let has = list(values).iter().any(|value| value == "*");
    if has && list(values).len() > 1 {
        findings.invalid(path, values.clone(), format!("if '*' is present, must not specify other {what}"));
    }
    has
}

fn verbs(verbs: &Value, path: &str, findings: &mut Findings) {
    let path = format!("{path}.verbs");
    let has_wildcard = has_wildcard(verbs, &path, "verbs", findings);
    if !has_wildcard && list(verbs).iter().any(|verb| !VERBS.contains(&text(verb))) {
        findings.not_supported(&path, verbs.clone(), VERBS);
    }
}

fn resource_rule(rule: &Value, path: &str, findings: &mut Findings) {
    verbs(&rule["verbs"], path, findings);
    has_wildcard(&rule["apiGroups"], &format!("{path}.apiGroups"), "api groups", findings);
    has_wildcard(&rule["resources"], &format!("{path}.resources"), "resources", findings);
    let (namespaces, path) = (&rule["namespaces"], format!("{path}.namespaces"));
    if is_empty(namespaces) && rule["clusterScope"] != true {
        let words = "resource rules that are not cluster scoped must supply at least one namespace";
        return findings.required(&path, words);
    }
    if has_wildcard(namespaces, &path, "namespaces", findings) {
        return;
    }
    for (index, namespace) in list(namespaces).iter().map(text).enumerate() {
        for problem in names::dns_1123_label(namespace) {
            let words = format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
            findings.invalid(&format!("{path}[{index}]"), namespace, words);
        }
    }
}

fn url_path(url: &str, path: &str, findings: &mut Findings) {
    let wrong = match url.strip_suffix("/*").unwrap_or(url) {
        _ if url == "*" => return,
        "" if url.is_empty() => "must not be empty",
        _ if !url.starts_with('/') => "must start with slash",
        _ if url.contains(' ') => "must not contain white-space",
        _ if url.contains("//") => "must not contain double slash",
        inner if inner.contains('*') => "wildcard can only do suffix matching",
        _ => return,
    };
    findings.invalid(path, url, wrong);
}

fn level(name: &str, spec: &Value, findings: &mut Findings) {
    let (is_exempt, limited) = (spec["type"] == "Exempt", &spec["limited"]);
    if is_exempt != (name == EXEMPT) {
        let words = "must be 'Exempt' if and only if `name` is 'exempt'";
        findings.invalid("spec.type", spec["type"].clone(), words);
    }
    if is_exempt && !limited.is_null() {
        findings.forbidden("spec.limited", "must be nil if the type is not Limited");
    }
    if spec["type"] != "Limited" {
        return;
    }
    if !spec["exempt"].is_null() {
        findings.forbidden("spec.exempt", "must be nil if the type is Limited");
    }
    if limited.is_null() {
        return findings.required("spec.limited", "must not be empty when type is Limited");
    }
    let (response, path) = (&limited["limitResponse"], "spec.limited.limitResponse.queuing");
    match (text(&response["type"]), response["queuing"].is_null()) {
        ("Reject", false) => findings.forbidden(path, "must be nil if limited.limitResponse.type is not Limited"),
        ("Queue", true) => findings.required(path, "must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", false) => queuing(&response["queuing"], path, findings),
        _ => {}
    }
}

fn queuing(queuing: &Value, path: &str, findings: &mut Findings) {
    let number = |field: &str| queuing[field].as_i64().unwrap_or(0);
    let at = |field: &str| format!("{path}.{field}");
    if number("queueLengthLimit") <= 0 {
        findings.invalid(&at("queueLengthLimit"), number("queueLengthLimit"), "must be positive");
    }
    let (queues, hand) = (number("queues"), number("handSize"));
    if queues <= 0 {
        findings.invalid(&at("queues"), queues, "must be positive");
    } else if queues > MOST_QUEUES {
        findings.invalid(&at("queues"), queues, format!("must not be greater than {MOST_QUEUES}"));
    }
    if hand <= 0 {
        findings.invalid(&at("handSize"), hand, "must be positive");
    } else if hand > queues {
        findings.invalid(&at("handSize"), hand, format!("should not be greater than queues ({queues})"));
    } else if ((queues as f64).log2() * hand as f64).ceil() as i64 > MOST_BITS {
        let words = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MOST_BITS}"
        );
        findings.invalid(&at("handSize"), hand, words);
    }
}
