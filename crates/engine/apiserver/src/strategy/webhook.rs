//! Webhook configurations: what could never be asked, or never be matched, is refused when it is written.

use http::Uri;
use serde_json::Value;

use super::Strategy;
use crate::{admission::policy::conditions, status::Cause};

const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const TIMEOUT_SECONDS: std::ops::RangeInclusive<i64> = 1..=30;

/// See the module.
#[derive(Debug)]
pub struct WebhookStrategy;

impl Strategy for WebhookStrategy {
    fn validate_create(&self, object: &Value) -> Vec<Cause> {
        problems(&object["webhooks"])
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        if new["webhooks"] == old["webhooks"] { Vec::new() } else { problems(&new["webhooks"]) }
    }

    fn needs_version(&self) -> bool {
        true
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).filter_map(Value::as_str).collect()
}

fn problems(webhooks: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, webhook) in list(webhooks).enumerate() {
        let at = format!("webhooks[{index}]");
        let name = webhook["name"].as_str().unwrap_or_default();
        let segments = name.split('.').collect::<Vec<_>>();
        if segments.len() < 3 || segments.contains(&"") {
            let detail = "should be a domain with at least three segments separated by dots";
            causes.push(Cause::invalid(&format!("{at}.name"), format!("{name:?}"), detail));
        }
        if names.contains(&name) {
            causes.push(Cause::duplicate(&format!("{at}.name"), name));
        }
        names.push(name);
        choices(&at, webhook, &mut causes);
        for (index, rule) in list(&webhook["rules"]).enumerate() {
            self::rule(&format!("{at}.rules[{index}]"), rule, &mut causes);
        }
        client(&format!("{at}.clientConfig"), &webhook["clientConfig"], &mut causes);
        causes.extend(conditions::problems(&format!("{at}.matchConditions"), &webhook["matchConditions"], false));
    }
    causes
}

fn choices(at: &str, webhook: &Value, causes: &mut Vec<Cause>) {
    let known: [(&str, &[&str]); 4] = [
        ("failurePolicy", &["Fail", "Ignore"]),
        ("matchPolicy", &["Equivalent", "Exact"]),
        ("sideEffects", &["None", "NoneOnDryRun"]),
        ("reinvocationPolicy", &["IfNeeded", "Never"]),
    ];
    for (field, supported) in known {
        if let Some(chosen) = webhook[field].as_str().filter(|chosen| !supported.contains(chosen)) {
            causes.push(Cause::unsupported(&format!("{at}.{field}"), chosen, supported));
        }
    }
    if let Some(seconds) = webhook["timeoutSeconds"].as_i64().filter(|seconds| !TIMEOUT_SECONDS.contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::invalid(&format!("{at}.timeoutSeconds"), seconds, detail));
    }
    let versions = texts(&webhook["admissionReviewVersions"]);
    if !versions.is_empty() && !versions.iter().any(|version| VERSIONS.contains(version)) {
        let detail = format!("must include at least one of {}", VERSIONS.join(", "));
        causes.push(Cause::invalid(&format!("{at}.admissionReviewVersions"), format!("{versions:?}"), &detail));
    }
}

fn rule(at: &str, rule: &Value, causes: &mut Vec<Cause>) {
    for (field, what) in [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let named = texts(&rule[field]);
        if named.is_empty() {
            causes.push(Cause::required(&format!("{at}.{field}"), ""));
        } else if named.contains(&"*") && named.len() > 1 {
            let detail = format!("if '*' is present, must not specify other {what}");
            causes.push(Cause::invalid(&format!("{at}.{field}"), format!("{named:?}"), &detail));
        }
    }
    let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (index, operation) in texts(&rule["operations"]).into_iter().enumerate() {
        if !operations.contains(&operation) {
            causes.push(Cause::unsupported(&format!("{at}.operations[{index}]"), operation, &operations));
        }
    }
    let resources = texts(&rule["resources"]);
    if resources.is_empty() {
        causes.push(Cause::required(&format!("{at}.resources"), ""));
    }
    if resources.contains(&"*/*") && resources.len() > 1 {
        let detail = "if '*/*' is present, must not specify other resources";
        causes.push(Cause::invalid(&format!("{at}.resources"), format!("{resources:?}"), detail));
    }
    let scopes = ["*", "Cluster", "Namespaced"];
    if let Some(scope) = rule["scope"].as_str().filter(|scope| !scopes.contains(scope)) {
        causes.push(Cause::unsupported(&format!("{at}.scope"), scope, &scopes));
    }
}

fn client(at: &str, config: &Value, causes: &mut Vec<Cause>) {
    match (config["url"].as_str(), config["service"].is_object()) {
        (Some(url), false) => url_problem(url).into_iter().for_each(|detail| {
            causes.push(Cause::invalid(&format!("{at}.url"), format!("{url:?}"), &detail));
        }),
        (None, true) => service(&format!("{at}.service"), &config["service"], causes),
        _ => causes.push(Cause::required(at, "exactly one of url or service is required")),
    }
}

