//! Requests that mean harm: each is refused with upstream's status or served, and the server goes on.

use coracle_apiserver::{Server, User};
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{eventually, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const BOATS: &str = "/apis/sea.example.org/v1/namespaces/default/boats";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn ask(server: &Server, method: &str, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    let request = request.body(Full::<bytes::Bytes>::new(body.into().into())).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// A server with a ConfigMap, and with boats whose `spec` is whatever anybody likes.
async fn with_boats() -> Server {
    let server = server().await;
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({"metadata": {"name": "boats.sea.example.org"}, "spec": {
        "group": "sea.example.org", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
        "versions": [version]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(ask(&server, "POST", definitions, JSON, definition.to_string()).await.0, 201);
    eventually("boats", || async { ask(&server, "GET", BOATS, JSON, "").await.0 == 200 }).await;
    let boat =
        json!({"apiVersion": "sea.example.org/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"x": {}}});
    assert_eq!(ask(&server, "POST", BOATS, JSON, boat.to_string()).await.0, 201);
    let map = json!({"metadata": {"name": "m"}, "data": {"k": "v"}});
    assert_eq!(ask(&server, "POST", MAPS, JSON, map.to_string()).await.0, 201);
    server
}

#[tokio::test]
async fn what_is_too_large_or_too_deep_is_refused_as_upstream_does() {
    let server = with_boats().await;
    let (map, boat) = (format!("{MAPS}/m"), format!("{BOATS}/b"));
    let applied = format!("{BOATS}/c?fieldManager=m");
    let large = "x".repeat(3 * 1024 * 1024 + 1);
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5000), close.repeat(5000));
    let deep_boat = json!({"apiVersion": "sea.example.org/v1", "kind": "Boat", "metadata": {"name": "c"}}).to_string();
    let deep_boat = deep_boat.replacen('{', &format!("{{\"spec\":{{\"x\":{}}},", deep("[", "]")), 1);
    let many: Vec<Value> = vec![json!({"op": "test", "path": "/kind", "value": "ConfigMap"}); 10_001];
    let doubling = |number: usize| json!({"op": "copy", "from": "", "path": format!("/data/k{number}")});
    let doubling: Vec<Value> = (0..60).map(doubling).collect();
    for (method, path, media_type, body, expected) in [
        ("POST", MAPS, JSON, &large, 413),
        ("PUT", &map, YAML, &large, 413),
        ("PATCH", &map, MERGE_PATCH, &large, 413),
        ("PATCH", &applied, APPLY, &large, 413),
        ("DELETE", &map, JSON, &large, 413),
        ("POST", BOATS, JSON, &deep_boat, 400),
        ("POST", BOATS, YAML, &deep_boat, 400),
        ("PATCH", &applied, APPLY, &deep_boat, 400),
        ("PATCH", &boat, MERGE_PATCH, &format!("{{\"spec\":{}}}", deep("{\"a\":", "}")), 400),
        ("PATCH", &boat, JSON_PATCH, &deep("[", "]"), 400),
        ("PATCH", &map, JSON_PATCH, &json!(many).to_string(), 413),
        ("PATCH", &map, JSON_PATCH, &json!(doubling).to_string(), 422),
        ("POST", MAPS, PROTOBUF, &"k8s\0\u{12}\u{7f}".to_owned(), 400),
        ("POST", MAPS, "application/xml", &"<a/>".to_owned(), 415),
        ("PATCH", &map, JSON, &"{}".to_owned(), 415),
    ] {
        let (status, answer) = ask(&server, method, path, media_type, body.clone()).await;
        assert_eq!(status, expected, "{method} {path} {media_type}: {answer}");
    }
}

/// What stands about the owners of fields nests deeper than the object does; that must be read again as well.
#[tokio::test]
async fn as_deep_as_it_may_be_an_object_is_changed_and_deleted() {
    let server = with_boats().await;
    let boat = |depth: usize| {
        let mut spec = json!(1);
        // The object is one level itself.
        for _ in 1..depth {
            spec = json!({"a": spec});
        }
        let metadata = json!({"name": "deep"});
        json!({"apiVersion": "sea.example.org/v1", "kind": "Boat", "metadata": metadata, "spec": spec}).to_string()
    };
    let refused = ask(&server, "POST", BOATS, JSON, boat(101)).await;
    assert_eq!(refused.0, 400, "{}", refused.1);
    assert_eq!(ask(&server, "POST", BOATS, JSON, boat(100)).await.0, 201);
    let path = format!("{BOATS}/deep");
    let (status, mut read) = ask(&server, "GET", &path, JSON, "").await;
    assert_eq!(status, 200);
    read["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(ask(&server, "PUT", &path, JSON, read.to_string()).await.0, 200);
    let patch = r#"[{"op":"add","path":"/metadata/labels/c","value":"d"}]"#;
    assert_eq!(ask(&server, "PATCH", &path, JSON_PATCH, patch).await.0, 200);
    assert_eq!(ask(&server, "PATCH", &format!("{path}?fieldManager=x&force=true"), APPLY, boat(100)).await.0, 200);
    assert_eq!(ask(&server, "DELETE", &path, JSON, "").await.0, 200);
}

/// Request by request, each small: what cannot be read again is never stored.
#[tokio::test]
async fn an_object_cannot_be_grown_too_deep_to_be_read() {
    let server = with_boats().await;
    let boat = format!("{BOATS}/b");
    let nest = json!([
        {"op": "add", "path": "/spec/t", "value": {}},
        {"op": "move", "from": "/spec/x", "path": "/spec/t/x"},
        {"op": "move", "from": "/spec/t", "path": "/spec/x"},
    ]);
    let mut statuses = Vec::new();
    for _ in 0..140 {
        statuses.push(ask(&server, "PATCH", &boat, JSON_PATCH, nest.to_string()).await.0);
        assert_eq!(ask(&server, "GET", &boat, JSON, "").await.0, 200);
    }
    assert_eq!((statuses[0], statuses[139]), (200, 422));
    assert_eq!(ask(&server, "PATCH", &boat, MERGE_PATCH, r#"{"spec":{"x":1}}"#).await.0, 200);
    assert_eq!(ask(&server, "DELETE", &boat, JSON, "").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let server = server().await;
    let first = futures::stream::once(async { Ok::<_, std::io::Error>(http_body::Frame::data("{".into())) });
    let body = http_body_util::StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending()));
    let request = Request::post(MAPS).header("content-type", JSON).body(body).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 408);
}

/// What never is an answer: a server's own fault. (Upstream answers an apply that has the wrong types with 500, and a
/// version that is yet to come with 504.)
fn is_fine(status: u16, answer: &Value) -> bool {
    let is_typed_apply =
        || answer["message"].as_str().is_some_and(|said| said.contains("failed to create typed patch"));
    let is_ahead = || answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge";
    status < 500 || (status == 500 && is_typed_apply()) || (status == 504 && is_ahead())
}

/// Runs `cases` requests made by a strategy; a shrunk failing one is shown.
fn check<S>(cases: u32, strategy: &S, request: impl Fn(S::Value) -> (String, String, String, Vec<u8>))
where
    S: Strategy,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(with_boats());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let outcome = runner.run(strategy, |value| {
        let (method, path, media_type, body) = request(value);
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let (status, answer) = runtime.block_on(ask(&server, &method, &uri.to_string(), &media_type, body));
        prop_assert!(is_fine(status, &answer), "{method} {path} {media_type}: {status} {answer}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_path_or_query_is_the_servers_fault() {
    let piece = "(/(api|apis|v1|watch|namespaces|default|configmaps|m|pods|apps|deployments|status|scale|%2f|%00|%ff|a|openapi|v3|v2|metrics|version|healthz|coracle))";
    let path = format!("{piece}{{1,7}}/?");
    let parameter = "(labelSelector|fieldSelector|limit|continue|resourceVersion|resourceVersionMatch|timeoutSeconds|dryRun|fieldManager|fieldValidation|force|pretty|propagationPolicy|gracePeriodSeconds|allowWatchBookmarks)=(-?[0-9]{0,20}|[a-c]( in |=|==|!=|%20in%20|%20notin%20|,|\\(|\\)|%3D|%ff|!|<|>){0,3}[a-c]{0,2}|All|Exact|NotOlderThan|true|[a-zA-Z0-9]{0,30}%3D)".replace(' ', "");
    let query = format!("({parameter}(&{parameter}){{0,3}})?");
    let method = prop::sample::select(&["GET", "GET", "GET", "DELETE", "POST", "PUT", "PATCH", "HEAD", "OPTIONS"][..]);
    let strategy = (method, path.as_str(), query.as_str())
        .prop_map(|(method, path, query)| (method, if query.is_empty() { path } else { format!("{path}?{query}") }));
    // Watches are asked for as a list here: a watch's answer has no end.
    let ask = |(method, path): (&str, String)| {
        let path = path.replace("/watch", "/watched");
        (method.to_owned(), path, JSON.to_owned(), Vec::new())
    };
    check(1500, &strategy, ask);
}

#[test]
fn no_continue_token_is_the_servers_fault() {
    let number = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), 0i64..20];
    let strategy = (number.clone(), number, "[a-z/\0é]{0,6}", any::<bool>());
    check(300, &strategy, |(rv, at, start, is_whole)| {
        let token = json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start, "at": at}).to_string();
        let token = if is_whole { token } else { token.chars().take(token.len() / 2).collect() };
        let token = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token);
        ("GET".to_owned(), format!("{MAPS}?limit=1&continue={token}"), JSON.to_owned(), Vec::new())
    });
}

#[test]
fn no_body_is_the_servers_fault() {
    let text = "[\\-a-c:{}\\[\\],\"'&*!|>#\n 0-9.]{0,60}";
    let name = prop::sample::select(
        &[
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
            "deletionTimestamp",
            "resourceVersion",
            "uid",
            "spec",
            "data",
            "x",
            "op",
            "path",
            "from",
            "value",
        ][..],
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(
            &["", "m", "b", "v1", "ConfigMap", "Boat", "sea.example.org/v1", "add", "copy", "/metadata", "/spec", "1"]
                [..]
        )
        .prop_map(Value::from)
    ];
    let object = leaf.prop_recursive(5, 30, 5, move |inner| {
        let members = prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect()))
        ]
    });
    let protobuf = prop::collection::vec(any::<u8>(), 0..60).prop_map(|raw| {
        let length = u8::try_from(raw.len()).unwrap();
        [b"k8s\0\x12", &[length][..], &raw].concat()
    });
    let body = prop_oneof![
        text.prop_map(String::into_bytes),
        object.prop_map(|value| value.to_string().into_bytes()),
        protobuf,
        prop::collection::vec(any::<u8>(), 0..40)
    ];
    let media_types = [JSON, YAML, PROTOBUF, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY];
    let target = prop::sample::select(
        &[("POST", MAPS), ("POST", BOATS), ("PUT", "m"), ("PUT", "b"), ("PATCH", "m"), ("PATCH", "b"), ("DELETE", "n")]
            [..],
    );
    let strategy = (target, prop::sample::select(media_types.to_vec()), body);
    check(1500, &strategy, |((method, place), media_type, body)| {
        let path = match place {
            "b" => format!("{BOATS}/b?fieldManager=f"),
            "m" | "n" => format!("{MAPS}/{place}?fieldManager=f"),
            collection => collection.to_owned(),
        };
        (method.to_owned(), path, media_type.to_owned(), body)
    });
}
