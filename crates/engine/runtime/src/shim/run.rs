//! One container: make it, report, look after it, record its end.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
};

use coracle_clock::{Clock, SystemClock};
use coracle_kernel::fork::{Forked, NewNamespaces, fork};
use rustix::{
    process::Pid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    OrFail,
    init::{self, Prepared, Stdio},
    log::Log,
    mounts::{Tree, copy_sources, device_rules},
    privileges, rootfs,
    serve::{Container, Output},
};
use crate::{
    cgroup::Group,
    files,
    spec::Namespace,
    wire::{Channel, ChildReport, Failure, Report, RunRequest, SavedState, start_ticks},
};

/// The kernel spares the shim when memory runs out: it is what reports that.
const SHIM_OOM_SCORE: i32 = -999;

pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    // An engine that died before asking leaves nothing to do.
    let Some((request, fds)) = control.receive::<RunRequest>().or_fail("reading the request")? else { return Ok(()) };
    let mut fds = fds.into_iter();
    // Held for as long as this process lives: whoever can take it knows that there is no shim.
    let _lock = fds.next();
    let output = fds.next();
    privileges::set_oom_score(SHIM_OOM_SCORE).or_fail("setting the shim's oom_score_adj")?;
    let group = request.hierarchies.group(&request.cgroup);
    let started = start(&request, &group, output);
    let container = match started {
        Ok(container) => container,
        Err(failure) => {
            let _ = group.remove();
            return Err(failure);
        }
    };
    container.serve(control, &request, &group);
    Ok(())
}

/// Everything up to the running command. What fails here has been undone by the end of this process, the control group aside.
fn start(request: &RunRequest, group: &Group, output: Option<OwnedFd>) -> Result<Container, Failure> {
    let spec = &request.spec;
    group.create().or_fail("making the control group")?;
    group.limit(&spec.resources).or_fail("setting limits")?;
    group.kill_as_one().or_fail("setting limits")?;
    group.allow_devices(&device_rules(spec.privileged)).or_fail("allowing devices")?;
    let sources = copy_sources(&spec.mounts).or_fail("volumes")?;
    let shm = spec.namespaces.shm.as_deref().map(Tree::copy).transpose().or_fail("the sandbox's /dev/shm")?;
    let log = spec.log.clone().map(|log| Log::open(log, SystemClock)).transpose().or_fail("opening the log")?;
    rootfs::make_directories(request).or_fail("making the root's directories")?;
    let listener = listen(&request.dir).or_fail("listening for the engine")?;
    let (theirs, ours) = Streams::make(spec.process.tty, spec.stdin, output).or_fail("making pipes")?;
    let prepared = Prepared { sources: &sources, shm: shm.as_ref(), stdio: theirs.as_ref() };

    if let Namespace::Path(path) = &spec.namespaces.pid {
        let namespace = File::open(path).or_fail(format_args!("pid namespace {}", path.display()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .or_fail("joining the pid namespace")?;
    }
    let (shim_end, child_end) = Channel::pair().or_fail("making a socket")?;
    let new = |namespace: &Namespace| *namespace == Namespace::New;
    let namespaces = NewNamespaces {
        mount: true,
        pid: new(&spec.namespaces.pid),
        ipc: new(&spec.namespaces.ipc),
        uts: new(&spec.namespaces.uts),
        net: new(&spec.namespaces.net),
    };
    let (pid, pidfd) = match fork(namespaces).or_fail("forking")? {
        Forked::Child => {
            drop(shim_end);
            let failure = init::run(request, &prepared, &child_end);
            let _ = child_end.send(&ChildReport::Failed(failure), &[]);
            std::process::exit(1)
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(child_end);
    drop(theirs);
    drop(sources);
    let terminal = match release(group, pid, &shim_end) {
        Ok(terminal) => terminal,
        Err(failure) => {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            return Err(failure);
        }
    };
    let started_at = SystemClock.now();
    let ticks = start_ticks(pid.as_raw_nonzero().get()).unwrap_or(0);
    let state = SavedState { pid: pid.as_raw_nonzero().get(), start_ticks: ticks, started_at };
    files::replace_json(&request.dir.join("state.json"), &state).or_fail("recording the state")?;
    let output = match terminal {
        Some((master, slave)) => Output::Terminal { master, slave: Some(slave) },
        None => ours,
    };
    Container::new(pid, pidfd, started_at, spec, output, log, listener).or_fail("watching the container")
}

/// Lets the forked process go once the control groups hold it, and waits until it has become the command.
fn release(group: &Group, pid: Pid, child: &Channel) -> Result<Option<(OwnedFd, OwnedFd)>, Failure> {
    group.add(pid.as_raw_nonzero().get()).or_fail("joining the control group")?;
    child.send(&(), &[]).or_fail("starting the first process")?;
    let mut terminal = None;
    loop {
        match child.receive::<ChildReport>().or_fail("waiting for the first process")? {
            // Closed on exec.
            None => return Ok(terminal),
            Some((ChildReport::Failed(failure), _)) => return Err(failure),
            Some((ChildReport::Console, fds)) => {
                let mut fds = fds.into_iter();
                terminal = fds.next().zip(fds.next());
            }
        }
    }
}

/// The path of the socket is too long for some data directories, that of its directory's descriptor never is.
fn listen(dir: &Path) -> io::Result<UnixListener> {
    let directory = File::open(dir)?;
    let path = crate::wire::socket_path(&directory);
    let _ = fs::remove_file(dir.join(crate::wire::SOCKET));
    UnixListener::bind(path)
}

struct Streams;

impl Streams {
    /// The container's ends, and ours.
    fn make(tty: bool, stdin: bool, passed: Option<OwnedFd>) -> io::Result<(Option<Stdio>, Output)> {
        if tty {
            return Ok((None, Output::None));
        }
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        if let Some(passed) = passed {
            let stdio = Stdio { stdin: null()?, stdout: rustix::io::fcntl_dupfd_cloexec(&passed, 3)?, stderr: passed };
            return Ok((Some(stdio), Output::None));
        }
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (stdout, their_stdout) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let (their_stdin, stdin) = if stdin {
            let (theirs, ours) = pipe()?;
            (theirs, Some(ours))
        } else {
            (null()?, None)
        };
        let stdio = Stdio { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
        Ok((Some(stdio), Output::Pipes { stdin, stdout: Some(stdout), stderr: Some(stderr) }))
    }
}

impl Container {
    /// Tells the engine, then stays until the container has ended and is recorded.
    fn serve(mut self, control: &Channel, request: &RunRequest, group: &Group) {
        let started = Report::Started {
            pid: self.pid.as_raw_nonzero().get(),
            start_ticks: start_ticks(self.pid.as_raw_nonzero().get()).unwrap_or(0),
            started_at: self.started_at,
        };
        // An engine that died meanwhile will find the container by its directory.
        let _ = control.send(&started, &[]);
        let exit = self.watch(control, request.tied, group);
        let _ = files::replace_json(&request.dir.join("exit.json"), &exit);
        self.announce(&exit);
        let _ = fs::remove_file(request.dir.join(crate::wire::SOCKET));
        let _ = group.remove();
        if request.tied {
            let _ = control.send(&Report::Exited(exit), &[]);
        }
    }
}
