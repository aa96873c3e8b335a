//! The handle everybody holds: reads go straight to the present snapshot, writes to the one writer.

use std::{
    collections::VecDeque,
    io::Write,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use coracle_clock::Clock;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    backup::{self, Backup, BackupError},
    change::{Change, CommitError, Committed},
    disk::{Directory, Disk, MemoryDisk},
    frame::Form,
    open::{self, OpenError},
    record::Record,
    seal::Sealer,
    snapshot::{RevisionError, Snapshot, State},
    watch::{Event, Topics, WatchError, Watcher},
    writer::{Pending, Request},
};

/// Commits that may wait for the writer before those that come after wait to be taken at all.
const QUEUE_COMMITS: usize = 4096;
/// Snapshots that are kept for readers who will come back for the rest of a list.
const PINS_MAX: usize = 64;
/// How long they are kept: as long as upstream's continue tokens live.
const PIN_LIFE: Duration = Duration::from_secs(5 * 60);

/// How much the store remembers, when it tidies up, and how it writes.
#[derive(Clone)]
pub struct Options {
    /// Events each topic remembers for watchers that resume.
    pub history_events: usize,
    /// Bytes of former versions each topic may keep in memory for that.
    pub history_bytes: usize,
    /// The log is compacted into a snapshot file once it is longer than this, and than the snapshot.
    pub compact_after_bytes: u64,
    /// The log is made longer by this many bytes at a time, so that commits write into space that is theirs already:
    /// faster to sync, and a full disk is found out before anything is at stake.
    pub reserve_bytes: u64,
    /// Seals what is secret on its way to the disk.
    pub sealer: Option<Arc<dyn Sealer>>,
    /// Notes in the log when things were written, so that a backup can be restored to a moment.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events: 10_000,
            history_bytes: 8 << 20,
            compact_after_bytes: 16 << 20,
            reserve_bytes: 1 << 20,
            sealer: None,
            clock: None,
        }
    }
}

impl Options {
    pub(crate) fn form(&self) -> Form {
        Form { sealer: self.sealer.clone(), clock: self.clock.clone() }
    }
}

/// Figures for metrics and health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// The store's revision.
    pub revision: u64,
    /// Objects now.
    pub objects: usize,
    /// Events remembered for watchers.
    pub history_events: usize,
    /// Bytes of former versions kept for them.
    pub history_bytes: usize,
    /// Commits that wait for the writer.
    pub queued_commits: usize,
}

/// The store. Cheap to clone; the last clone to go stops the writer after what is queued is on disk.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Request>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What readers and the writer share.
pub(crate) struct Shared {
    pub(crate) present: ArcSwap<State>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) revision: watch::Sender<u64>,
    pins: Mutex<VecDeque<(Instant, Snapshot)>>,
}

impl Shared {
    pub(crate) fn new(present: &Snapshot, topics: Topics) -> Self {
        Self {
            present: ArcSwap::new(Arc::clone(&present.0)),
            topics: Arc::new(topics),
            revision: watch::Sender::new(present.revision()),
            pins: Mutex::default(),
        }
    }

    /// Shows a new state: first to readers, so that nobody who heard of a change in a watch can then read the state
    /// before it; then to watchers.
    pub(crate) fn publish(&self, state: &Snapshot, events: Vec<Arc<Event>>) {
        self.present.store(Arc::clone(&state.0));
        self.topics.announce(events, state);
        self.revision.send_replace(state.revision());
    }
}

