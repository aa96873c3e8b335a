//! A node in a directory of its own, and sockets inside its pods.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use coracle_kernel::netns::NetworkNamespace;
use coracle_network::{Config, Node, PodNetwork};

/// Far more than any answer takes, far less than a hang.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A node that is removed at the end of its test, also of one that fails.
pub struct Cluster {
    pub node: Node,
    directory: tempfile::TempDir,
}

impl Cluster {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { node_port_bind: None, ..Config::default() };
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
