//! Selectors as part of what somebody may do: nodes list and watch what is theirs, reviews and policies ask with selectors.

use std::sync::Arc;

use coracle_apiserver::{
    Options, Server, User,
    authz::{MastersOr, NodeOr, StoredRbac},
};
use coracle_store::Store;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use crate::support::options;

async fn guarded() -> Server {
    let store = Store::in_memory();
    let authorizer = Arc::new(MastersOr(NodeOr::new(store.clone(), StoredRbac::new(store.clone()))));
    Server::start(store, Options { authorizer, ..options() }).await.unwrap()
}

fn node() -> User {
    User::new("system:node:n1", ["system:nodes"])
}

async fn ask(server: &Server, user: User, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let answer = server.client_service(user).oneshot(request.body(Full::from(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    // A watch that is let in goes on and on.
    let bytes = match path.contains("watch") && status == 200 {
        true => bytes::Bytes::new(),
        false => answer.into_body().collect().await.unwrap().to_bytes(),
    };
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// What kube-apiserver 1.35 answers to the same reviews about a node.
#[tokio::test]
async fn reviews_are_answered_as_upstream_answers_them() {
    let server = guarded().await;
    let recorded: Map<String, Value> = serde_json::from_str(include_str!("recorded/node_reviews.json")).unwrap();
    for (name, case) in &recorded {
        let review = json!({"spec": {
            "user": "system:node:n1", "groups": ["system:nodes", "system:authenticated"],
            "resourceAttributes": case["resourceAttributes"],
        }});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let (status, answer) = ask(&server, User::engine(), "POST", path, review).await;
        let said = if status == 201 { &answer["status"] } else { &answer["message"] };
        assert_eq!((json!(status), said), (case["status"].clone(), &case["answer"]), "{name}");
    }
}

#[tokio::test]
async fn a_node_lists_and_watches_what_is_its_own() {
    let server = guarded().await;
    let why = "403 pods is forbidden: User \"system:node:n1\" cannot list resource \"pods\" in API group \"\" at the cluster scope: can only list/watch pods with spec.nodeName field selector";
    for (path, expected) in [
        ("/api/v1/pods", why),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "200 "),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1%2Cstatus.phase!%3DFailed", "200 "),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", why),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&watch=true", "200 "),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn1", "200 "),
    ] {
        let (status, answer) = ask(&server, node(), "GET", path, Value::Null).await;
        assert_eq!(format!("{status} {}", answer["message"].as_str().unwrap_or_default()), expected, "{path}");
    }
    // The old way to ask for a watch does not heed selectors everywhere, and so they do not count.
    let by_path = "/api/v1/watch/pods?fieldSelector=spec.nodeName%3Dn1";
    assert_eq!(ask(&server, node(), "GET", by_path, Value::Null).await.0, 403);
}

#[tokio::test]
async fn policies_ask_with_selectors() {
    let server = guarded().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let asks = |selector: &str| format!("authorizer.group('').resource('pods'){selector}.check('list').allowed()");
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules":
            [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["events"]}]},
        "validations": [
            {"expression": asks(".fieldSelector('spec.nodeName=n1')"), "message": "its own pods"},
            {"expression": format!("!{}", asks(".fieldSelector('spec.nodeName=n2')")), "message": "no others"},
            {"expression": format!("!{}", asks(".labelSelector('a=b')")), "message": "nor by labels"},
        ],
    }});
    let engine = User::engine;
    assert_eq!(ask(&server, engine(), "POST", &format!("{group}/validatingadmissionpolicies"), policy).await.0, 201);
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    let bindings = format!("{group}/validatingadmissionpolicybindings");
    assert_eq!(ask(&server, engine(), "POST", &bindings, binding).await.0, 201);
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "reason": "r", "message": "m", "type": "Normal"});
    let events = "/api/v1/namespaces/default/events";
    let (status, answer) = ask(&server, node(), "POST", events, event.clone()).await;
    assert_eq!(status, 201, "{answer}");
    // Those who may list all are told so.
    let (status, answer) = ask(&server, engine(), "POST", events, json!({"metadata": {"name": "f"}, "involvedObject": {"namespace": "default"}, "reason": "r", "message": "m", "type": "Normal"})).await;
    assert!(status == 422 && answer["message"].as_str().unwrap().ends_with("no others"), "{answer}");
}
