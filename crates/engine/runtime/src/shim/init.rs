//! The container's first process, from its fork to the moment it becomes the command that was asked for.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use coracle_kernel::fds;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    OrFail, command, console,
    mounts::{KernelPlan, Root, Tree},
    privileges, rootfs, seccomp,
};
use crate::{
    spec::{Namespace, Namespaces, ProcessSpec, User},
    wire::{Channel, ChildReport, Failure, RunRequest},
};

/// The three standard streams of a container without a terminal.
pub(super) struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What the shim opened before the fork, among the node's mounts.
pub(super) struct Prepared<'a> {
    pub sources: &'a [Option<Tree>],
    pub shm: Option<&'a Tree>,
    /// `None` with a terminal.
    pub stdio: Option<&'a Stdio>,
}

/// Runs in the forked process; returns only what went wrong.
pub(super) fn run(request: &RunRequest, prepared: &Prepared<'_>, shim: &Channel) -> Failure {
    match make(request, prepared, shim) {
        Ok(env) => command::execute(&request.spec.process, &env),
        Err(failure) => failure,
    }
}

fn make(request: &RunRequest, prepared: &Prepared<'_>, shim: &Channel) -> Result<Vec<String>, Failure> {
    let spec = &request.spec;
    // The shim says when the control groups hold.
    shim.receive::<()>().or_fail("waiting for the shim")?;
    rustix::process::setsid().or_fail("starting a session")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    join(&spec.namespaces)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).or_fail("making a cgroup namespace")?;
    privileges::set_oom_score(spec.process.oom_score_adj).or_fail("setting oom_score_adj")?;

    let root = rootfs::prepare(request).or_fail("mounting the root")?;
    let root = Root::open(&root).or_fail("opening the root")?;
    let plan = KernelPlan {
        privileged: spec.privileged,
        shm: prepared.shm,
        hierarchies: &request.hierarchies,
        cgroup: &request.cgroup,
    };
    root.mount_kernel_file_systems(&plan).or_fail("preparing the root")?;
    root.mount_volumes(&spec.mounts, prepared.sources).or_fail("preparing the root")?;
    root.set_sysctls(&spec.sysctls).or_fail("preparing the root")?;
    if !spec.process.cwd.is_empty() {
        root.directory(&spec.process.cwd).or_fail(format_args!("working directory {}", spec.process.cwd))?;
    }
    if !spec.privileged && !spec.unmasked_proc {
        root.mask().or_fail("masking paths")?;
    }
    match prepared.stdio {
        Some(stdio) => {
            if spec.read_only_root {
                root.make_read_only().or_fail("making the root read-only")?;
            }
            root.enter().or_fail("entering the root")?;
            place([&stdio.stdin, &stdio.stdout, &stdio.stderr], spec.process.user.uid)
                .or_fail("setting up the standard streams")?;
        }
        None => with_console(root, request, shim)?,
    }
    become_process(&spec.process, spec.privileged)
}

/// The terminal belongs to the container's devpts, which has its name only once the root is entered.
fn with_console(root: Root, request: &RunRequest, shim: &Channel) -> Result<(), Failure> {
    let spec = &request.spec;
    // The same root again, for the mount that must follow the opening of the terminal.
    let outside = rustix::io::dup(root.as_fd()).or_fail("opening the root")?;
    root.enter().or_fail("entering the root")?;
    let console = console::open(None).or_fail("opening a terminal")?;
    let root = Root::from(outside);
    root.mount_console(&console.name).or_fail("mounting /dev/console")?;
    if spec.read_only_root {
        root.make_read_only().or_fail("making the root read-only")?;
    }
    shim.send(&ChildReport::Console, &[console.master.as_fd(), console.slave.as_fd()])
        .or_fail("handing over the terminal")?;
    console::take(&console.slave, spec.process.user.uid).or_fail("taking the terminal")
}

fn join(namespaces: &Namespaces) -> Result<(), Failure> {
    let kinds = [
        ("net", &namespaces.net, LinkNameSpaceType::Network),
        ("ipc", &namespaces.ipc, LinkNameSpaceType::InterProcessCommunication),
        ("uts", &namespaces.uts, LinkNameSpaceType::HostNameAndNISDomainName),
    ];
    for (name, namespace, kind) in kinds {
        if let Namespace::Path(path) = namespace {
            let file = fs::File::open(path).or_fail(format_args!("{name} namespace {}", path.display()))?;
            move_into_link_name_space(file.as_fd(), Some(kind)).or_fail(format_args!("joining {}", path.display()))?;
        }
    }
    if let (Namespace::New, Some(hostname)) = (&namespaces.uts, &namespaces.hostname) {
        rustix::system::sethostname(hostname.as_bytes()).or_fail(format_args!("setting the host name {hostname}"))?;
    }
    Ok(())
}

pub(super) fn place(stdio: [&OwnedFd; 3], uid: u32) -> io::Result<()> {
    for (fd, number) in stdio.into_iter().zip(0..) {
        fds::place_stdio(fd.as_fd(), number)?;
        // So that a program may open /dev/stdout again. Devices stay as they are.
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == rustix::fs::FileType::Fifo {
            rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None)?;
        }
    }
    Ok(())
}

/// The last steps, for main and executed processes alike: directory, limits, user, filter. Returns the environment.
pub(super) fn become_process(process: &ProcessSpec, privileged: bool) -> Result<Vec<String>, Failure> {
    let env = command::environment(process);
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    rustix::process::chdir(cwd).or_fail(format_args!("chdir to cwd ({cwd:?})"))?;
    // A directory outside the root would show itself here.
    let seen = std::env::current_dir().or_fail("finding the working directory")?;
    if !seen.is_absolute() {
        return Err(Failure::create(cwd, "the working directory is outside the container"));
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    privileges::set_limits(&process.rlimits).or_fail("limits")?;
    let mask = privileges::capability_mask(&process.capabilities, privileged).or_fail("capabilities")?;
    // The filter comes before capabilities go: without no_new_privs it needs one of them.
    let filter = if privileged { None } else { seccomp::filter(process.seccomp, mask) };
    if let (Some(filter), false) = (&filter, process.no_new_privs) {
        seccomp::install(filter).or_fail("installing the seccomp filter")?;
    }
    privileges::become_user(process, mask).or_fail(format_args!("becoming {}", describe(&process.user)))?;
    if process.no_new_privs {
        rustix::thread::set_no_new_privs(true).or_fail("setting no_new_privs")?;
        if let Some(filter) = &filter {
            seccomp::install(filter).or_fail("installing the seccomp filter")?;
        }
    }
    fds::close_on_exec_from(3).or_fail("closing descriptors")?;
    Ok(env)
}

fn describe(user: &User) -> String {
    format!("user {} group {}", user.uid, user.gid)
}
