//! Images on disk, containers, cgroups.
//!
//! [`Runtime`] is the only handle: cheap to clone. Containers outlive it: each has a shim (this binary, executed again as
//! `EXE __shim …`), and `Runtime::open` finds them again.
//!
//! ```text
//! ROOT/images/layers/HEX      unpacked layers by diff id        ROOT/containers/ID/spec.json   what it was asked to be
//! ROOT/images/configs/HEX     image configurations              ROOT/containers/ID/state.json  pid, start time
//! ROOT/images/records/HEX     reference -> image                ROOT/containers/ID/exit.json   how it ended
//! ROOT/sandboxes/ID/{ipc,uts,pid}  namespaces, bind-mounted     ROOT/containers/ID/upper       what it wrote
//! ```
//!
//! The interface, whole:
//!
//! ```ignore
//! // in main(), before any runtime is made: `coracle __shim …`
//! pub fn shim_main(args: impl Iterator<Item = OsString>) -> !;   // args after "__shim"
//!
//! pub struct Options { pub root: PathBuf, pub cgroup: String /* "/coracle-1a2b3c" */, pub shim: PathBuf /* the binary */,
//!                      pub mirrors: BTreeMap<String, String> /* registry host -> base URL */, pub seccomp_... }
//! impl Runtime {
//!     pub async fn open(options: Options) -> Result<Runtime, Error>;      // adopts what runs
//!     pub fn images(&self) -> &Images;
//!     // sandboxes: what the containers of a pod share (the network namespace is made by the network room)
//!     pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, Error>;
//!     pub async fn remove_sandbox(&self, id: &str) -> Result<(), Error>;  // no error where it is gone already
//!     pub fn sandboxes(&self) -> Vec<Sandbox>;                            // adopted ones too
//!     // containers
//!     pub async fn start(&self, spec: ContainerSpec) -> Result<ContainerStatus, Error>;   // create and start; Error::Start{message} = StartError
//!     pub fn list(&self) -> Vec<ContainerStatus>;                         // adopted, running and exited ones
//!     pub fn status(&self, id: &str) -> Option<ContainerStatus>;
//!     pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event>;    // Event { id, exit }; on Lagged: list()
//!     pub async fn wait(&self, id: &str) -> Result<Exit, Error>;
//!     pub fn signal(&self, id: &str, signal: i32) -> Result<(), Error>;
//!     pub async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, Error>;  // then SIGKILL
//!     pub async fn remove(&self, id: &str) -> Result<(), Error>;          // kills what still runs; the log file stays
//!     pub async fn stats(&self, id: &str) -> Result<Stats, Error>;
//!     pub async fn exec(&self, id: &str, spec: ExecSpec) -> Result<ProcessStreams, ExecError>;   // interactive; dropping it kills
//!     pub async fn exec_capture(&self, id: &str, args: &[String], timeout: Duration, limit_bytes: usize) -> Result<ExecOutput, ExecError>; // probes, hooks
//!     pub async fn attach(&self, id: &str) -> Result<ProcessStreams, ExecError>;                 // the main process; dropping it detaches
//!     // cgroups of a pod: "pods/UID"
//!     pub fn set_cgroup(&self, path: &str, resources: &Resources) -> Result<(), Error>;
//!     pub fn cgroup_stats(&self, path: &str) -> Result<Stats, Error>;
//!     pub fn remove_cgroup(&self, path: &str) -> Result<(), Error>;
//!     // Dockerfile RUN
//!     pub async fn run_build_step(&self, step: BuildStep, on_line: impl FnMut(&str) + Send) -> Result<i32, Error>;
//!     // `down --purge`: ends every container, removes mounts, cgroups and directories of ours
//!     pub async fn purge(self) -> Result<(), Error>;
//! }
//! pub struct ContainerStatus { pub id: String, pub labels: BTreeMap<String, String>, pub image: String, pub log: Option<PathBuf>, pub state: State, pub cgroup: String }
//! pub enum State { Running { pid: i32, started_at: Timestamp }, Exited(Exit) }
//! pub struct Exit { pub code: i32, pub signal: Option<i32>, pub oom_killed: bool, pub started_at: Timestamp, pub finished_at: Timestamp,
//!                   pub lost: bool /* the shim was killed too: code is 137, nobody knows */ }
//! pub struct SandboxSpec { pub id: String, pub hostname: String, pub ipc: Share, pub uts..: host or own, pub share_pid: bool, pub labels }
//! pub struct Sandbox { pub id, pub labels, pub namespaces: Namespaces /* net stays New: fill in the path */ }
//! pub struct ExecSpec { pub args: Vec<String>, pub env: Vec<String>, pub cwd: Option<String>, pub user: Option<User>, pub stdin: bool, pub tty: Option<TerminalSize> }
//! pub struct ProcessStreams { pub stdin: Option<impl AsyncWrite>, pub stdout: Option<impl AsyncRead>, pub stderr: Option<impl AsyncRead>, .. }
//!     fn resize(&self, TerminalSize), async fn wait(&mut self) -> Result<i32, ExecError>
//! impl Images {
//!     pub fn find(&self, reference: &Reference) -> Option<Image>;         // present already; by tag, digest or image id
//!     pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Image, ImageError>; // credentials, progress; no network if a digest is present
//!     pub fn list(&self) -> Vec<Image>;  pub fn remove(&self, &Reference);  pub async fn collect_garbage(&self, keep: ...);
//!     pub async fn load(&self, path: &Path) -> Result<Vec<Image>, ImageError>;   // OCI layout or docker-save, directory or tar
//!     pub fn resolve_user(&self, image: &Image, user: Option<&str>, uid/gid overrides) -> Result<User, UserError>;
//! }
//! pub struct Image { pub id: String /* sha256 of config */, pub references: Vec<String>, pub digest: String /* repo@sha256 */, pub layers: Vec<String>, pub config: ImageConfig, pub size_bytes: u64 }
//! pub struct ImageConfig { pub entrypoint, pub cmd, pub env: Vec<String>, pub user: String, pub working_dir: String, pub stop_signal: Option<String>, pub labels, pub exposed_ports, pub volumes }
//! ```
mod spec;

pub use spec::{
    Capabilities, ContainerSpec, LogSpec, Mount, MountKind, Namespace, Namespaces, ProcessSpec, Propagation, Resources, Rlimit,
    Seccomp, User,
};