impl Store {
    /// Opens the store in a directory, which is made where it is not there, and keeps others out of it.
    pub fn open(directory: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(Directory::open(directory)?), options)
    }

    /// A store that lives in memory alone, for tests.
    pub fn in_memory() -> Self {
        Self::open_on(Arc::new(MemoryDisk::new()), Options::default()).expect("an empty disk in memory does not fail")
    }

    /// Opens the store on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let (shared, writer) = open::open(disk, &options)?;
        let (queue, commits) = mpsc::channel(QUEUE_COMMITS);
        let run = move || writer.run(commits);
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?;
        Ok(Self { shared, queue, writer: Arc::new(Mutex::new(Some(thread))) })
    }

    /// The newest revision that readers see.
    pub fn revision(&self) -> u64 {
        self.shared.present.load().revision
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.shared.present.load_full())
    }

    /// Everything under `prefix` as it was at `revision`; what is not under `prefix` may be as it is now.
    pub fn snapshot_at(&self, prefix: &str, revision: u64) -> Result<Snapshot, RevisionError> {
        let present = self.snapshot();
        if present.revision() == revision {
            return Ok(present);
        }
        let pinned =
            self.shared.pins.lock().iter().find(|(_, pin)| pin.revision() == revision).map(|(_, pin)| pin.clone());
        match pinned {
            Some(pinned) => Ok(pinned),
            None => self.shared.topics.rewind(prefix, revision),
        }
    }

    /// Keeps a snapshot for a few minutes, for a reader who was given a part of it and will ask for the rest.
    /// Only give it what [`Store::snapshot`] gave.
    pub fn pin(&self, snapshot: &Snapshot) {
        let mut pins = self.shared.pins.lock();
        let now = Instant::now();
        pins.retain(|(since, pin)| now.duration_since(*since) < PIN_LIFE && pin.revision() != snapshot.revision());
        if pins.len() == PINS_MAX {
            pins.pop_front();
        }
        pins.push_back((now, snapshot.clone()));
    }

    /// The object under `key`, now.
    pub fn get(&self, key: &str) -> Option<Arc<Record>> {
        let present = self.shared.present.load();
        present.objects.get(key.as_bytes()).map(|entry| Arc::clone(&entry.0))
    }

    /// Carries out all of `changes` or none, and returns once they are on disk and visible to readers.
    /// Each written object gets a revision of its own, in the order given. A commit that was sent happens even when the
    /// caller stops waiting for it.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<Committed, CommitError> {
        let (reply, outcome) = oneshot::channel();
        self.queue.send(Request::Commit(Pending { changes, reply })).await.map_err(|_| CommitError::Closed)?;
        outcome.await.map_err(|_| CommitError::Closed)?
    }

    /// Watches keys that start with `prefix`, which names at least `/GROUP/RESOURCE/`, from the first change after the
    /// revision `after`.
    pub fn watch(&self, prefix: &str, after: u64) -> Result<Watcher, WatchError> {
        self.shared.topics.watch(prefix, after)
    }

    /// Waits until readers see `revision`.
    pub async fn wait_for(&self, revision: u64) {
        let mut seen = self.shared.revision.subscribe();
        seen.wait_for(|seen| *seen >= revision).await.expect("the store itself keeps the channel alive");
    }

    /// Writes everything there is on disk, the log's history included, to one stream that is checksummed, while writes
    /// go on. `more` are files of others that go with it.
    pub async fn backup(
        &self,
        into: impl Write + Send + 'static,
        more: Vec<(String, Vec<u8>)>,
    ) -> Result<Backup, BackupError> {
        let parts = loop {
            let (reply, extent) = oneshot::channel();
            self.queue.send(Request::Extent(reply)).await.map_err(|_| BackupError::Interrupted)?;
            let (disk, base, bytes) = extent.await.map_err(|_| BackupError::Interrupted)?;
            let opened = tokio::task::spawn_blocking(move || backup::open_parts(&*disk, base, bytes)).await;
            match opened.map_err(|_| BackupError::Interrupted)? {
                Ok(parts) => break parts,
                // A compaction took away what was just listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::Write(error)),
            }
        };
        let revision = self.revision();
        tokio::task::spawn_blocking(move || backup::write(parts, more, revision, into))
            .await
            .map_err(|_| BackupError::Interrupted)?
    }

    /// Writes everything anew, sealed as the sealer seals now, and removes what it was before, the log's history too.
    pub async fn rewrite(&self) -> std::io::Result<()> {
        let closed = || std::io::Error::other("the store is closing");
        let (reply, done) = oneshot::channel();
        self.queue.send(Request::Compact(reply)).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    /// Figures for metrics and health checks.
    pub fn statistics(&self) -> Statistics {
        let present = self.shared.present.load();
        let (history_events, history_bytes) = self.shared.topics.remembered();
        Statistics {
            revision: present.revision,
            objects: present.objects.len(),
            history_events,
            history_bytes,
            queued_commits: self.queue.max_capacity() - self.queue.capacity(),
        }
    }

    /// Stops the writer once everything queued is on disk, and lets go of the directory. Other clones get
    /// [`CommitError::Closed`] from then on; reads go on.
    pub async fn close(self) {
        let thread = self.writer.lock().take();
        let _closed_before = self.queue.send(Request::Close).await;
        if let Some(thread) = thread {
            let _joined = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
