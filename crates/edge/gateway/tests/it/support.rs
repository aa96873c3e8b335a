//! A gateway with an API of the test's own, pods on loopback, and a client.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use coracle_fake_api::FakeApi;
use coracle_gateway::{Dialer, Gateway, Options};
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};

pub const PATIENCE: Duration = Duration::from_secs(5);
pub const HOST: &str = "app.localhost";

pub struct Loopback;

impl Dialer for Loopback {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        TcpStream::connect(address).boxed()
    }
}

/// A gateway with one ingress for [`HOST`] to the service `web`.
pub struct Edge {
    pub api: FakeApi,
    pub gateway: Gateway,
    pub address: SocketAddr,
}

impl Edge {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let api = FakeApi::default();
        api.put(
            "/api/v1/services",
            json!({"metadata": {"namespace": "app", "name": "web"}, "spec": {"ports": [{"port": 80}]}}),
        );
        put_ingress(&api, json!({}));
        let gateway = Gateway::start(api.client(), Arc::new(Loopback), options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        gateway.serve_http(listener);
        tokio::time::timeout(PATIENCE, gateway.ready()).await.unwrap();
        Self { api, gateway, address }
    }

    /// Makes `pods` the ready endpoints of the service, and waits until the gateway uses just them.
    pub async fn put_pods(&self, pods: &[&Pod]) {
        for old in self.api.objects("/apis/discovery.k8s.io/v1/endpointslices") {
            let name = old["metadata"]["name"].as_str().unwrap();
            if !pods.iter().any(|pod| pod.name == name) {
                self.api.delete("/apis/discovery.k8s.io/v1/endpointslices", "app", name);
            }
        }
        for pod in pods {
            self.api.put(
                "/apis/discovery.k8s.io/v1/endpointslices",
                json!({
                    "metadata": {"namespace": "app", "name": pod.name, "labels": {"kubernetes.io/service-name": "web"}},
                    "addressType": "IPv4", "ports": [{"port": pod.address.port()}],
                    "endpoints": [{"addresses": [pod.address.ip()]}],
                }),
            );
        }
    }

    /// Asks until the answers come from exactly these pods.
    pub async fn wait_for(&self, pods: &[&Pod]) {
        eventually("the gateway follows the endpoints", async || {
            let mut names = std::collections::BTreeSet::new();
            for _ in 0..pods.len() * 4 {
                names.insert(get(self.address, HOST, "/").await.unwrap_or_default().1);
            }
            names.len() == pods.len() && pods.iter().all(|pod| names.contains(&pod.name))
        })
        .await;
    }
}

pub fn put_ingress(api: &FakeApi, more: Value) {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let mut spec = json!({"rules": [{"host": HOST, "http": {"paths": [path]}}]});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    api.put(
        "/apis/networking.k8s.io/v1/ingresses",
        json!({"metadata": {"namespace": "app", "name": "web"}, "spec": spec}),
    );
}

/// A web server that answers with its name: `/slow` once it is let go, `/never` not at all, `/echo` with the body,
/// `/headers` with what it was sent.
pub struct Pod {
    pub name: String,
    pub address: SocketAddr,
    pub state: Arc<PodState>,
    accept: AbortHandle,
    alive: watch::Sender<()>,
}

#[derive(Default)]
pub struct PodState {
    pub requests: AtomicUsize,
    pub connections: AtomicUsize,
    pub let_go: Notify,
}

impl Pod {
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    pub async fn start_at(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, alive) = (Arc::<PodState>::default(), watch::channel(()).0);
        let serve = accept(listener, name.to_owned(), Arc::clone(&state), alive.subscribe());
        let accept = spawn(serve).abort_handle();
        Self { name: name.to_owned(), address, state, accept, alive }
    }

    /// As SIGKILL does: the port closes, and every connection breaks off.
    pub fn kill(self) -> SocketAddr {
        self.accept.abort();
        drop(self.alive);
        self.address
    }
}

async fn accept(listener: TcpListener, name: String, state: Arc<PodState>, alive: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_zero_linger().unwrap();
        let (name, state, mut alive) = (name.clone(), Arc::clone(&state), alive.clone());
        connections.spawn(async move {
            state.connections.fetch_add(1, Ordering::SeqCst);
            let service = service_fn(|request| pod_answer(request, name.clone(), Arc::clone(&state)));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection.with_upgrades() => {}
                _ = alive.changed() => {}
            }
            state.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn pod_answer(
    mut request: Request<Incoming>,
    name: String,
    state: Arc<PodState>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let text = match request.uri().path() {
        "/slow" => {
            state.let_go.notified().await;
            name
        }
        "/never" => std::future::pending().await,
        "/echo" => match request.into_body().collect().await {
            Ok(body) => return Ok(Response::new(Full::new(body.to_bytes()))),
            Err(_) => String::new(),
        },
        "/switch" => {
            let upgraded = hyper::upgrade::on(&mut request);
            spawn(async move {
                let mut io = TokioIo::new(upgraded.await.unwrap());
                let (mut reader, mut writer) = tokio::io::split(&mut io);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
            let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
            return Ok(response.body(Full::default()).unwrap());
        }
        "/headers" => {
            let mut lines: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
                .collect();
            lines.sort();
            lines.concat()
        }
        _ => name,
    };
    Ok(Response::new(Full::new(Bytes::from(text))))
}

/// A task of the test's.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    coracle_tasks::spawn("test", future)
}

/// One connection to the gateway.
pub struct Browser(http1::SendRequest<Full<Bytes>>);

impl Browser {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn(connection.with_upgrades());
        Self(sender)
    }

    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<(StatusCode, String)> {
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.0.send_request(request).await
    }
}

pub fn request(method: &str, host: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).header("host", host).body(Full::new(body.into())).unwrap()
}

pub async fn get(address: SocketAddr, host: &str, path: &str) -> hyper::Result<(StatusCode, String)> {
    Browser::connect(address).await.ask(request("GET", host, path, "")).await
}

/// Returns once `condition` holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks steadily over a few kept connections until told to end; every answer that is no 200 is kept.
pub struct Load {
    workers: JoinSet<(usize, Vec<String>)>,
    end: watch::Sender<bool>,
    pub answered: Arc<AtomicUsize>,
}

impl Load {
    pub fn start(address: SocketAddr, method: &'static str) -> Self {
        let (end, ended) = watch::channel(false);
        let (mut workers, answered) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        for _ in 0..8 {
            let (ended, answered) = (ended.clone(), Arc::clone(&answered));
            workers.spawn(async move {
                let (mut browser, mut count, mut failed) = (Browser::connect(address).await, 0, Vec::new());
                while !*ended.borrow() {
                    count += 1;
                    match browser.ask(request(method, HOST, "/", "some body")).await {
                        Ok((StatusCode::OK, _)) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Ok((status, text)) => failed.push(format!("{status} {text}")),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                (count, failed)
            });
        }
        Self { workers, end, answered }
    }

    /// Lets so many more requests be answered.
    pub async fn go_on(&self, requests: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + requests;
        eventually("the load goes on", async || self.answered.load(Ordering::Relaxed) >= goal).await;
    }

    pub async fn end(self) -> Vec<String> {
        self.end.send_replace(true);
        self.workers.join_all().await.into_iter().flat_map(|(_, failed)| failed).collect()
    }
}
