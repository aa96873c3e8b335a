//! The small process beside each container: this binary, executed again as `EXE __shim VERB`, with a socket as standard input.
//!
//! It is single-threaded and makes the container by itself, with the kernel's own calls: namespaces, an overlay, control groups, and one
//! `fork`. The engine is never its parent, so it cannot matter to a container whether the engine lives.
mod command;
mod console;
mod exec;
mod init;
mod log;
mod mounts;
mod pause;
mod privileges;
mod rootfs;
mod run;
mod seccomp;
mod serve;

use std::{ffi::OsString, io, os::unix::net::UnixStream};

use coracle_kernel::{
    fds,
    fork::{Forked, NewNamespaces, fork},
};

use crate::wire::{Channel, Failure, Report};

/// What follows `__shim` on the command line; never returns.
///
/// Call it first in `main`, before any thread is started.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ! {
    let verb = args.next().unwrap_or_default();
    let code = match begin().and_then(|channel| serve(&verb.to_string_lossy(), channel)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("coracle __shim {}: {error}", verb.display());
            1
        }
    };
    std::process::exit(code)
}

/// Leaves the engine's process group and parentage behind, and takes the socket.
fn begin() -> io::Result<Channel> {
    // Whatever the engine, or whoever started it, left open: a shim must not keep it open for days.
    fds::close_inherited()?;
    let control = fds::duplicate_stdin()?;
    // The process the engine waits for ends at once; the shim proper goes on as nobody's child.
    if let Forked::Parent { .. } = fork(NewNamespaces::default())? {
        std::process::exit(0);
    }
    rustix::process::setsid()?;
    // Processes of a container must not look into this one while it works among them.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for number in 0..=2 {
        fds::place_stdio(std::os::fd::AsFd::as_fd(&null), number)?;
    }
    Ok(Channel(UnixStream::from(control)))
}

fn serve(verb: &str, channel: Channel) -> io::Result<()> {
    let result = match verb {
        "run" => run::run(&channel),
        "exec" => exec::run(&channel),
        "pause" => pause::run(&channel),
        _ => return Err(io::Error::other("the verbs are run, exec and pause; only the engine calls them")),
    };
    if let Err(failure) = result {
        // The engine may have gone; then nobody is left to tell.
        let _ = channel.send(&Report::Failed(failure), &[]);
    }
    Ok(())
}

impl Failure {
    /// The container could not be made.
    fn create(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self { start: false, code: None, message: format!("{what}: {error}") }
    }
}

/// Turns any error into "could not be made", naming what was being done.
trait OrFail<T> {
    fn or_fail(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::create(what, error))
    }
}
