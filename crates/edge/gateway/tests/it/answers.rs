//! What clients get, and from whom.

use std::{collections::BTreeMap, time::Duration};

use coracle_gateway::Options;
use expect_test::expect;
use http::StatusCode;
use serde_json::json;

use crate::support::{Browser, Edge, HOST, Pod, eventually, get, put_ingress, request};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_spread_evenly() {
    let edge = Edge::start().await;
    let pods = [Pod::start("one").await, Pod::start("two").await, Pod::start("three").await];
    edge.put_pods(&pods.each_ref()).await;
    edge.wait_for(&pods.each_ref()).await;
    let mut tally = BTreeMap::<String, usize>::new();
    let mut browser = Browser::connect(edge.address).await;
    for _ in 0..600 {
        *tally.entry(browser.ask(request("GET", HOST, "/", "")).await.unwrap().1).or_default() += 1;
    }
    assert!(tally.len() == 3 && tally.values().all(|count| (150..=252).contains(count)), "{tally:?}");
    let stats = edge.gateway.routes().remove(0);
    assert_eq!((stats.ingress.as_str(), stats.service.as_str(), stats.in_flight), ("app/web", "app/web:80", 0));
    assert!(stats.responses[1] >= 600 && stats.duration_us > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_learns_who_asks() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let (_, headers) = get(edge.address, "App.localhost:8080", "/headers").await.unwrap();
    let headers = headers.replace(&edge.address.port().to_string(), "PORT");
    expect![[r#"
        host: App.localhost:8080
        x-forwarded-for: 127.0.0.1
        x-forwarded-host: App.localhost:8080
        x-forwarded-port: PORT
        x-forwarded-proto: http
        x-real-ip: 127.0.0.1
    "#]]
    .assert_eq(&headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_whole() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let body = "0123456789".repeat(300_000);
    let (status, echo) =
        Browser::connect(edge.address).await.ask(request("POST", HOST, "/echo", body.clone())).await.unwrap();
    assert!(status == StatusCode::OK && echo == body, "{status}, {} bytes", echo.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said() {
    let options = Options {
        retry_window: Duration::from_millis(50),
        response_timeout: Duration::from_millis(100),
        max_body_bytes: Some(8),
        ..Options::default()
    };
    let edge = Edge::start_with(options).await;
    let pod = Pod::start("one").await;
    let port = pod.address.port().to_string();
    let check = async |text: &str, expected: expect_test::Expect| {
        let (method, rest) = text.split_once(' ').unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let body = if method == "POST" { "nine bytes" } else { "" };
        let mut browser = Browser::connect(edge.address).await;
        let (_, text) = browser.ask(request(method, host, path, body)).await.unwrap();
        expected.assert_eq(&text.replace(&port, "PORT"));
    };
    check(
        "GET other.localhost/x",
        expect![[r#"
        404 Not Found: no ingress serves the host other.localhost (path /x)
    "#]],
    )
    .await;
    check("GET app.localhost/", expect![[r#"
        503 Service Unavailable: no pod of service app/web:80 is ready to answer for app.localhost; see kubectl get pods -n app
    "#]]).await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    check(
        "GET app.localhost/never",
        expect![[r#"
            504 Gateway Timeout: pod 127.0.0.1:PORT of service app/web:80 did not answer for app.localhost within 0.1 s
        "#]],
    )
    .await;
    check(
        "POST app.localhost/echo",
        expect![[r#"
        413 Payload Too Large: the request's body is larger than the 8 bytes that are allowed
    "#]],
    )
    .await;
    pod.kill();
    check("GET app.localhost/", expect![[r#"
        502 Bad Gateway: no pod of service app/web:80 takes connections for app.localhost; the last one, 127.0.0.1:PORT: Connection refused (os error 111)
    "#]]).await;
    edge.api.delete("/api/v1/services", "app", "web");
    eventually("the service is gone", async || {
        get(edge.address, HOST, "/").await.unwrap().1.contains("does not exist")
    })
    .await;
    check(
        "GET app.localhost/",
        expect![[r#"
        503 Service Unavailable: service app/web does not exist, which the ingress for app.localhost names
    "#]],
    )
    .await;
    let mut html = request("GET", "other.localhost", "/x", "");
    html.headers_mut().insert("accept", "text/html".parse().unwrap());
    let (_, page) = Browser::connect(edge.address).await.ask(html).await.unwrap();
    assert!(
        page.starts_with("<!doctype html>") && page.contains("no ingress serves the host other.localhost"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_told_where_an_ingress_is() {
    let edge = Edge::start().await;
    let status = || edge.api.objects("/apis/networking.k8s.io/v1/ingresses")[0]["status"].clone();
    let told = json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}});
    eventually("the status is written", async || status() == told).await;
    let class = edge.api.objects("/apis/networking.k8s.io/v1/ingressclasses").remove(0);
    assert_eq!(
        (&class["metadata"]["name"], &class["spec"]["controller"]),
        (&json!("coracle"), &json!("coracle.internal/gateway"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_of_another_class_is_left_alone() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    put_ingress(&edge.api, json!({"ingressClassName": "nginx"}));
    eventually("the route is gone", async || get(edge.address, HOST, "/").await.unwrap().0 == StatusCode::NOT_FOUND)
        .await;
}
