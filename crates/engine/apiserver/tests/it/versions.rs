//! Objects in several versions: older built-in ones, and custom resources that a webhook converts.

use std::time::{Duration, Instant};

use coracle_apiserver::{Server, User};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{hook_server, server};

async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, Vec<String>, Value) {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let request = request.body(Full::<bytes::Bytes>::from(body.to_string())).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let warnings = parts.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    (parts.status.as_u16(), warnings, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn an_older_ingress_is_todays() {
    let server = server().await;
    let old = "/apis/extensions/v1beta1/namespaces/default/ingresses";
    let ingress = json!({"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": {"rules": [
        {"host": "a.example.com", "http": {"paths": [{"path": "/", "backend": {"serviceName": "web", "servicePort": 80}}]}},
    ]}});
    let (status, warnings, made) = ask(&server, "POST", old, ingress).await;
    assert_eq!((status, made["apiVersion"].as_str()), (201, Some("extensions/v1beta1")), "{made}");
    assert!(warnings[0].contains("use networking.k8s.io/v1 Ingress"), "{warnings:?}");
    let today = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i";
    let (_, warnings, seen) = ask(&server, "GET", today, Value::Null).await;
    let path = &seen["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["backend"], json!({"service": {"name": "web", "port": {"number": 80}}}));
    assert_eq!((path["pathType"].as_str(), warnings.len()), (Some("ImplementationSpecific"), 0));
    let change = json!({"spec": {"backend": {"serviceName": "other", "servicePort": "http"}}});
    let (status, _, changed) = ask(&server, "PATCH", &format!("{old}/i"), change).await;
    assert_eq!((status, &changed["spec"]["backend"]["serviceName"]), (200, &json!("other")), "{changed}");
    let (_, _, seen) = ask(&server, "GET", today, Value::Null).await;
    assert_eq!(seen["spec"]["defaultBackend"], json!({"service": {"name": "other", "port": {"name": "http"}}}));
}

#[tokio::test]
async fn an_older_autoscaler_keeps_what_it_cannot_see() {
    let server = server().await;
    let today = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}},
        "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}]});
    let (status, _, made) = ask(&server, "POST", today, json!({"metadata": {"name": "h"}, "spec": spec})).await;
    assert_eq!(status, 201, "{made}");
    let old = "/apis/autoscaling/v2beta1/namespaces/default/horizontalpodautoscalers/h";
    let (_, _, seen) = ask(&server, "GET", old, Value::Null).await;
    assert_eq!(seen["spec"]["metrics"][0]["resource"], json!({"name": "memory", "targetAverageValue": "1Gi"}));
    assert!(seen["spec"].get("behavior").is_none());
    let (status, _, changed) = ask(&server, "PATCH", old, json!({"spec": {"maxReplicas": 5}})).await;
    assert_eq!(status, 200, "{changed}");
    let (_, _, seen) = ask(&server, "GET", &format!("{today}/h"), Value::Null).await;
    assert_eq!(seen["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 7);
    assert_eq!(seen["spec"]["maxReplicas"], 5);
}

/// `v1` has `spec.host` and `spec.port`, `v2` only `spec.address`.
fn convert(object: &Value, to: &str) -> Value {
    let mut object = object.clone();
    let from = object["apiVersion"].clone();
    object["apiVersion"] = json!(to);
    if from == to {
        return object;
    }
    object["spec"] = if to.ends_with("v2") {
        json!({"address": format!("{}:{}", object["spec"]["host"].as_str().unwrap(), object["spec"]["port"].as_str().unwrap())})
    } else {
        let (host, port) = object["spec"]["address"].as_str().unwrap().split_once(':').unwrap();
        json!({"host": host, "port": port})
    };
    object
}

#[tokio::test]
async fn webhooks_convert_custom_resources() {
    let server = server().await;
    let hook = hook_server(|_, review| {
        let request = &review["request"];
        let to = request["desiredAPIVersion"].as_str().unwrap();
        let objects: Vec<Value> = request["objects"].as_array().unwrap().iter().map(|one| convert(one, to)).collect();
        json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": {
            "uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects,
        }})
    })
    .await;
    let version = |name: &str, storage: bool, fields: &[&str]| {
        let properties: Value = fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": properties}}}}})
    };
    let definition = json!({"metadata": {"name": "doors.house.example.org"}, "spec": {
        "group": "house.example.org", "scope": "Namespaced", "names": {"plural": "doors", "kind": "Door"},
        "versions": [version("v1", true, &["host", "port"]), version("v2", false, &["address"])],
        "conversion": {"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"url": hook.url, "caBundle": hook.ca_bundle}}},
    }});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (status, _, made) = ask(&server, "POST", definitions, definition).await;
    assert_eq!(status, 201, "{made}");
    let path = |version: &str| format!("/apis/house.example.org/{version}/namespaces/default/doors");
    let begun = Instant::now();
    while ask(&server, "GET", &path("v2"), Value::Null).await.0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    let door = json!({"apiVersion": "house.example.org/v2", "kind": "Door", "metadata": {"name": "d"}, "spec": {"address": "h:1"}});
    let (status, _, made) = ask(&server, "POST", &path("v2"), door).await;
    assert_eq!((status, &made["spec"]), (201, &json!({"address": "h:1"})), "{made}");
    let (_, _, seen) = ask(&server, "GET", &format!("{}/d", path("v1")), Value::Null).await;
    assert_eq!(seen["spec"], json!({"host": "h", "port": "1"}));
    let (status, _, changed) =
        ask(&server, "PATCH", &format!("{}/d", path("v2")), json!({"spec": {"address": "k:2"}})).await;
    assert_eq!((status, &changed["spec"]), (200, &json!({"address": "k:2"})), "{changed}");
    let (_, _, list) = ask(&server, "GET", &path("v2"), Value::Null).await;
    assert_eq!(list["items"][0]["spec"], json!({"address": "k:2"}));
    let watch = format!("{}?watch=1&timeoutSeconds=1&resourceVersion=0", path("v2"));
    let (_, _, event) = ask(&server, "GET", &watch, Value::Null).await;
    assert_eq!((&event["type"], &event["object"]["spec"]), (&json!("ADDED"), &json!({"address": "k:2"})));
}

/// Connects to loopback whatever the address of the pod network.
struct ToLoopback;

impl coracle_apiserver::Dialer for ToLoopback {
    fn dial(
        &self,
        address: std::net::SocketAddr,
    ) -> futures::future::BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(tokio::net::TcpStream::connect(("127.0.0.1", address.port())))
    }
}

