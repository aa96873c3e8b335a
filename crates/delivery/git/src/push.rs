//! What a push is to the rest of the platform: who pushed what to which app, and where its progress goes.

use futures::future::BoxFuture;
use gix::ObjectId;
use tokio::sync::mpsc;

use crate::Repository;

/// Lines that may wait for a slow terminal. Beyond that they are left out: a deployment never waits for its audience.
const QUEUED_LINES: usize = 4096;

/// One accepted push, its refs already moved and durable.
#[derive(Debug, Clone)]
pub struct Push {
    /// The repository's name without `.git`: a DNS label.
    pub app: String,
    /// The name the token belongs to, or what the client gave as its user name.
    pub pusher: String,
    /// What moved, in the order the client asked for; never empty.
    pub updates: Vec<RefUpdate>,
    /// `git push -o KEY=VALUE`, as given.
    pub options: Vec<String>,
    /// Where the objects are.
    pub repository: Repository,
}

/// One ref before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full name, for example `refs/heads/main`.
    pub name: String,
    /// None where the ref did not exist before.
    pub old: Option<ObjectId>,
    /// None where the ref was deleted.
    pub new: Option<ObjectId>,
}

impl RefUpdate {
    /// The branch's short name, where this is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.name.strip_prefix("refs/heads/")
    }

    /// The tag's short name, where this is a tag.
    pub fn tag(&self) -> Option<&str> {
        self.name.strip_prefix("refs/tags/")
    }
}

/// How the handling of a push ended. The refs have moved in any case; this is for the log and the last line shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything the push asked for is in place.
    Done,
    /// It is not, and this is why. The handler has already told the pusher.
    Failed(String),
}

/// Who acts on pushes.
pub trait PushHandler: Send + Sync + 'static {
    /// Asked before any ref moves, with the objects readable already; an error refuses the whole push with that text.
    fn admit<'a>(&'a self, _push: &'a Push) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Called after the refs have moved. Runs to its end even when the pusher hangs up.
    fn pushed(&self, push: Push, progress: Progress) -> BoxFuture<'_, Outcome>;
}

/// Shows lines on the terminal that pushed, as `remote: ...`, while the work goes on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    lines: mpsc::Sender<String>,
}

impl Progress {
    /// A progress and the end at which its lines come out.
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        let (lines, receiver) = mpsc::channel(QUEUED_LINES);
        (Self { lines }, receiver)
    }

    /// Shows `text`, which may be several lines. Never blocks; does nothing once the pusher is gone.
    pub fn line(&self, text: impl Into<String>) {
        // A full queue means a terminal that stopped reading, a closed one that it went away: neither is our business.
        let _ = self.lines.try_send(text.into());
    }

    /// False once nobody reads any more.
    pub fn is_watched(&self) -> bool {
        !self.lines.is_closed()
    }
}
