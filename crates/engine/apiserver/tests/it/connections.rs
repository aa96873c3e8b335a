//! Logs, exec and proxies: passed on to the node agent, byte for byte once both sides switch protocols.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use coracle_apiserver::{Dialer, Options, Server};
use coracle_store::Store;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{LogParams, PostParams},
};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
};

use crate::support::{Listening, TOKEN, client, listen, options};

/// A node agent that says what it was asked, and echoes what it is sent after an upgrade.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().to_string();
    if target.contains("previous=true") {
        return Ok(Response::builder()
            .status(400)
            .body(Full::new("previous terminated container not found\n".into()))
            .unwrap());
    }
    if !request.headers().contains_key("upgrade") {
        return Ok(Response::new(Full::new(format!("{} {target}", request.method()).into())));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    coracle_tasks::spawn("echo", async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(format!("[{target}]").as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let answer = Response::builder().status(101).header("upgrade", "SPDY/3.1").header("connection", "upgrade");
    Ok(answer.body(Full::default()).unwrap())
}

fn serve<S>(stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    coracle_tasks::spawn("fake-agent", async move { connection.with_upgrades().await });
}

fn agent(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    coracle_tasks::spawn("fake-agents", async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream);
        }
    });
}

/// A pod network in which everybody is the same web server.
struct OneServer(SocketAddr);

impl Dialer for OneServer {
    fn dial(&self, _: SocketAddr) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(self.0))
    }
}

async fn with_pod() -> (Listening, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("node.sock");
    agent(&socket);
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialer = Arc::new(OneServer(web.local_addr().unwrap()));
    coracle_tasks::spawn("fake-pods", async move {
        while let Ok((stream, _)) = web.accept().await {
            serve(stream);
        }
    });
    let options = Options { node_socket: socket, dialer: Some(dialer), ..options() };
    let server = Server::start(Store::in_memory(), options).await.unwrap();
    let client = client(&server);
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::default_namespaced(client.clone());
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [
        {"name": "a", "image": "i", "ports": [{"containerPort": 8080}]}, {"name": "b", "image": "i"},
    ]}});
    let pods: Api<Pod> = Api::default_namespaced(client);
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({"status": {"podIP": "10.42.0.9"}});
    pods.patch_status("p", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(status)).await.unwrap();
    (listen(server).await, directory)
}

/// Sends a request written by hand, and gives back the stream with the answer's head.
async fn ask(
    listening: &Listening,
    target: &str,
    headers: &str,
) -> (tokio_rustls::client::TlsStream<TcpStream>, String) {
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(listening.tls.clone());
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

async fn read_exactly(stream: &mut (impl AsyncReadExt + Unpin), count: usize) -> String {
    let mut buffer = vec![0; count];
    stream.read_exact(&mut buffer).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_from_the_node_agent() {
    let (listening, _directory) = with_pod().await;
    let pods: Api<Pod> = Api::default_namespaced(client(&listening.server));
    let wanted = LogParams { container: Some("b".into()), tail_lines: Some(3), ..LogParams::default() };
    assert_eq!(pods.logs("p", &wanted).await.unwrap(), "GET /containerLogs/default/p/b?tailLines=3");
    let earlier = LogParams { container: Some("b".into()), previous: true, ..LogParams::default() };
    let refused = pods.logs("p", &earlier).await.unwrap_err().to_string();
    assert!(refused.contains("previous terminated container not found: BadRequest"), "{refused}");
    let unclear = pods.logs("p", &LogParams::default()).await.unwrap_err().to_string();
    assert!(unclear.contains("a container name must be specified for pod p, choose one of: [a b]"), "{unclear}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_is_a_pipe_to_the_node_agent() {
    let (listening, _directory) = with_pod().await;
    let target = "/api/v1/namespaces/default/pods/p/exec?command=echo&command=a%20b&stdin=true&stdout=true&container=a";
    let (mut stream, head) = ask(&listening, target, "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let seen = "[/exec/default/p/a?command=echo&command=a%20b&stdin=true&stdout=true&input=1&output=1]";
    assert_eq!(read_exactly(&mut stream, seen.len()).await, seen);
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(read_exactly(&mut stream, word.len()).await, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_nodes_are_reached_through_the_server() {
    let (listening, _directory) = with_pod().await;
    for (target, expected) in [
        ("/api/v1/namespaces/default/pods/p/proxy/a%20b/c?d=e", "GET /a%20b/c?d=e"),
        ("/api/v1/namespaces/default/pods/p:8080/proxy/", "GET /"),
    ] {
        let (mut stream, head) = ask(&listening, target, "").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(read_exactly(&mut stream, expected.len()).await, expected);
    }
    let (_, head) = ask(&listening, "/api/v1/namespaces/default/pods/p/proxy", "").await;
    assert!(head.contains("location: /api/v1/namespaces/default/pods/p/proxy/"), "{head}");
    let (_, head) = ask(&listening, "/api/v1/nodes/nowhere/proxy/metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}