/// A server, and another that answers for `metrics.example.org/v1` behind a service of its cluster.
pub async fn with_another() -> Server {
    let options =
        coracle_apiserver::Options { dialer: Some(std::sync::Arc::new(ToLoopback)), ..crate::support::options() };
    let server = Server::start(coracle_store::Store::in_memory(), options).await.unwrap();
    let refers = |to: &str| json!({"$ref": format!("#/definitions/{to}")});
    let figure = json!([{"group": "metrics.example.org", "version": "v1", "kind": "Figure"}]);
    let document = json!({"swagger": "2.0", "info": {"title": "figures", "version": "v1"},
        "paths": {
            "/apis/metrics.example.org/v1/figures": {"get": {
                "responses": {"200": {"description": "OK", "schema": refers("Figure")}},
                "x-kubernetes-action": "list", "x-kubernetes-group-version-kind": figure[0],
            }},
            "/version/": {"get": {"responses": {"200": {"description": "OK", "schema": refers("Version")}}}},
        },
        "definitions": {
            "Version": {"type": "object"},
            "io.k8s.api.core.v1.Pod": {"type": "object", "description": "Another pod."},
            "Figure": {
                "description": "A figure that somebody counted.", "type": "object",
                "properties": {"digits": {"description": "How many it has.", "type": "integer"}, "of": refers("io.k8s.api.core.v1.Pod")},
                "x-kubernetes-group-version-kind": figure,
            },
        },
    });
    let other = hook_server(move |path, _| match path {
        "/openapi/v2" => document.clone(),
        "/apis/metrics.example.org/v1" => json!({"kind": "APIResourceList", "resources": [
            {"name": "figures", "singularName": "figure", "namespaced": true, "kind": "Figure", "verbs": ["get", "list"]},
        ]}),
        path => json!({"kind": "Figure", "apiVersion": "metrics.example.org/v1", "metadata": {"name": path}}),
    })
    .await;
    let port: u16 = other.url.rsplit(':').next().unwrap().parse().unwrap();
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443, "targetPort": port}]}});
    assert_eq!(ask(&server, "POST", "/api/v1/namespaces/default/services", service).await.0, 201);
    let slice = json!({
        "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.42.0.9"], "conditions": {"ready": true}}], "ports": [{"name": "", "port": port}],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let (status, _, made) = ask(&server, "POST", slices, slice).await;
    assert_eq!(status, 201, "{made}");
    let api_service = json!({"metadata": {"name": "v1.metrics.example.org"}, "spec": {
        "group": "metrics.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": {"namespace": "default", "name": "hook"}, "caBundle": other.ca_bundle,
    }});
    let api_services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let (status, _, made) = ask(&server, "POST", api_services, api_service).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("{api_services}/v1.metrics.example.org");
    let begun = Instant::now();
    loop {
        let (_, _, seen) = ask(&server, "GET", &path, Value::Null).await;
        if seen["status"]["conditions"][0]["status"] == "True" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{seen}");
        tokio::task::yield_now().await;
    }
    server
}

#[tokio::test]
async fn another_server_answers_for_a_version() {
    let server = with_another().await;
    let (_, _, groups) = ask(&server, "GET", "/apis", Value::Null).await;
    assert!(groups.to_string().contains("metrics.example.org/v1"), "{groups}");
    let figure = "/apis/metrics.example.org/v1/namespaces/default/figures/f";
    let (status, _, seen) = ask(&server, "GET", figure, Value::Null).await;
    assert_eq!((status, &seen["metadata"]["name"]), (200, &json!(figure)), "{seen}");
}

#[tokio::test]
async fn what_another_server_serves_is_described_with_the_rest() {
    let server = with_another().await;
    for _ in 0..2 {
        let (_, _, document) = ask(&server, "GET", "/openapi/v2", Value::Null).await;
        let (paths, definitions) = (&document["paths"], &document["definitions"]);
        assert!(paths["/apis/metrics.example.org/v1/figures"]["get"].is_object());
        assert!(paths["/api/v1/pods"]["get"].is_object() && definitions["Version"].is_null());
        // A definition that is another one here does not take its name.
        assert_eq!(definitions["Figure"]["properties"]["of"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod_v2");
        assert_eq!(definitions["io.k8s.api.core.v1.Pod_v2"]["description"], "Another pod.");
        assert_ne!(definitions["io.k8s.api.core.v1.Pod"]["description"], "Another pod.");
    }
    // One that cannot be reached any more is left out.
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/hook";
    assert_eq!(ask(&server, "DELETE", slices, Value::Null).await.0, 200);
    crate::support::eventually("the figures to be gone", || async {
        let (_, _, document) = ask(&server, "GET", "/openapi/v2", Value::Null).await;
        document["paths"]["/apis/metrics.example.org/v1/figures"].is_null()
    })
    .await;
}
