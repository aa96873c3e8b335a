//! The doors to what the node drives: containers and images behind [`PodRuntime`], addresses behind [`PodNetwork`].
//! The real ones are thin adapters (`adapters.rs`); the fake ones record what they are asked and fail when told to.

use std::{collections::BTreeMap, io, net::IpAddr, path::PathBuf, time::Duration};

use coracle_runtime::{ContainerSpec, Namespaces, User};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::broadcast,
};

use crate::streams::remote::TerminalSize;

/// An image as far as a container needs to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// `repository@sha256:…`; empty where it was built here and never pushed.
    pub digest: String,
    pub references: Vec<String>,
    pub layers: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub stop_signal: Option<String>,
    pub size_bytes: u64,
}

impl ImageInfo {
    /// What a container status calls it.
    pub fn status_id(&self) -> String {
        if self.digest.is_empty() { self.id.clone() } else { self.digest.clone() }
    }
}

/// A name and password for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// As in `auths` of a Docker configuration: a host, perhaps with a path.
    pub registry: String,
    pub username: String,
    pub password: String,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitInfo {
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

/// A container the runtime knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub log: Option<PathBuf>,
    /// Running since then, or how it ended.
    pub state: Result<Timestamp, ExitInfo>,
}

/// Why a container does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// `CreateContainerError`: nothing was begun.
    #[error("{0}")]
    Create(String),
    /// `StartError`: its command cannot be executed.
    #[error("{0}")]
    Start(String),
}

/// The namespaces of a new pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRequest {
    pub uid: String,
    pub hostname: String,
    pub host_network: bool,
    pub host_ipc: bool,
    pub host_pid: bool,
    pub share_pid: bool,
    pub labels: BTreeMap<String, String>,
}

/// Use of one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_ns: u64,
    pub memory_bytes: u64,
    pub working_set_bytes: u64,
    pub rss_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub pids: u64,
}

/// What a command wrote, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    pub code: i32,
    pub output: Vec<u8>,
}

/// Why a command could not be run in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecFailure {
    #[error("command timed out after {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Failed(String),
}

/// A command to run in a container, with streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    pub args: Vec<String>,
    pub stdin: bool,
    pub tty: bool,
}

/// A running process with its streams.
pub struct Process {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub control: Box<dyn ProcessControl>,
}

/// The rest of what can be done with a process.
pub trait ProcessControl: Send {
    fn resize(&mut self, size: TerminalSize);
    /// The exit code; may be cancelled and called again.
    fn wait(&mut self) -> BoxFuture<'_, Result<i32, String>>;
}

/// An effect under way.
pub type Effect<T, E = String> = BoxFuture<'static, Result<T, E>>;

/// Containers, their namespaces, and images.
pub trait PodRuntime: Send + Sync + 'static {
    /// The image if it is here; an error if that is no image's name.
    fn find_image(&self, reference: &str) -> Result<Option<ImageInfo>, String>;
    fn pull(&self, reference: &str, credentials: Vec<Credential>) -> Effect<ImageInfo>;
    fn images(&self) -> Vec<ImageInfo>;
    /// Ids and groups of `user` (as in an image's `USER`) by the image's own `/etc/passwd` and `/etc/group`.
    fn resolve_user(&self, image: &ImageInfo, user: &str) -> Result<User, String>;

    /// Idempotent. The network namespace in the answer is the caller's to fill in.
    fn create_sandbox(&self, request: SandboxRequest) -> Effect<Namespaces>;
    /// Idempotent.
    fn remove_sandbox(&self, uid: &str) -> Effect<()>;
    /// The uids of all sandboxes.
    fn sandboxes(&self) -> Vec<String>;
    /// The control group of a pod goes when its containers have.
    fn remove_pod_group(&self, uid: &str) -> Effect<()>;

    fn start(&self, spec: ContainerSpec) -> Effect<Timestamp, StartError>;
    fn list(&self) -> Vec<Found>;
    /// Every end from now on; after a lag, `list` tells what was missed.
    fn exits(&self) -> broadcast::Receiver<(String, ExitInfo)>;
    fn signal(&self, id: &str, signal: i32) -> Result<(), String>;
    /// Kills what still runs; the log stays. Idempotent.
    fn remove(&self, id: &str) -> Effect<()>;

    fn capture(&self, id: &str, args: Vec<String>, timeout: Duration) -> Effect<Captured, ExecFailure>;
    fn exec(&self, id: &str, request: ExecRequest) -> Effect<Process>;
    fn attach(&self, id: &str) -> Effect<Process>;

    fn usage(&self, id: &str) -> Effect<Usage>;
    fn pod_usage(&self, uid: &str) -> Option<Usage>;
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub ips: Vec<IpAddr>,
    pub namespace: PathBuf,
}

/// Addresses of pods.
pub trait PodNetwork: Send + Sync + 'static {
    /// Idempotent: a pod that is attached keeps its address.
    fn attach(&self, uid: &str) -> Effect<Attachment>;
    /// Idempotent.
    fn detach(&self, uid: &str) -> Effect<()>;
    /// Every attached pod by uid.
    fn attached(&self) -> BTreeMap<String, Attachment>;
    /// The namespace of the node, for pods that share it.
    fn node_namespace(&self) -> PathBuf;
    /// The node's addresses.
    fn node_ips(&self) -> Vec<IpAddr>;
    /// Connects to a port on the loopback of the pod (or of the node, for `None`).
    fn dial_loopback(&self, uid: Option<&str>, port: u16) -> BoxFuture<'static, io::Result<TcpStream>>;
}
