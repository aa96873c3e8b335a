//! A node in a directory of its own, and sockets inside its pods.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use coracle_fake_api::FakeApi;
use coracle_kernel::netns::NetworkNamespace;
use coracle_network::{Config, Node, PodNetwork, Running, Runtimes, Transport, Upstream};
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, rdata::A},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Far more than any answer takes, far less than a hang.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A node that is removed at the end of its test, also of one that fails.
pub struct Cluster {
    pub node: Node,
    directory: tempfile::TempDir,
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_with(Config { node_port_bind: None, ..Config::default() })
    }

    pub fn start_with(config: Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(directory.path(), config).unwrap();
        Self { node, directory }
    }

    /// What an engine does that starts again after a crash.
    pub fn open_again(&self) -> Node {
        Node::open(self.directory.path(), self.node.config().clone()).unwrap()
    }

    /// A pod that answers each TCP connection on `port` with its name and ends it.
    pub fn pod_serving(&self, name: &str, port: u16) -> PodNetwork {
        let pod = self.node.attach(name).unwrap();
        serve(&pod, port, name);
        pod
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        Node::purge(self.directory.path()).unwrap();
    }
}

/// Runs `work` in the pod's network.
pub fn inside<T: Send>(pod: &PodNetwork, work: impl FnOnce() -> T + Send) -> T {
    NetworkNamespace::open(&pod.netns).unwrap().expect("the pod is attached").run(work).unwrap()
}

/// Runs `work` in the node's network.
pub fn on_node<T: Send>(node: &Node, work: impl FnOnce() -> T + Send) -> T {
    NetworkNamespace::open(node.netns_path()).unwrap().expect("the node is open").run(work).unwrap()
}

fn serve(pod: &PodNetwork, port: u16, name: &str) {
    let listener = inside(pod, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    let name = name.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(format!("{name} saw {from}").as_bytes());
        }
    });
}

/// What the other side says, or how the connection fails.
pub fn call(address: SocketAddr) -> String {
    let connect = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    connect().unwrap_or_else(|error| error.kind().to_string())
}

/// [`call`] from inside a pod.
pub fn call_from(pod: &PodNetwork, ip: Ipv4Addr, port: u16) -> String {
    inside(pod, || call(SocketAddr::from((ip, port))))
}

/// Returns once `condition` holds, and after how long.
pub fn eventually(what: &str, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

/// The room at work against an API of the test's own, with the host's network played by `host`.
pub struct Engine {
    pub api: FakeApi,
    inside: Runtime,
    outside: Runtime,
    running: Option<Running>,
    names: Option<Arc<dyn Upstream>>,
}

struct OneName;

impl Upstream for OneName {
    fn exchange(&self, query: Vec<u8>, _: Transport) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let query = Message::from_vec(&query).unwrap();
        let name = query.queries[0].name().clone();
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        let known = name == Name::from_ascii("known.example.org.").unwrap();
        answer.add_answer(Record::from_rdata(name, 20, RData::A(A::new(192, 0, 2, 7))));
        let answer = if known { Ok(answer.to_vec().unwrap()) } else { Err(io::ErrorKind::TimedOut.into()) };
        async move { answer }.boxed()
    }
}

impl Engine {
    pub fn start(node: &Node, host: &Node) -> Self {
        Self::start_inner(node, host, None)
    }

    /// With a resolver on the host that knows one name, `known.example.org`.
    pub fn start_with_names(node: &Node, host: &Node) -> Self {
        Self::start_inner(node, host, Some(Arc::new(OneName)))
    }

    fn start_inner(node: &Node, host: &Node, names: Option<Arc<dyn Upstream>>) -> Self {
        let mut engine = Self {
            api: FakeApi::default(),
            inside: node.runtime(1).unwrap(),
            outside: host.runtime(1).unwrap(),
            running: None,
            names,
        };
        engine.resume(node);
        engine
    }

    /// As after a crash: another start over the same namespace and the same API.
    pub fn resume(&mut self, node: &Node) {
        self.crash();
        let _context = self.outside.enter();
        let runtimes = Runtimes { node: self.inside.handle().clone(), host: self.outside.handle().clone() };
        let running = match &self.names {
            Some(names) => node.start_with_upstream(self.api.client(), runtimes, Arc::clone(names)),
            None => node.start(self.api.client(), runtimes),
        };
        self.outside.block_on(async { tokio::time::timeout(PATIENCE, running.ready()).await }).expect("ready");
        self.running = Some(running);
    }

    /// All tasks end; the kernel goes on.
    pub fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            self.outside.block_on(running.stop());
        }
    }

    pub fn put_service(&self, name: &str, spec: Value) {
        let metadata = json!({"namespace": "shop", "name": name, "uid": name});
        self.api.put("/api/v1/services", json!({"metadata": metadata, "spec": spec}));
    }

    /// The ready endpoints of a service: address and port of each.
    pub fn put_endpoints(&self, service: &str, protocol: &str, port: u16, ips: &[Ipv4Addr]) {
        let endpoints: Vec<_> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
        self.api.put(
            "/apis/discovery.k8s.io/v1/endpointslices",
            json!({
                "metadata": {"namespace": "shop", "name": service, "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4",
                "ports": [{"name": "main", "port": port, "protocol": protocol}],
                "endpoints": endpoints,
            }),
        );
    }
}
