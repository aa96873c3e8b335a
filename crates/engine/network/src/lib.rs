//! Pod network, service load balancing, cluster DNS: all of it inside one network namespace of the engine's own.
//!
//! The interface of this room, as the node agent and the binary use it:
//!
//! ```ignore
//! /// What the addresses of this node are. `Default` is 10.42.0.0/16 for pods, 10.43.0.0/16 for services.
//! pub struct Config {
//!     pub pod_cidr: Ipv4Net,            // the node's own address is its first one, 10.42.0.1
//!     pub service_cidr: Ipv4Net,
//!     pub dns_ip: Ipv4Addr,             // 10.43.0.10, answered inside the node's namespace
//!     pub cluster_domain: String,       // cluster.local
//!     pub node_port_bind: Option<IpAddr>, // where NodePorts listen on the host too; 127.0.0.1
//! }
//!
//! /// The node's network namespace. Cheap to clone. All calls block for a few milliseconds: use spawn_blocking.
//! #[derive(Clone)]
//! pub struct Node;
//! impl Node {
//!     pub fn open(run_dir: &Path, config: Config) -> Result<Node, Error>; // makes or adopts
//!     pub fn config(&self) -> &Config;
//!     pub fn ip(&self) -> Ipv4Addr;            // the node's address; the podIP of hostNetwork pods
//!     pub fn netns_path(&self) -> &Path;       // for hostNetwork pods
//!     pub fn enter(&self) -> Result<(), Error>;// moves the calling thread: tokio's on_thread_start
//!     pub fn runtime(&self, worker_threads: usize) -> Result<tokio::runtime::Runtime, Error>; // entered workers
//!
//!     /// Idempotent: a pod that is attached already (also by an engine that crashed) keeps its address and namespace.
//!     pub fn attach(&self, pod_uid: &str) -> Result<PodNetwork, Error>;
//!     /// Idempotent: nothing happens for a pod that is not attached.
//!     pub fn detach(&self, pod_uid: &str) -> Result<(), Error>;
//!     /// Every attached pod whose namespace is alive.
//!     pub fn list(&self) -> Vec<PodNetwork>;
//!
//!     /// Service rules, DNS, egress, NodePorts on the host: runs until the returned guard is stopped or dropped.
//!     pub fn start(&self, client: kube::Client, runtimes: Runtimes) -> Running;
//!     /// Removes the namespaces and every record below `run_dir`. For `down --purge`, after all pods are gone.
//!     pub fn purge(run_dir: &Path) -> Result<(), Error>;
//! }
//!
//! pub struct PodNetwork { pub pod_uid: String, pub ip: Ipv4Addr, pub netns: PathBuf }
//!
//! /// Sockets belong to the namespace of the thread that makes them: one runtime inside, one on the host.
//! pub struct Runtimes { pub node: tokio::runtime::Handle, pub host: tokio::runtime::Handle }
//!
//! /// Connects from inside the node's namespace, whatever runtime the caller is on.
//! #[derive(Clone)]
//! pub struct NodeDialer;
//! impl NodeDialer {
//!     pub fn new(node_runtime: tokio::runtime::Handle) -> NodeDialer;
//!     pub async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream>;
//! }
//!
//! impl Running {
//!     pub async fn ready(&self);  // the first full set of services is in the kernel, DNS answers
//!     pub async fn stop(self);    // ends the tasks; rules stay in the kernel
//! }
//! ```
