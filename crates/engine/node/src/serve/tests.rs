//! The kubelet's API over its socket, as the API server calls it, between fake doors.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use expect_test::expect;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1 as core;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{Server, bind};
use crate::{
    agent::Pods,
    fakes::{FakeNode, condition},
    streams::spdy::{
        frame::{Frame, encode, parse},
        headers::Encoder,
    },
};

struct Kubelet {
    node: FakeNode,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Kubelet {
    /// A node with one pod that runs.
    async fn new() -> Self {
        let node = FakeNode::new();
        let pods = Arc::new(Pods::default());
        let pod: core::Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": { "containers": [{ "name": "a", "image": "one:1" }] },
        }))
        .expect("a pod");
        pods.adopt_for_test(&node.context, pod);
        node.api.until(|status| condition(status, "Ready") == "True").await;
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("node.sock");
        let listener = bind(&socket).expect("bound");
        coracle_tasks::spawn("test-kubelet", Server { context: node.context.clone(), pods }.run(listener));
        Self { node, socket, _directory: directory }
    }

    async fn send(&self, request: http::request::Builder) -> http::Response<Incoming> {
        let connection = UnixStream::connect(&self.socket).await.expect("listening");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection));
        let (mut sender, connection) = handshake.await.expect("HTTP");
        coracle_tasks::spawn("test-client", connection.with_upgrades());
        let request = request.header("host", "kubelet").body(Empty::<Bytes>::new()).expect("a request");
        sender.send_request(request).await.expect("answered")
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.send(Request::get(path)).await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn upgrade(&self, request: http::request::Builder) -> TokioIo<Upgraded> {
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"))
    }

    async fn websocket(&self, path: &str, protocol: &str) -> WebSocketStream<TokioIo<Upgraded>> {
        let request = Request::get(path)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocol);
        WebSocketStream::from_raw_socket(self.upgrade(request).await, Role::Client, None).await
    }
}

