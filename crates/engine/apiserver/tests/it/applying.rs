//! Who owns which fields after empty lists and maps were applied, created and patched in, as kube-apiserver 1.35.4 had it.

use coracle_apiserver::{Server, User};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{eventually, server};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    name: String,
    path: String,
    api_version: String,
    kind: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    how: How,
    manager: String,
    body: Value,
    status: u16,
    #[serde(default)]
    message: String,
    /// Manager, operation and fields.
    #[serde(default)]
    fields: Vec<(String, String, Value)>,
    spec: Option<Value>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum How {
    Apply,
    NoForce,
    Create,
    Patch,
}

async fn ask(server: &Server, method: &str, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let request = request.body(Full::<bytes::Bytes>::from(body.to_string())).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn make(server: &Server, path: &str, object: &Value) -> u16 {
    ask(server, "POST", path, "application/json", object).await.0
}

async fn play(server: &Server, case: &Recorded, step: &Step) -> (u16, Value) {
    let (path, manager) = (&case.path, &step.manager);
    let mut body = step.body.clone();
    if step.how != How::Patch {
        body["apiVersion"] = json!(case.api_version);
        body["kind"] = json!(case.kind);
        body["metadata"]["name"] = json!(path.rsplit('/').next());
    }
    let named = format!("fieldManager={manager}");
    match step.how {
        How::Create => {
            let collection = path.rsplit_once('/').unwrap().0;
            ask(server, "POST", &format!("{collection}?{named}"), "application/json", &body).await
        }
        How::Patch => ask(server, "PATCH", &format!("{path}?{named}"), "application/merge-patch+json", &body).await,
        How::Apply => {
            let path = format!("{path}?{named}&force=true");
            ask(server, "PATCH", &path, "application/apply-patch+yaml", &body).await
        }
        How::NoForce => ask(server, "PATCH", &format!("{path}?{named}"), "application/apply-patch+yaml", &body).await,
    }
}

#[tokio::test]
async fn what_is_empty_is_owned_as_upstream_has_it() {
    let server = server().await;
    make(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "ap"}})).await;
    let definition: Value = serde_json::from_str(include_str!("recorded/apply_definition.json")).unwrap();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(make(&server, definitions, &definition).await, 201);
    let bags = "/apis/example.com/v1/namespaces/ap/bags";
    let probe = json!({"apiVersion": "example.com/v1", "kind": "Bag", "metadata": {"name": "probe"}});
    eventually("bags", || async { make(&server, bags, &probe).await == 201 }).await;
    let recorded: Vec<Recorded> = serde_json::from_str(include_str!("recorded/apply.json")).unwrap();
    for case in &recorded {
        ask(&server, "DELETE", &case.path, "application/json", &json!({})).await;
        for (at, step) in case.steps.iter().enumerate() {
            let what = format!("{}, step {at}", case.name);
            let (status, object) = play(&server, case, step).await;
            assert_eq!(status, step.status, "{what}: {object}");
            if status >= 400 {
                assert_eq!(object["message"], step.message.as_str(), "{what}");
                continue;
            }
            let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
            let mut fields: Vec<(String, String, Value)> = entries
                .iter()
                .map(|entry| (text(entry, "manager"), text(entry, "operation"), entry["fieldsV1"].clone()))
                .collect();
            let mut wanted = step.fields.clone();
            let order = |entry: &(String, String, Value)| (entry.0.clone(), entry.1.clone());
            fields.sort_by_key(order);
            wanted.sort_by_key(order);
            assert_eq!(fields, wanted, "{what}: {object}");
            if let Some(spec) = &step.spec {
                assert_eq!(object["spec"], *spec, "{what}");
            }
        }
    }
}
