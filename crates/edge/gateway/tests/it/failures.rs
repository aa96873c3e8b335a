//! Pods that die, leave and come back under load.

use std::{sync::atomic::Ordering, time::Duration};

use coracle_gateway::Options;
use http::StatusCode;

use crate::support::{Browser, Edge, HOST, Load, Pod, eventually, get, request, spawn};

const NONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_pod_fails_no_request() {
    let edge = Edge::start().await;
    let pods = [Pod::start("one").await, Pod::start("two").await, Pod::start("three").await];
    edge.put_pods(&pods.each_ref()).await;
    edge.wait_for(&pods.each_ref()).await;
    let load = Load::start(edge.address, "GET");
    let [victim, two, three] = pods;
    load.go_on(300).await;
    let address = victim.kill();
    // Nobody has noticed yet: the pod is still an endpoint.
    load.go_on(300).await;
    edge.put_pods(&[&two, &three]).await;
    load.go_on(300).await;
    let back = Pod::start_at("one", address).await;
    edge.put_pods(&[&back, &two, &three]).await;
    eventually("the pod is back in rotation", async || back.state.requests.load(Ordering::SeqCst) > 50).await;
    assert_eq!(load.end().await, NONE);
    assert!(edge.gateway.routes()[0].retries > 0, "the kill went unnoticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_in_turn_is_replaced_under_load() {
    let edge = Edge::start().await;
    let mut pods = vec![Pod::start("a").await, Pod::start("b").await];
    edge.put_pods(&Vec::from_iter(&pods)).await;
    edge.wait_for(&Vec::from_iter(&pods)).await;
    let load = Load::start(edge.address, "PUT");
    for name in ["c", "d", "e", "f"] {
        pods.push(Pod::start(name).await);
        let old = pods.remove(0);
        edge.put_pods(&Vec::from_iter(&pods)).await;
        old.kill();
        load.go_on(150).await;
    }
    assert_eq!(load.end().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_pod_that_restarts_costs_time_but_no_request() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let load = Load::start(edge.address, "GET");
    load.go_on(100).await;
    let address = pod.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _back = Pod::start_at("one", address).await;
    load.go_on(100).await;
    assert_eq!(load.end().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_first_pod() {
    let edge = Edge::start().await;
    let asked = spawn(get(edge.address, HOST, "/"));
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    assert_eq!(asked.await.unwrap().unwrap(), (StatusCode::OK, "one".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_pod_ends_what_it_began_and_gets_nothing_new() {
    let edge = Edge::start().await;
    let (old, new) = (Pod::start("old").await, Pod::start("new").await);
    edge.put_pods(&[&old]).await;
    edge.wait_for(&[&old]).await;
    let before = old.state.requests.load(Ordering::SeqCst);
    let slow = spawn(get(edge.address, HOST, "/slow"));
    eventually("the slow request arrived", async || old.state.requests.load(Ordering::SeqCst) > before).await;
    edge.put_pods(&[&new]).await;
    edge.wait_for(&[&new]).await;
    let at_leave = old.state.requests.load(Ordering::SeqCst);
    eventually("unused connections are closed", async || old.state.connections.load(Ordering::SeqCst) == 1).await;
    for _ in 0..20 {
        assert_eq!(get(edge.address, HOST, "/").await.unwrap().1, "new");
    }
    old.state.let_go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap(), (StatusCode::OK, "old".to_owned()));
    assert_eq!(old.state.requests.load(Ordering::SeqCst), at_leave);
    eventually("the last connection is closed", async || old.state.connections.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_done_twice_is_not() {
    let options = Options { retry_window: Duration::from_millis(300), ..Options::default() };
    let edge = Edge::start_with(options).await;
    let (first, second) = (Pod::start("first").await, Pod::start("second").await);
    edge.put_pods(&[&first]).await;
    edge.wait_for(&[&first]).await;
    let (before, address) = (first.state.requests.load(Ordering::SeqCst), edge.address);
    let post = async move { Browser::connect(address).await.ask(request("POST", HOST, "/slow", "x")).await };
    let post = spawn(post);
    eventually("the request arrived", async || first.state.requests.load(Ordering::SeqCst) > before).await;
    first.kill();
    let (status, text) = post.await.unwrap().unwrap();
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(text.contains("ended the connection before it answered for app.localhost"), "{text}");
    // One that no pod has seen is sent to the next.
    edge.put_pods(&[&second]).await;
    let answer = Browser::connect(edge.address).await.ask(request("POST", HOST, "/echo", "whole")).await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "whole".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_lets_open_requests_end() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let address = edge.address;
    let before = pod.state.requests.load(Ordering::SeqCst);
    let slow = spawn(get(address, HOST, "/slow"));
    eventually("the slow request arrived", async || pod.state.requests.load(Ordering::SeqCst) > before).await;
    let stopped = spawn(edge.gateway.stop());
    eventually("no more clients are taken", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    pod.state.let_go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().1, "one");
    stopped.await.unwrap();
}
