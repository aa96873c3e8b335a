//! What a container is asked to be: plain data, written to disk beside the container so that a later engine can read it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Everything the shim needs to make and run one container.
///
/// Nothing in here is looked up again: users are numbers, images are layer directories, namespaces are paths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique for all time on this node, a file name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 bytes.
    pub id: String,
    /// The caller's own words (pod uid, container name, attempt), given back unchanged on adoption.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The image as `images().resolve` named it.
    pub image: String,
    /// Read-only layers by diff id (`sha256:…`), bottom first, as in [`crate::Image::layers`].
    pub layers: Vec<String>,
    pub process: ProcessSpec,
    #[serde(default)]
    pub namespaces: Namespaces,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// `readOnlyRootFilesystem`.
    #[serde(default)]
    pub read_only_root: bool,
    /// All capabilities, all devices, nothing masked, no seccomp filter, writable `/sys`.
    #[serde(default)]
    pub privileged: bool,
    /// `procMount: Unmasked`.
    #[serde(default)]
    pub unmasked_proc: bool,
    /// Below the runtime's own cgroup: `pods/UID/NAME`. Parents are made as needed and removed when empty.
    pub cgroup: String,
    #[serde(default)]
    pub resources: Resources,
    /// Where output goes, in CRI format. The directory must exist. `None` throws output away.
    pub log: Option<LogSpec>,
    /// Keep the main process's stdin open for [`crate::Runtime::attach`]; without it stdin is `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
    /// `stdinOnce`: close stdin when the first attached client goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// Namespaced kernel settings, `net.core.somaxconn` style.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
}

/// One process: the container's main one, or one that is executed in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Never empty. `args[0]` is looked up in the `PATH` of `env`.
    pub args: Vec<String>,
    /// `NAME=value`, later ones win. `HOME` is filled in from the image's `/etc/passwd` where absent.
    #[serde(default)]
    pub env: Vec<String>,
    /// Made where absent. Empty means `/`.
    #[serde(default)]
    pub cwd: String,
    #[serde(default)]
    pub user: User,
    /// A terminal: stdout and stderr are one stream.
    #[serde(default)]
    pub tty: bool,
    #[serde(default)]
    pub capabilities: Capabilities,
    /// `allowPrivilegeEscalation: false`.
    #[serde(default)]
    pub no_new_privs: bool,
    #[serde(default)]
    pub seccomp: Seccomp,
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    #[serde(default)]
    pub oom_score_adj: i32,
}

/// Resolved ids, see [`crate::Images::resolve_user`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups: `fsGroup`, `supplementalGroups`, and those of `/etc/group`.
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// Changes to the default set of capabilities. Names with or without `CAP_`, any case; `ALL` is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    #[serde(default)]
    pub add: Vec<String>,
    #[serde(default)]
    pub drop: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    Unconfined,
    /// An allow list; what is not on it fails with EPERM, and with ENOSYS where the kernel call is newer than the list.
    RuntimeDefault,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `nproc`, `core`, … as in `ulimit`'s manual, lower case.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// Namespaces to join by path; see [`crate::Sandbox`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    pub net: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub pid: Namespace,
    /// Only where `uts` is [`Namespace::New`]; a sandbox has its name already.
    #[serde(default)]
    pub hostname: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// One of its own, empty.
    #[default]
    New,
    /// The node's: `hostNetwork`, `hostIPC`, `hostPID`. For the network that is the network namespace of whoever started the shim.
    Host,
    Path(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, inside the container. Made where absent (a file, if the source is one); never followed out of the root.
    pub destination: String,
    pub kind: MountKind,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A directory, file, socket or device of the node. It must exist.
    Bind {
        source: PathBuf,
        #[serde(default)]
        propagation: Propagation,
        /// `recursiveReadOnly`: mounts below the source become read-only too.
        #[serde(default)]
        recursive_read_only: bool,
    },
    Tmpfs {
        #[serde(default)]
        size_bytes: Option<u64>,
        /// Permission bits of its root, 0o1777 where absent.
        #[serde(default)]
        mode: Option<u32>,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `None`
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// Limits of one cgroup. `None` leaves the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// 2 to 262144; 1024 is one CPU's request.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in each 100 ms: 50_000 is `cpu: 500m`.
    #[serde(default)]
    pub cpu_quota_us: Option<u64>,
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    #[serde(default)]
    pub pids_limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The current file; older ones stand beside it as `PATH.YYYYMMDD-HHMMSS`.
    pub path: PathBuf,
    /// `containerLogMaxSize`, 10 MiB by default.
    pub max_bytes: u64,
    /// `containerLogMaxFiles`, the current one included, 5 by default.
    pub max_files: u32,
}

impl LogSpec {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: 10 << 20, max_files: 5 }
    }
}
