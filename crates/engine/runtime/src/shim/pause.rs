//! Holds a pid namespace that the containers of a pod share: its first process, which reaps what they leave behind.

use std::fs::File;

use coracle_clock::{Clock, SystemClock};
use coracle_kernel::fork::{Forked, NewNamespaces, fork};
use rustix::process::{WaitOptions, wait};

use super::OrFail;
use crate::wire::{Channel, Failure, PauseRequest, Report, start_ticks};

/// Nothing wakes it in between: orphans are few, and a zombie costs nothing but its number.
const REAP_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) fn run(control: &Channel) -> Result<(), Failure> {
    let Some((request, _)) = control.receive::<PauseRequest>().or_fail("reading the request")? else { return Ok(()) };
    let group = request.hierarchies.group(&request.cgroup);
    group.create().or_fail("making the control group")?;
    match fork(NewNamespaces { pid: true, ..NewNamespaces::default() }).or_fail("forking")? {
        Forked::Child => pause(),
        Forked::Parent { pid, .. } => {
            let number = pid.as_raw_nonzero().get();
            group.add(number).or_fail("joining the control group")?;
            let source = File::open(format!("/proc/{number}/ns/pid")).or_fail("opening the namespace")?;
            File::create(&request.target).or_fail("making the mount point")?;
            // Ends with its namespace, which the engine takes down; this process need not wait for it.
            let bound = rustix::mount::mount_bind(crate::sandbox::magic_path(&source), &request.target);
            bound.or_fail("binding the namespace")?;
            let started = Report::Started {
                pid: number,
                start_ticks: start_ticks(number).unwrap_or(0),
                started_at: SystemClock.now(),
            };
            control.send(&started, &[]).or_fail("answering")
        }
    }
}

fn pause() -> ! {
    // As a first process it is spared all signals it does not handle, SIGKILL from outside excepted.
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        std::thread::sleep(REAP_EVERY);
    }
}
