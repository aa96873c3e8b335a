//! Starting the shim: this binary again, with a socket as its standard input.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    process::{Command, Stdio},
};

use serde::Serialize;

use crate::wire::{Channel, Failure, Report};

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("starting the shim: {0}")]
    Io(#[from] io::Error),
    #[error("{}", .0.message)]
    Failed(Failure),
}

/// Runs `EXE __shim VERB`, sends the request and waits for the first answer. Blocks for some milliseconds.
pub(crate) fn launch(
    shim: &Path,
    verb: &str,
    request: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> Result<(Channel, Report, Vec<OwnedFd>), LaunchError> {
    let (ours, theirs) = Channel::pair()?;
    let mut child = Command::new(shim)
        .arg("__shim")
        .arg(verb)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs.0))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let answer = ours.send(request, fds).and_then(|()| ours.receive::<Report>());
    // The process started here ends as soon as it has forked the shim proper.
    child.wait()?;
    match answer? {
        Some((Report::Failed(failure), _)) => Err(LaunchError::Failed(failure)),
        Some((report, fds)) => Ok((ours, report, fds)),
        None => Err(io::Error::other("it ended without an answer").into()),
    }
}
