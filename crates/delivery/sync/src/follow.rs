//! Those who watch a deployment as it goes: the terminals that pushed.

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Lines that may wait for a follower; one that does not read loses the rest.
const WAITING_LINES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    Line(String),
    Done,
    Failed(String),
}

struct Follower {
    application: String,
    commit: String,
    updates: mpsc::Sender<Update>,
}

#[derive(Default)]
pub(crate) struct Followers(Mutex<Vec<Follower>>);

impl Followers {
    /// Follows the next deployment of a commit.
    pub fn follow(&self, application: &str, commit: &str) -> mpsc::Receiver<Update> {
        let (updates, receiver) = mpsc::channel(WAITING_LINES);
        let follower = Follower { application: application.to_owned(), commit: commit.to_owned(), updates };
        self.0.lock().push(follower);
        receiver
    }

    pub fn say(&self, application: &str, commit: &str, line: &str) {
        for follower in self.0.lock().iter().filter(|follower| follower.is_of(application, commit)) {
            // A follower that went away or does not keep up misses lines, which are only for its eyes.
            let _ = follower.updates.try_send(Update::Line(line.to_owned()));
        }
    }

    /// The last word; nobody follows this deployment any more.
    pub fn end(&self, application: &str, commit: &str, last: &Update) {
        self.0.lock().retain(|follower| {
            let ends = follower.is_of(application, commit);
            if ends {
                let _ = follower.updates.try_send(last.clone());
            }
            !ends
        });
    }
}

impl Follower {
    fn is_of(&self, application: &str, commit: &str) -> bool {
        self.application == application && self.commit == commit
    }
}
