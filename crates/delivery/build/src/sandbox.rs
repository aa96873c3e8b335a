//! The door through which a RUN step's command gets a container to run in.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::BaseLayer;

/// One command to run on top of some layers.
pub struct RunStep {
    /// The layers below, lowest first. Their blobs are in the registry's store.
    pub layers: Vec<BaseLayer>,
    /// An empty directory that takes what the command changes: an overlay's upper directory, read when the command has ended
    /// (deletions as character devices 0/0, replaced directories marked by `trusted.overlay.opaque` or `user.overlay.opaque`).
    pub upper: PathBuf,
    /// An empty directory on the same file system, for the overlay's own use.
    pub work: PathBuf,
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// `NAME=VALUE` lines, complete.
    pub env: Vec<String>,
    /// The working directory inside.
    pub cwd: String,
    /// `USER`, `USER:GROUP`, names or numbers; empty is root.
    pub user: String,
    /// Whether it must do without a network (`RUN --network=none`).
    pub offline: bool,
    /// Called with each line the command prints.
    pub output: Arc<dyn Fn(&str) + Send + Sync>,
    /// The command is killed after this long.
    pub timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It took longer than it may.
    TimedOut,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SandboxError(pub String);

/// Runs commands in containers.
pub trait Sandbox: Send + Sync + 'static {
    /// Runs `step` to its end. When it returns, nothing of the container is left but what is in `upper`.
    fn run(&self, step: RunStep) -> BoxFuture<'_, Result<RunOutcome, SandboxError>>;
}