fn url_problem(url: &str) -> Option<String> {
    let desired = "desired format: https://host[/path]";
    // What follows a # is no part of what is sent, and the parser drops it.
    if url.contains('#') {
        return Some("fragments are not permitted in the URL".to_owned());
    }
    let Ok(parsed) = url.parse::<Uri>() else { return Some(format!("url must be a valid URL; {desired}")) };
    let authority = parsed.authority().map_or("", |authority| authority.as_str());
    if parsed.scheme_str() != Some("https") {
        Some(format!("'https' is the only allowed URL scheme; {desired}"))
    } else if authority.is_empty() {
        Some(format!("host must be specified; {desired}"))
    } else if authority.contains('@') {
        Some("user information is not permitted in the URL".to_owned())
    } else if parsed.query().is_some() {
        Some("query parameters are not permitted in the URL".to_owned())
    } else {
        None
    }
}

fn service(at: &str, service: &Value, causes: &mut Vec<Cause>) {
    for (field, detail) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if service[field].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(&format!("{at}.{field}"), detail));
        }
    }
    if let Some(port) = service["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
        causes.push(Cause::invalid(
            &format!("{at}.port"),
            port,
            "port is not valid: must be between 1 and 65535, inclusive",
        ));
    }
    if let Some(path) = service["path"].as_str().filter(|path| !path.is_empty() && !path.starts_with('/')) {
        causes.push(Cause::invalid(&format!("{at}.path"), format!("{path:?}"), "must start with a '/'"));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(changes: Value, expected: Expect) {
        let mut webhook = json!({
            "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "hook", "namespace": "default"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        });
        for (field, value) in changes.as_object().into_iter().flatten() {
            webhook[field] = value.clone();
        }
        let problems = problems(&json!([webhook]));
        let lines: Vec<String> = problems.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn what_could_never_work_is_refused() {
        check(json!({}), expect![[""]]);
        check(
            json!({"name": "a.b", "timeoutSeconds": 31, "sideEffects": "Some", "admissionReviewVersions": ["v9"]}),
            expect![[r#"
                webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots
                webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"
                webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds
                webhooks[0].admissionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1"#]],
        );
        check(
            json!({"rules": [{"operations": ["*", "CREATE"], "apiGroups": [], "apiVersions": ["v1"], "resources": ["*/*", "pods"], "scope": "All"}]}),
            expect![[r#"
                webhooks[0].rules[0].operations: Invalid value: ["*", "CREATE"]: if '*' is present, must not specify other operations
                webhooks[0].rules[0].apiGroups: Required value
                webhooks[0].rules[0].resources: Invalid value: ["*/*", "pods"]: if '*/*' is present, must not specify other resources
                webhooks[0].rules[0].scope: Unsupported value: "All": supported values: "*", "Cluster", "Namespaced""#]],
        );
        check(
            json!({"matchConditions": [{"name": "a", "expression": "object.x =="}, {"name": "a", "expression": "1"}, {"name": "", "expression": ""}]}),
            expect![[r#"
                webhooks[0].matchConditions[0].expression: Invalid value: "object.x ==": compilation failed: ERROR: <input>:1:12: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
                 | object.x ==
                 | ...........^
                webhooks[0].matchConditions[1].name: Duplicate value: "a"
                webhooks[0].matchConditions[1].expression: Invalid value: "1": must evaluate to bool but got int
                webhooks[0].matchConditions[2].name: Required value
                webhooks[0].matchConditions[2].expression: Required value: expression is not specified"#]],
        );
    }

    #[test]
    fn the_place_of_a_webhook_is_one_and_whole() {
        check(
            json!({"clientConfig": {}}),
            expect!["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
        );
        check(
            json!({"clientConfig": {"url": "http://x/"}}),
            expect![[
                r#"webhooks[0].clientConfig.url: Invalid value: "http://x/": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#
            ]],
        );
        check(
            json!({"clientConfig": {"url": "https://a@x/"}}),
            expect![[
                r#"webhooks[0].clientConfig.url: Invalid value: "https://a@x/": user information is not permitted in the URL"#
            ]],
        );
        check(
            json!({"clientConfig": {"url": "https://x/?y"}}),
            expect![[
                r#"webhooks[0].clientConfig.url: Invalid value: "https://x/?y": query parameters are not permitted in the URL"#
            ]],
        );
        check(
            json!({"clientConfig": {"service": {"name": "x", "port": 0, "path": "y"}}}),
            expect![[r#"
            webhooks[0].clientConfig.service.namespace: Required value: service namespace is required
            webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive
            webhooks[0].clientConfig.service.path: Invalid value: "y": must start with a '/'"#]],
        );
    }
}
