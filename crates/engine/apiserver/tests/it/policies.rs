//! Admission policies and the rules of custom resources, as clients meet them.

use expect_test::{Expect, expect};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::support::{client, server};

const GROUP: &str = "/apis/admissionregistration.k8s.io";

/// Sends a document; what comes back, or the refusal with its code and reason.
async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(body.to_string().into_bytes()).unwrap();
    match client.request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(format!("{} {}: {}", status.code, status.reason, status.message)),
        Err(error) => Err(error.to_string()),
    }
}

async fn post(client: &Client, path: &str, body: Value) -> Result<Value, String> {
    send(client, "POST", path, &body).await
}

fn refused(outcome: Result<Value, String>, expected: Expect) {
    expected.assert_eq(&outcome.map_or_else(|text| text, |value| format!("fine: {value}")));
}

fn policy(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("matchConstraints").is_none() {
        spec["matchConstraints"] = json!({"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["configmaps"]}]});
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": spec})
}

fn binding(name: &str, policy: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["policyName"] = json!(policy);
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": spec})
}

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn define(client: &Client, policy: Value, binding: Value) {
    post(client, &format!("{GROUP}/v1/validatingadmissionpolicies"), policy).await.unwrap();
    post(client, &format!("{GROUP}/v1/validatingadmissionpolicybindings"), binding).await.unwrap();
}

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_policy_refuses_from_the_next_request_on() {
    let client = client(&server().await);
    define(
        &client,
        policy("colours", json!({
            "variables": [{"name": "colour", "expression": "object.data.?colour.orValue('none')"}],
            "matchConditions": [{"name": "not-deleted", "expression": "request.operation != 'DELETE'"}],
            "validations": [
                {"expression": "variables.colour != 'red'", "messageExpression": "'no ' + variables.colour + ' in ' + namespaceObject.metadata.name"},
                {"expression": "request.userInfo.username != 'nobody' && authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"},
                {"expression": "oldObject == null || object.data.colour == oldObject.data.colour", "message": "colours stay", "reason": "Forbidden"},
            ]})),
        binding("colours-here", "colours", json!({"validationActions": ["Deny"]})),
    )
    .await;
    refused(
        post(&client, CONFIGS, config("a", json!({"colour": "red"}))).await,
        expect![[
            r#"422 Invalid: configmaps "a" is forbidden: ValidatingAdmissionPolicy 'colours' with binding 'colours-here' denied request: no red in default"#
        ]],
    );
    post(&client, CONFIGS, config("a", json!({"colour": "blue"}))).await.unwrap();
    let change = json!({"data": {"colour": "green"}});
    refused(
        send(&client, "PATCH", &format!("{CONFIGS}/a"), &change).await,
        expect![[
            r#"403 Forbidden: configmaps "a" is forbidden: ValidatingAdmissionPolicy 'colours' with binding 'colours-here' denied request: colours stay"#
        ]],
    );
    refused(
        post(&client, CONFIGS, json!({"metadata": {"name": "b"}})).await,
        expect![[
            r#"422 Invalid: configmaps "b" is forbidden: ValidatingAdmissionPolicy 'colours' with binding 'colours-here' denied request: expression 'variables.colour != 'red'' resulted in error: composited variable "colour" fails to evaluate: no such key: data"#
        ]],
    );
    send(&client, "DELETE", &format!("{CONFIGS}/a"), &json!({})).await.unwrap();
}

#[tokio::test]
async fn parameters_come_from_the_bindings() {
    let client = client(&server().await);
    let limit = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits"}, "data": {"most": "1"}});
    post(&client, CONFIGS, limit).await.unwrap();
    define(
        &client,
        policy(
            "sizes",
            json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{"expression": "!has(object.data) || size(object.data) <= int(params.data.most)"}]}),
        ),
        binding(
            "sizes-here",
            "sizes",
            json!({
            "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"},
            "validationActions": ["Deny"]}),
        ),
    )
    .await;
    post(&client, CONFIGS, config("a", json!({"x": "1"}))).await.unwrap();
    refused(
        post(&client, CONFIGS, config("b", json!({"x": "1", "y": "2"}))).await,
        expect![[
            r#"422 Invalid: configmaps "b" is forbidden: ValidatingAdmissionPolicy 'sizes' with binding 'sizes-here' denied request: failed expression: !has(object.data) || size(object.data) <= int(params.data.most)"#
        ]],
    );
    let gone = json!({"data": null});
    send(&client, "PATCH", &format!("{CONFIGS}/limits"), &gone).await.unwrap();
    refused(
        post(&client, CONFIGS, config("c", json!({"x": "1"}))).await,
        expect![[
            r#"422 Invalid: configmaps "c" is forbidden: ValidatingAdmissionPolicy 'sizes' with binding 'sizes-here' denied request: expression '!has(object.data) || size(object.data) <= int(params.data.most)' resulted in error: no such key: data"#
        ]],
    );
    send(&client, "DELETE", &format!("{GROUP}/v1/validatingadmissionpolicybindings/sizes-here"), &json!({}))
        .await
        .unwrap();
    send(&client, "DELETE", &format!("{CONFIGS}/limits"), &json!({})).await.unwrap();
    let body = binding(
        "sizes-gone",
        "sizes",
        json!({
        "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}, "validationActions": ["Deny"]}),
    );
    post(&client, &format!("{GROUP}/v1/validatingadmissionpolicybindings"), body).await.unwrap();
    refused(
        post(&client, CONFIGS, config("c", json!({"x": "1"}))).await,
        expect![[
            r#"422 Invalid: configmaps "c" is forbidden: ValidatingAdmissionPolicy 'sizes' with binding 'sizes-gone' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"#
        ]],
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_policy_is_said_when_it_is_written() {
    let client = client(&server().await);
    let wrong = policy(
        "wrong",
        json!({
        "variables": [{"name": "a-b", "expression": "1"}],
        "validations": [{"expression": "object.x +"}, {"expression": "1"}, {"expression": "params.x == 1"}, {"expression": "nope(1)", "reason": "Odd"}]}),
    );
    refused(
        post(&client, &format!("{GROUP}/v1/validatingadmissionpolicies"), wrong).await,
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy.admissionregistration.k8s.io "wrong" is invalid: [spec.variables[0].name: Invalid value: "a-b": name is not a valid CEL identifier, spec.validations[0].expression: Invalid value: "object.x +": compilation failed: ERROR: <input>:1:11: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
         | object.x +
         | ..........^, spec.validations[1].expression: Invalid value: "1": must evaluate to bool but got int, spec.validations[2].expression: Invalid value: "params.x == 1": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')
         | params.x == 1
         | ^, spec.validations[3].expression: Invalid value: "nope(1)": compilation failed: ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')
         | nope(1)
         | ....^, spec.validations[3].reason: Unsupported value: "Odd": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"]"#]],
    );
}

#[tokio::test]
async fn expressions_are_checked_against_the_types_they_see() {
    let client = client(&server().await);
    let spec = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicas > '1'"}, {"expression": "object.spec.maxReplicas > 1"}, {"expression": "object.spec.replicas > 1"}]});
    post(&client, &format!("{GROUP}/v1/validatingadmissionpolicies"), policy("typed", spec)).await.unwrap();
    let path = format!("{GROUP}/v1/validatingadmissionpolicies/typed");
    let mut found = send(&client, "GET", &path, &json!({})).await.unwrap();
    while found["status"]["observedGeneration"].is_null() {
        tokio::task::yield_now().await;
        found = send(&client, "GET", &path, &json!({})).await.unwrap();
    }
    let warnings = found["status"]["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let shown: Vec<&str> = warnings.iter().map(|warning| warning["warning"].as_str().unwrap()).collect();
    expect![[r#"
        apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'
         | object.spec.replicas > '1'
         | .....................^

        apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:12: undefined field 'maxReplicas'
         | object.spec.maxReplicas > 1
         | ...........^
    "#]].assert_eq(&shown.join("\n"));
}

#[tokio::test]
async fn a_mutating_policy_applies_and_patches() {
    let client = client(&server().await);
    for version in ["v1beta1", "v1alpha1"] {
        let body = json!({"apiVersion": format!("admissionregistration.k8s.io/{version}"), "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": format!("sidecars-{version}")}, "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                    "Object{metadata: Object.metadata{labels: {'by-version': request.namespace}}}"}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'test', path: '/metadata/labels/by-version', value: 'default'}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.org/copy'), value: object.metadata.labels['by-version']}]"}},
            ]}});
        post(&client, &format!("{GROUP}/{version}/mutatingadmissionpolicies"), body).await.unwrap();
        let body = json!({"apiVersion": format!("admissionregistration.k8s.io/{version}"), "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": format!("sidecars-{version}")}, "spec": {"policyName": format!("sidecars-{version}")}});
        post(&client, &format!("{GROUP}/{version}/mutatingadmissionpolicybindings"), body).await.unwrap();
    }
    let made = post(&client, CONFIGS, config("a", json!({"k": "v"}))).await.unwrap();
    assert_eq!(made["metadata"]["labels"], json!({"by-version": "default", "example.org/copy": "default"}));
    assert_eq!(made["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn custom_resources_keep_their_rules() {
    let client = client(&server().await);
    let definition = |rules: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.example.org"}, "spec": {
            "group": "sea.example.org", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "name": {"type": "string", "maxLength": 10}},
                        "x-kubernetes-validations": rules},
                    "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}},
                        "x-kubernetes-validations": [{"rule": "!has(oldSelf.afloat) || !oldSelf.afloat || self.afloat", "message": "boats do not sink"}]},
                }}}}]}})
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    refused(
        post(&client, definitions, definition(json!([{"rule": "self.sise > 1"}]))).await,
        expect![[r#"
        422 Invalid: CustomResourceDefinition.apiextensions.k8s.io "boats.sea.example.org" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{Rule:"self.sise > 1", Message:"", MessageExpression:"", Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", OptionalOldSelf:(*bool)(nil)}: compilation failed: ERROR: <input>:1:5: undefined field 'sise'
         | self.sise > 1
         | ....^"#]],
    );
    let rules = json!([{"rule": "self.size > 1"}, {"rule": "self.name == oldSelf.name", "message": "names stay", "fieldPath": ".name"}]);
    post(&client, definitions, definition(rules)).await.unwrap();
    let boats = "/apis/sea.example.org/v1/namespaces/default/boats";
    let boat = |spec: Value| json!({"apiVersion": "sea.example.org/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": spec});
    let mut made = post(&client, boats, boat(json!({"size": 2, "name": "x"}))).await;
    while made.is_err() {
        tokio::task::yield_now().await;
        made = post(&client, boats, boat(json!({"size": 2, "name": "x"}))).await;
    }
    let patch = |body: Value| {
        let client = client.clone();
        async move { send(&client, "PATCH", &format!("{boats}/a"), &body).await }
    };
    refused(
        patch(json!({"spec": {"size": 1}})).await,
        expect![[
            r#"422 Invalid: Boat.sea.example.org "a" is invalid: spec: Invalid value: failed rule: self.size > 1"#
        ]],
    );
    refused(
        patch(json!({"spec": {"name": "y"}})).await,
        expect![[r#"422 Invalid: Boat.sea.example.org "a" is invalid: spec.name: Invalid value: names stay"#]],
    );
    let status = format!("{boats}/a/status");
    send(&client, "PATCH", &status, &json!({"status": {"afloat": true}})).await.unwrap();
    refused(
        send(&client, "PATCH", &status, &json!({"status": {"afloat": false}})).await,
        expect![[r#"422 Invalid: Boat.sea.example.org "a" is invalid: status: Invalid value: boats do not sink"#]],
    );
}
