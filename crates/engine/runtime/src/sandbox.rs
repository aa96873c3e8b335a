//! What the containers of a pod share besides the network: host name, System V IPC, `/dev/shm`, and the process tree where asked for.
//!
//! No process holds these: each namespace is bind-mounted on a file, and is found there by a later engine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use nix::sched::CloneFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde::{Deserialize, Serialize};

use crate::{
    files,
    launch::launch,
    runtime::{Error, Runtime, launch_error},
    spec::{Namespace, Namespaces},
    wire::PauseRequest,
};

const RECORD: &str = "sandbox.json";
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod's uid will do.
    pub id: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub hostname: String,
    /// `hostNetwork`: the node's host name then, as upstream has it.
    #[serde(default)]
    pub host_network: bool,
    #[serde(default)]
    pub host_ipc: bool,
    #[serde(default)]
    pub host_pid: bool,
    /// `shareProcessNamespace`.
    #[serde(default)]
    pub share_pid: bool,
}

/// Namespaces for containers to join.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// Complete but for the network: that stays [`Namespace::New`], unless it is the host's.
    pub namespaces: Namespaces,
}

impl Runtime {
    fn sandbox_directory(&self, id: &str) -> PathBuf {
        self.inner.options.root.join("sandboxes").join(id)
    }

    fn sandbox_cgroup(id: &str) -> String {
        format!("sandboxes/{id}")
    }

    /// Makes the namespaces, or finds those that are there already.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, Error> {
        let runtime = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let dir = runtime.sandbox_directory(&spec.id);
            if !dir.join(RECORD).exists() {
                runtime.make_sandbox(&dir, &spec)?;
            }
            Ok(sandbox(&dir, spec))
        });
        made.await.map_err(|e| Error::io("making a sandbox")(io::Error::other(e)))?
    }

    fn make_sandbox(&self, dir: &Path, spec: &SandboxSpec) -> Result<(), Error> {
        let what = || format!("making sandbox {}", spec.id);
        // What an engine left that died here has no record, and nobody uses it.
        self.dismantle(&spec.id)?;
        fs::create_dir_all(dir).map_err(Error::io(what()))?;
        let (directory, owned) = (dir.to_owned(), spec.clone());
        // A thread of its own: it ends in namespaces that no other work must be done in.
        let thread =
            std::thread::Builder::new().name("sandbox".into()).spawn(move || make_namespaces(&directory, &owned));
        let joined = thread.map_err(Error::io(what()))?.join();
        joined.map_err(|_| Error::io(what())(io::Error::other("the thread panicked")))?.map_err(Error::io(what()))?;
        if !spec.host_ipc {
            let shm = dir.join("shm");
            fs::create_dir_all(&shm).map_err(Error::io(what()))?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("shm", &shm, "tmpfs", flags, Some(SHM_OPTIONS)).map_err(|e| Error::io(what())(e.into()))?;
        }
        if spec.share_pid && !spec.host_pid {
            let request = PauseRequest {
                hierarchies: self.inner.hierarchies.clone(),
                cgroup: self.cgroup_path(&Self::sandbox_cgroup(&spec.id)),
                target: dir.join("pid"),
            };
            launch(&self.inner.options.shim, "pause", &request, &[]).map_err(|error| launch_error(&spec.id, error))?;
        }
        files::replace_json(&dir.join(RECORD), spec).map_err(Error::io(what()))
    }

    /// Lets the namespaces go. No error where there are none.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let (runtime, id) = (self.clone(), id.to_owned());
        let removed = tokio::task::spawn_blocking(move || runtime.dismantle(&id));
        removed.await.map_err(|e| Error::io("removing a sandbox")(io::Error::other(e)))?
    }

    fn dismantle(&self, id: &str) -> Result<(), Error> {
        let dir = self.sandbox_directory(id);
        let group = self.group(&Self::sandbox_cgroup(id));
        if group.exists() {
            group.kill();
            group.remove()?;
        }
        let _ = fs::remove_file(dir.join(RECORD));
        for name in ["ipc", "uts", "pid", "shm"] {
            match unmount(dir.join(name), UnmountFlags::DETACH) {
                // Not there, or not mounted.
                Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(Error::io(format!("removing sandbox {id}"))(error.into())),
            }
        }
        files::remove_tree(&dir).map_err(Error::io(format!("removing sandbox {id}")))
    }

    /// All there are, those of an earlier engine too.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        let Ok(entries) = fs::read_dir(self.inner.options.root.join("sandboxes")) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let spec = files::read_json::<SandboxSpec>(&entry.path().join(RECORD)).ok().flatten()?;
                Some(sandbox(&entry.path(), spec))
            })
            .collect()
    }
}

fn sandbox(dir: &Path, spec: SandboxSpec) -> Sandbox {
    let path = |host: bool, name: &str| if host { Namespace::Host } else { Namespace::Path(dir.join(name)) };
    let namespaces = Namespaces {
        net: if spec.host_network { Namespace::Host } else { Namespace::New },
        ipc: path(spec.host_ipc, "ipc"),
        uts: path(spec.host_network, "uts"),
        pid: match (spec.host_pid, spec.share_pid) {
            (true, _) => Namespace::Host,
            (false, true) => Namespace::Path(dir.join("pid")),
            (false, false) => Namespace::New,
        },
        shm: Some(if spec.host_ipc { PathBuf::from("/dev/shm") } else { dir.join("shm") }),
        hostname: None,
    };
    Sandbox { id: spec.id, labels: spec.labels, namespaces }
}

/// Runs on a thread that ends afterwards: it leaves the node's namespaces for good.
fn make_namespaces(dir: &Path, spec: &SandboxSpec) -> io::Result<()> {
    let mut flags = CloneFlags::empty();
    let mut names = Vec::new();
    if !spec.host_ipc {
        flags |= CloneFlags::CLONE_NEWIPC;
        names.push("ipc");
    }
    if !spec.host_network {
        flags |= CloneFlags::CLONE_NEWUTS;
        names.push("uts");
    }
    nix::sched::unshare(flags)?;
    if !spec.host_network {
        rustix::system::sethostname(spec.hostname.as_bytes())?;
    }
    for name in names {
        let target = dir.join(name);
        File::create(&target)?;
        mount_bind(format!("/proc/thread-self/ns/{name}"), &target)?;
    }
    Ok(())
}

/// A path that leads to what `file` is, even where that has no name.
pub(crate) fn magic_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
