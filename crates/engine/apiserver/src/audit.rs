//! The audit log: who did what, when, and what came of it, as upstream's policy files ask for it and in upstream's shape.
//!
//! A request's [`Trail`] is begun once it is known who asks; steps on its way leave annotations on it. What is written goes
//! through a bounded queue to a thread of its own: a slow disk holds a request up for a tenth of a second at the most, then
//! the event is dropped and counted.

mod log;
mod policy;
mod trail;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use coracle_clock::Clock;
use tokio::sync::mpsc;

pub use policy::{Level, Policy};
pub use trail::{Incoming, Trail, watched};

use log::Limits;

/// Events that may wait for the disk.
const QUEUE_EVENTS: usize = 8192;
/// How long a request waits for room in the queue.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is written, and where to.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// What is of interest.
    pub policy: Policy,
    /// The log file.
    pub path: PathBuf,
    /// A file that is longer is put aside.
    pub max_size_mib: u64,
    /// So many of those put aside are kept; 0 for all.
    pub max_backups: usize,
    /// For so many days; 0 for ever.
    pub max_age_days: u64,
}

/// The audit log.
pub struct Audit {
    policy: Policy,
    queue: mpsc::Sender<Vec<u8>>,
    clock: Arc<dyn Clock>,
    written: AtomicU64,
    dropped: Arc<AtomicU64>,
}

impl Audit {
    /// Opens the log file, and starts writing to it.
    pub fn start(settings: AuditSettings, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let AuditSettings { policy, path, max_size_mib, max_backups, max_age_days } = settings;
        let limits = Limits { bytes: max_size_mib << 20, backups: max_backups, days: max_age_days };
        let (queue, lines) = mpsc::channel(QUEUE_EVENTS);
        let dropped = Arc::new(AtomicU64::new(0));
        log::start(path, limits, clock.clone(), lines, dropped.clone())?;
        Ok(Self { policy, queue, clock, written: AtomicU64::new(0), dropped })
    }

    /// Puts an event into the queue, waiting a moment where that is full.
    async fn write(&self, line: Vec<u8>) {
        let sent = tokio::time::timeout(PATIENCE, self.queue.send(line)).await;
        self.count(matches!(sent, Ok(Ok(()))));
    }

    /// The same where nobody can wait.
    fn write_now(&self, line: Vec<u8>) {
        self.count(self.queue.try_send(line).is_ok());
    }

    fn count(&self, is_queued: bool) {
        let counter = if is_queued { &self.written } else { &self.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Events taken, and events dropped.
    pub fn figures(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}
