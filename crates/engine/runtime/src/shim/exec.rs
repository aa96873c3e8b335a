//! One more process in a running container. This process stays outside, as its parent, for as long as it runs.

use std::os::fd::{AsFd, OwnedFd};

use coracle_clock::{Clock, SystemClock};
use coracle_kernel::fork::{Forked, NewNamespaces, fork};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid},
    thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces},
};

use super::{OrFail, command, console, init, privileges};
use crate::{
    containers::Exit,
    wire::{Channel, ChildReport, ExecRequest, Failure, Report, start_ticks},
};

pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let Some((request, stdio)) = control.receive::<ExecRequest>().or_fail("reading the request")? else {
        return Ok(());
    };
    let gone = || Failure::create("exec", "the container is not running");
    let target = Pid::from_raw(request.pid).ok_or_else(gone)?;
    let container = pidfd_open(target, PidfdFlags::empty()).map_err(|_| gone())?;
    // The number may have been given to another process since.
    if start_ticks(request.pid) != Some(request.start_ticks) {
        return Err(gone());
    }
    if request.join_pid {
        let path = format!("/proc/{}/ns/pid", request.pid);
        let namespace = std::fs::File::open(&path).map_err(|_| gone())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .or_fail("joining the pid namespace")?;
    }
    let (ours, theirs) = Channel::pair().or_fail("making a socket")?;
    let (pid, pidfd) = match fork(NewNamespaces::default()).or_fail("forking")? {
        Forked::Child => {
            drop(ours);
            let failure = inside(&request, &container, &stdio, &theirs);
            let _ = theirs.send(&ChildReport::Failed(failure), &[]);
            std::process::exit(1)
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    // The reader sees the end of the output only when nobody else holds its other end.
    drop(stdio);
    let started = release(&request, pid, &ours, control);
    if let Err(failure) = started {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        return Err(failure);
    }
    let exit = watch(pid, &pidfd, control);
    let _ = control.send(&Report::Exited(exit), &[]);
    Ok(())
}

/// Into the container's control group, then on; answers the engine when the command runs.
fn release(request: &ExecRequest, pid: Pid, child: &Channel, control: &Channel) -> Result<(), Failure> {
    let number = pid.as_raw_nonzero().get();
    request.hierarchies.group(&request.cgroup).add(number).or_fail("joining the control group")?;
    child.send(&(), &[]).or_fail("starting the process")?;
    let mut terminal: Vec<OwnedFd> = Vec::new();
    loop {
        match child.receive::<ChildReport>().or_fail("waiting for the process")? {
            None => break,
            Some((ChildReport::Failed(failure), _)) => return Err(failure),
            Some((ChildReport::Console, fds)) => terminal = fds,
        }
    }
    let started =
        Report::Started { pid: number, start_ticks: start_ticks(number).unwrap_or(0), started_at: SystemClock.now() };
    // Only the outer end goes to the engine; the inner one must not outlive the command.
    let master: Vec<_> = terminal.iter().take(1).map(AsFd::as_fd).collect();
    control.send(&started, &master).or_fail("answering")
}

/// Until the command ends; an engine that hangs up ends it.
fn watch(pid: Pid, pidfd: &OwnedFd, control: &Channel) -> Exit {
    let started_at = SystemClock.now();
    loop {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(&control.0, PollFlags::IN)];
        if poll(&mut fds, None).is_ok() && !fds[1].revents().is_empty() && fds[0].revents().is_empty() {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        if fds[0].revents().is_empty() && fds[1].revents().is_empty() {
            continue;
        }
        let status = waitpid(Some(pid), WaitOptions::empty()).ok().flatten().map(|(_, status)| status);
        let signal = status.and_then(|s| s.terminating_signal());
        let code = signal.map_or_else(|| status.and_then(|s| s.exit_status()).unwrap_or(255), |signal| 128 + signal);
        return Exit { code, signal, oom_killed: false, started_at, finished_at: SystemClock.now(), lost: false };
    }
}

/// Runs in the forked process; returns only what went wrong.
fn inside(request: &ExecRequest, container: &OwnedFd, stdio: &[OwnedFd], outside: &Channel) -> Failure {
    let prepared = (|| {
        outside.receive::<()>().or_fail("waiting for the control group")?;
        rustix::process::setsid().or_fail("starting a session")?;
        privileges::set_oom_score(request.process.oom_score_adj).or_fail("setting oom_score_adj")?;
        let kinds = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::CONTROL_GROUP;
        move_into_thread_name_spaces(container.as_fd(), kinds).or_fail("joining the container")?;
        if request.terminal.is_some() {
            let console = console::open(request.terminal).or_fail("opening a terminal")?;
            outside.send(&ChildReport::Console, &[console.master.as_fd()]).or_fail("handing over the terminal")?;
            console::take(&console.slave, request.process.user.uid).or_fail("taking the terminal")?;
        } else {
            let [stdin, stdout, stderr] = stdio else {
                return Err(Failure::create("exec", "three standard streams are needed"));
            };
            init::place([stdin, stdout, stderr], request.process.user.uid)
                .or_fail("setting up the standard streams")?;
        }
        init::become_process(&request.process, request.privileged)
    })();
    match prepared {
        Ok(env) => command::execute(&request.process, &env),
        Err(failure) => failure,
    }
}
