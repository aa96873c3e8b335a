//! Admission by servers of others.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_apiserver::Server;
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::ConfigMap,
};
use kube::{
    Api, Error,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{HookServer, client, hook_server, server};

/// A webhook's configuration, for config maps unless `more` says otherwise.
fn hook(server: &HookServer, path: &str, more: Value) -> Value {
    let mut hook = json!({
        "name": format!("{path}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("{}/{path}", server.url), "caBundle": server.ca_bundle},
        "rules": [{"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
    });
    for (field, value) in more.as_object().unwrap() {
        hook[field] = value.clone();
    }
    hook
}

async fn configure(server: &Server, kind: &str, hooks: Vec<Value>) {
    let configuration = json!({"metadata": {"name": "test"}, "webhooks": hooks});
    let client = client(server);
    if kind == "Mutating" {
        let all: Api<MutatingWebhookConfiguration> = Api::all(client);
        all.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    } else {
        let all: Api<ValidatingWebhookConfiguration> = Api::all(client);
        all.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    }
}

fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response})
}

fn patch(review: &Value, operations: Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    answer(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

/// What the tests' webhooks say, by their path. Each appends its name to `data.seen`, or refuses.
fn say(path: &str, review: &Value) -> Value {
    let object = &review["request"]["object"];
    match path {
        "/refuse" if object["data"]["bad"] == "yes" || review["request"]["operation"] == "DELETE" => {
            answer(review, json!({"allowed": false, "status": {"message": "no bad maps"}, "warnings": ["watch it"]}))
        }
        "/refuse" => answer(review, json!({"allowed": true})),
        "/lost" => json!({}),
        _ => {
            let seen = object["data"]["seen"].as_str().unwrap_or_default();
            patch(review, json!([{"op": "add", "path": "/data/seen", "value": format!("{seen}{path}")}]))
        }
    }
}

fn map(name: &str, data: Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": data})).unwrap()
}

fn shown(outcome: Result<ConfigMap, Error>) -> String {
    match outcome {
        Ok(map) => format!("{:?}", map.data.unwrap_or_default()),
        Err(Error::Api(status)) => format!("{} {} {}", status.code, status.reason, status.message),
        Err(error) => error.to_string(),
    }
}

async fn check(outcome: Result<ConfigMap, Error>, expected: Expect) {
    expected.assert_eq(&shown(outcome));
}

fn maps(server: &Server) -> Api<ConfigMap> {
    Api::default_namespaced(client(server))
}

#[tokio::test]
async fn webhooks_refuse() {
    let server = server().await;
    let hooks = hook_server(|path, review| say(path, &review)).await;
    configure(&server, "Validating", vec![hook(&hooks, "refuse", json!({}))]).await;
    let maps = maps(&server);
    maps.create(&PostParams::default(), &map("good", json!({"k": "v"}))).await.unwrap();
    let bad = maps.create(&PostParams::default(), &map("bad", json!({"bad": "yes"}))).await;
    check(bad, expect![[r#"400  admission webhook "refuse.example.com" denied the request: no bad maps"#]]).await;
    let patch = Patch::Merge(json!({"data": {"bad": "yes"}}));
    let patched = maps.patch("good", &PatchParams::default(), &patch).await;
    check(patched, expect![[r#"400  admission webhook "refuse.example.com" denied the request: no bad maps"#]]).await;
    let deleted = maps.delete("good", &DeleteParams::default()).await.map(|_| map("x", json!({})));
    check(deleted, expect![[r#"400  admission webhook "refuse.example.com" denied the request: no bad maps"#]]).await;
}

#[tokio::test]
async fn webhooks_change_one_after_the_other_and_again() {
    let server = server().await;
    let hooks = hook_server(|path, review| say(path, &review)).await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&server, "Mutating", vec![hook(&hooks, "a", again), hook(&hooks, "b", json!({}))]).await;
    let made = maps(&server).create(&PostParams::default(), &map("m", json!({"k": "v"}))).await;
    check(made, expect![[r#"{"k": "v", "seen": "/a/b/a"}"#]]).await;
}

#[tokio::test]
async fn only_what_is_selected_is_shown() {
    let server = server().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let hooks = hook_server(move |path, review| {
        let request = &review["request"];
        noted
            .lock()
            .unwrap()
            .push(format!("{path} {} {} dry {}", request["operation"], request["name"], request["dryRun"]));
        answer(&review, json!({"allowed": true}))
    })
    .await;
    let selector = |field: &str, label: &str, value: &str| json!({field: {"matchLabels": {label: value}}});
    configure(
        &server,
        "Validating",
        vec![
            hook(&hooks, "object", selector("objectSelector", "app", "wanted")),
            hook(&hooks, "space", selector("namespaceSelector", "kubernetes.io/metadata.name", "elsewhere")),
        ],
    )
    .await;
    let maps = maps(&server);
    maps.create(&PostParams::default(), &map("other", json!({}))).await.unwrap();
    maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &map("wanted", json!({}))).await.unwrap();
    assert_eq!(asked.lock().unwrap().as_slice(), ["/object \"CREATE\" \"wanted\" dry true"]);
}

#[tokio::test]
async fn webhooks_that_cannot_be_asked() {
    let server = server().await;
    let hooks = hook_server(|path, review| say(path, &review)).await;
    let ignored = hook(&hooks, "lost", json!({"failurePolicy": "Ignore"}));
    configure(&server, "Mutating", vec![ignored]).await;
    let maps = maps(&server);
    check(maps.create(&PostParams::default(), &map("a", json!({}))).await, expect!["{}"]).await;
    configure(&server, "Validating", vec![hook(&hooks, "lost", json!({}))]).await;
    check(
        maps.create(&PostParams::default(), &map("b", json!({}))).await,
        expect![[r#"500 InternalError Internal error occurred: failed calling webhook "lost.example.com": received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got , Kind="#]],
    )
    .await;
    // One that changes more than it is asked about could never be asked about a dry run.
    let change = json!({"webhooks": [hook(&hooks, "lost", json!({"sideEffects": "Unknown"}))]});
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client(&server));
    let refused = configurations.patch("test", &PatchParams::default(), &Patch::Merge(change)).await.unwrap_err();
    let wanted =
        "webhooks[0].sideEffects: Unsupported value: \"Unknown\": supported values: \"None\", \"NoneOnDryRun\"";
    assert!(refused.to_string().contains(wanted), "{refused}");
}
