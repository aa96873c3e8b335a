//! Connections that go on as another protocol.

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Browser, Edge, HOST, Pod, eventually, request};

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_is_carried() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let mut wanted = request("GET", HOST, "/switch", "");
    wanted.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    wanted.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let response = Browser::connect(edge.address).await.send(wanted).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["upgrade"].to_str().unwrap()), (101, "echo"));
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for word in ["hello", "again"] {
        io.write_all(word.as_bytes()).await.unwrap();
        let mut echo = [0; 5];
        io.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, word.as_bytes());
    }
    let in_flight = || edge.gateway.routes()[0].in_flight;
    assert_eq!(in_flight(), 1);
    drop(io);
    eventually("the connection is over", async || in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_switches_unasked_is_not_followed() {
    let edge = Edge::start().await;
    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let response = Browser::connect(edge.address).await.send(request("GET", HOST, "/switch", "")).await.unwrap();
    assert_eq!(response.status().as_u16(), 502);
    assert!(response.into_body().collect().await.is_ok());
}