#[tokio::test]
async fn plain_answers() {
    let kubelet = Kubelet::new().await;
    assert_eq!(kubelet.get("/healthz").await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(kubelet.get("/nothing").await.0, StatusCode::NOT_FOUND);
    let pods: serde_json::Value = serde_json::from_str(&kubelet.get("/pods").await.1).expect("JSON");
    assert_eq!(pods["items"][0]["metadata"]["name"], "web");
    let summary: serde_json::Value = serde_json::from_str(&kubelet.get("/stats/summary").await.1).expect("JSON");
    assert_eq!(summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"], 4096);
    let metrics = kubelet.get("/metrics/cadvisor").await.1;
    let cpu: Vec<_> = metrics.lines().filter(|line| line.starts_with("container_cpu")).collect();
    expect![[r#"
        container_cpu_usage_seconds_total{container="a",id="u1_a_0",image="one:1",namespace="shop",pod="web"} 2
        container_cpu_usage_seconds_total{container="",id="u1",image="",namespace="shop",pod="web"} 2"#]]
    .assert_eq(&cpu.join("\n"));
}

#[tokio::test]
async fn logs_of_this_run_and_the_one_before() {
    let kubelet = Kubelet::new().await;
    let log = |attempt: u32| kubelet.node.context.log_path("u1", "a", attempt);
    std::fs::write(log(0), "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n").expect("writable");
    let get = async |query: &str| kubelet.get(&format!("/containerLogs/shop/web/a?{query}")).await;
    assert_eq!(get("").await, (StatusCode::OK, "one\ntwo\n".to_owned()));
    assert_eq!(get("tailLines=1&timestamps=true").await.1, "2026-01-01T00:00:01Z two\n");
    assert_eq!(
        get("previous=true").await,
        (StatusCode::BAD_REQUEST, "previous terminated container \"a\" in pod \"web\" not found".to_owned())
    );
    assert_eq!(kubelet.get("/containerLogs/shop/web/zz").await.0, StatusCode::NOT_FOUND);
    assert_eq!(kubelet.get("/containerLogs/shop/zz/a").await.0, StatusCode::NOT_FOUND);

    kubelet.node.runtime.exit("u1_a_0", 1);
    kubelet.node.api.until(|status| status["containerStatuses"][0]["restartCount"] == 1).await;
    std::fs::write(log(1), "2026-01-01T00:00:02Z stdout F three\n").expect("writable");
    assert_eq!(get("").await.1, "three\n");
    assert_eq!(get("previous=true").await.1, "one\ntwo\n");
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let kubelet = Kubelet::new().await;
    let log = kubelet.node.context.log_path("u1", "a", 0);
    std::fs::write(&log, "2026-01-01T00:00:00Z stdout F one\n").expect("writable");
    let response = kubelet.send(Request::get("/containerLogs/shop/web/a?follow=true")).await;
    let mut body = response.into_body();
    let first = body.frame().await.expect("more").expect("readable").into_data().expect("data");
    assert_eq!(first, "one\n");
    kubelet.node.runtime.exit("u1_a_0", 0);
    let rest = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.expect("it ends");
    assert!(rest.expect("readable").to_bytes().is_empty());
}

#[tokio::test]
async fn exec_over_a_websocket() {
    let kubelet = Kubelet::new().await;
    let path = "/exec/shop/web/a?command=cat&command=-u&stdin=true&stdout=true&stderr=true";
    let mut socket = kubelet.websocket(path, "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.expect("open");
    socket.send(Message::Binary(Bytes::from_static(b"\xff\0"))).await.expect("open");
    let (mut stdout, mut status) = (String::new(), String::new());
    while let Some(Ok(Message::Binary(message))) = socket.next().await {
        let text = String::from_utf8_lossy(&message[1..]).into_owned();
        match message[0] {
            1 => stdout += &text,
            3 => status += &text,
            _ => {}
        }
    }
    // The fake process answers with its arguments and its input, and ends with 3.
    assert_eq!(stdout, "cat -u: hello");
    assert!(status.contains("\"message\":\"3\"") && status.contains("NonZeroExitCode"), "{status}");
}

#[tokio::test]
async fn exec_over_spdy() {
    let kubelet = Kubelet::new().await;
    let request = Request::post("/exec/shop/web/a?command=cat&input=1&output=1")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", "v4.channel.k8s.io")
        .header("x-stream-protocol-version", "v3.channel.k8s.io");
    let mut wire = kubelet.upgrade(request).await;
    let mut encoder = Encoder::default();
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        let headers = encoder.encode(&[("streamtype", kind)]);
        wire.write_all(&encode(&Frame::SynStream { stream, fin: false, headers })).await.expect("open");
    }
    let input = Frame::Data { stream: 3, fin: true, payload: Bytes::from_static(b"hello") };
    wire.write_all(&encode(&input)).await.expect("open");
    let (mut buffer, mut seen) = (BytesMut::new(), std::collections::BTreeMap::<u32, String>::new());
    loop {
        match parse(&mut buffer).expect("well formed") {
            Some(Frame::Data { stream, payload, .. }) => {
                *seen.entry(stream).or_default() += std::str::from_utf8(&payload).expect("text");
            }
            Some(Frame::GoAway { .. }) => break,
            Some(_) => {}
            None => assert_ne!(wire.read_buf(&mut buffer).await.expect("open"), 0),
        }
    }
    assert_eq!(seen[&5], "cat: hello");
    assert!(seen[&1].contains("command terminated with exit code 3"), "{}", seen[&1]);
}

#[tokio::test]
async fn ports_of_a_pod_through_a_websocket() {
    let kubelet = Kubelet::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    coracle_tasks::spawn("test-listener", async move {
        let (mut connection, _) = listener.accept().await.expect("dialled");
        connection.write_all(b"welcome").await.expect("open");
    });
    let mut socket = kubelet.websocket(&format!("/portForward/shop/web?ports={port}"), "v4.channel.k8s.io").await;
    let mut data = Vec::new();
    while let Some(Ok(Message::Binary(message))) = socket.next().await {
        if message[0] == 0 {
            data.extend_from_slice(&message[1..]);
        }
    }
    assert_eq!(data[..2], port.to_le_bytes());
    assert_eq!(&data[2..], b"welcome");
}
