//! The one writer: checks commits in order, makes a group of them durable at once, then shows and acknowledges them.

use std::{
    collections::HashSet,
    io::{self, ErrorKind},
    sync::{Arc, mpsc::Receiver},
};

use imbl::OrdSet;
use tokio::sync::{mpsc, oneshot};

use crate::{
    change::{Change, CommitError, Committed, Conflict, Expect, KEY_MAX_BYTES, VALUE_MAX_BYTES, Value, Write},
    compaction::Compaction,
    disk::Disk,
    frame::{Form, FrameBuilder},
    log::Log,
    record::{Entry, Record},
    snapshot::Snapshot,
    store::Shared,
    watch::{Event, EventKind, topic_name},
};

/// The most commits, and about the most bytes, that are made durable together.
const GROUP_MAX_COMMITS: usize = 1024;
const GROUP_MAX_BYTES: usize = 4 << 20;
/// The most bytes one commit may write.
const COMMIT_MAX_BYTES: usize = 256 << 20;

/// A commit that waits.
pub(crate) struct Pending {
    pub(crate) changes: Vec<Change>,
    pub(crate) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.changes.iter().map(change_bytes).sum()
    }
}

/// What the writer is asked for.
pub(crate) enum Request {
    Commit(Pending),
    /// Replace the log by a snapshot now, whatever their sizes; answered once what it replaces is gone.
    Compact(oneshot::Sender<io::Result<()>>),
    /// The disk, and how long the present log is on it, up to the last whole frame: its base, and bytes. Only the writer
    /// keeps the disk, so that others who still have the store do not keep the directory from whoever opens it next.
    Extent(oneshot::Sender<(Arc<dyn Disk>, u64, u64)>),
    Close,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    log: Log,
    present: Snapshot,
    /// The next commit's first revision. Runs ahead of the present one after a commit failed: its revisions are burnt.
    next_revision: u64,
    form: Form,
    frame: FrameBuilder,
    compact_after_bytes: u64,
    snapshot_bytes: u64,
    /// Bytes of logs before the present one that no snapshot has replaced yet.
    older_bytes: u64,
    /// After a compaction failed: how long the log must be before the next.
    retry_at_bytes: u64,
    running: Option<Receiver<io::Result<u64>>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        log: Log,
        form: Form,
        compact_after_bytes: u64,
        snapshot_bytes: u64,
        older_bytes: u64,
    ) -> Self {
        let present = Snapshot(shared.present.load_full());
        let next_revision = present.revision() + 1;
        let frame = FrameBuilder::new(form.clone());
        Self {
            shared,
            disk,
            log,
            present,
            next_revision,
            form,
            frame,
            compact_after_bytes,
            snapshot_bytes,
            older_bytes,
            retry_at_bytes: 0,
            running: None,
        }
    }

    /// Serves until the store is closed.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = false;
        while !closing {
            let Some(mut request) = requests.blocking_recv() else { return };
            let (mut group, mut bytes) = (Vec::new(), 0);
            let mut after = None;
            loop {
                match request {
                    Request::Close => {
                        closing = true;
                        break;
                    }
                    Request::Commit(pending) => {
                        bytes += pending.bytes();
                        group.push(pending);
                    }
                    other => {
                        after = Some(other);
                        break;
                    }
                }
                if group.len() == GROUP_MAX_COMMITS || bytes > GROUP_MAX_BYTES {
                    break;
                }
                match requests.try_recv() {
                    Ok(next) => request = next,
                    Err(_) => break,
                }
            }
            self.commit_group(group);
            match after {
                Some(Request::Compact(reply)) => {
                    let _gone = reply.send(self.compact_now());
                }
                Some(Request::Extent(reply)) => {
                    let _gone = reply.send((Arc::clone(&self.disk), self.log.base(), self.log.bytes()));
                }
                _ => {}
            }
            self.compact_in_background();
        }
        if let Some(running) = self.running {
            // Whoever closes the store may want to open it again at once: nothing may still hold on to the directory.
            let _outcome = running.recv();
        }
    }

    /// Carries out commits in order, each wholly or not at all, with one sync for all.
    pub(crate) fn commit_group(&mut self, group: Vec<Pending>) {
        let mut stage = Stage::new(&self.present, self.next_revision);
        let outcomes: Vec<_> =
            group.into_iter().map(|pending| (pending.reply, stage.commit(pending.changes))).collect();
        self.next_revision = stage.next_revision;
        if !stage.events.is_empty() {
            if let Err(error) = self.make_durable(&stage.events) {
                for (reply, _) in outcomes {
                    let _gone = reply.send(Err(error.clone()));
                }
                return;
            }
            self.present = Snapshot::new(stage.revision, stage.objects);
            self.shared.publish(&self.present, stage.events);
        }
        for (reply, outcome) in outcomes {
            // Whoever no longer waits was cancelled; the commit stands.
            let _gone = reply.send(outcome);
        }
    }

    fn make_durable(&mut self, events: &[Arc<Event>]) -> Result<(), CommitError> {
        self.frame.start();
        for event in events {
            self.frame.push(event.kind == EventKind::Deleted, &event.record);
        }
        self.log.append(self.frame.finish()).map_err(|error| {
            let disk = self.disk.place();
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => CommitError::Full { disk },
                _ => CommitError::Disk { disk, cause: Arc::new(error) },
            }
        })
    }

    /// Starts a compaction where one is due: the log goes on in a new file, and the old ones become a snapshot.
    pub(crate) fn compaction_due(&mut self) -> Option<Compaction> {
        let log_bytes = self.older_bytes + self.log.bytes();
        let limit = self.compact_after_bytes.max(self.snapshot_bytes).max(self.retry_at_bytes);
        if self.running.is_some() || log_bytes <= limit || self.log.base() == self.present.revision() {
            return None;
        }
        self.start_compaction()
    }

    fn start_compaction(&mut self) -> Option<Compaction> {
        let current_bytes = self.log.bytes();
        if let Err(error) = self.log.rotate(self.present.revision()) {
            self.compaction_done(Err(error));
            return None;
        }
        self.older_bytes += current_bytes;
        Some(Compaction::new(Arc::clone(&self.disk), self.present.clone(), self.form.clone()))
    }

    /// Takes note of how a compaction went; `Ok` is the size of the snapshot.
    pub(crate) fn compaction_done(&mut self, outcome: io::Result<u64>) {
        match outcome {
            Ok(snapshot_bytes) => {
                (self.snapshot_bytes, self.older_bytes, self.retry_at_bytes) = (snapshot_bytes, 0, 0);
            }
            Err(error) => {
                let log_bytes = self.older_bytes + self.log.bytes();
                self.retry_at_bytes = log_bytes + self.compact_after_bytes;
                let disk = self.disk.place();
                tracing::warn!(%error, disk, log_bytes, "the log could not be compacted; it grows until that works");
            }
        }
    }

    /// Replaces all there is by a snapshot, and waits for it; commits wait meanwhile.
    fn compact_now(&mut self) -> io::Result<()> {
        if let Some(running) = self.running.take() {
            let outcome = running.recv().unwrap_or_else(|_| Err(io::Error::other("the compaction was interrupted")));
            self.compaction_done(outcome);
        }
        let revision = self.present.revision();
        if self.log.base() != revision {
            let current_bytes = self.log.bytes();
            self.log.rotate(revision)?;
            self.older_bytes += current_bytes;
        }
        let bytes = Compaction::new(Arc::clone(&self.disk), self.present.clone(), self.form.clone()).run()?;
        self.compaction_done(Ok(bytes));
        Ok(())
    }

    fn compact_in_background(&mut self) {
        if let Some(outcome) = self.running.as_ref().and_then(|running| running.try_recv().ok()) {
            self.running = None;
            self.compaction_done(outcome);
        }
        let Some(compaction) = self.compaction_due() else { return };
        let (done, running) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            // The writer may be gone by now; the snapshot is found when the store is next opened.
            let _gone = done.send(compaction.run());
        };
        match std::thread::Builder::new().name("store-compaction".to_owned()).spawn(run) {
            Ok(_detached) => self.running = Some(running),
            Err(error) => self.compaction_done(Err(error)),
        }
    }
}

/// The state a group is working towards.
struct Stage {
    objects: OrdSet<Entry>,
    /// The revision of the objects.
    revision: u64,
    next_revision: u64,
    events: Vec<Arc<Event>>,
}

impl Stage {
    fn new(present: &Snapshot, next_revision: u64) -> Self {
        let objects = present.0.objects.clone();
        Self { objects, revision: present.revision(), next_revision, events: Vec::new() }
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<Committed, CommitError> {
        check(&changes)?;
        for (index, change) in changes.iter().enumerate() {
            self.check_expectation(index, change)?;
        }
        let records = changes.into_iter().map(|change| self.apply(change)).collect();
        Ok(Committed { revision: self.revision, records })
    }

    fn get(&self, key: &str) -> Option<&Arc<Record>> {
        self.objects.get(key.as_bytes()).map(|entry| &entry.0)
    }

    fn check_expectation(&self, index: usize, change: &Change) -> Result<(), CommitError> {
        let current = self.get(&change.key);
        let holds = match change.expect {
            Expect::Any => !matches!(change.write, Write::Delete { .. }) || current.is_some(),
            Expect::Absent => current.is_none(),
            Expect::Present => current.is_some(),
            Expect::Revision(revision) => current.is_some_and(|current| current.revision() == revision),
        };
        if holds {
            return Ok(());
        }
        let (key, expected) = (change.key.clone(), change.expect);
        Err(CommitError::Conflict(Conflict { index, key, expected, current: current.cloned() }))
    }

    fn apply(&mut self, change: Change) -> Option<Arc<Record>> {
        let (record, previous, kind) = match change.write {
            Write::Nothing => return self.get(&change.key).cloned(),
            Write::Put { meta, value } => {
                let Value { head, tail, splice } = &value;
                let record = Arc::new(Record::pack(&change.key, &meta, head, tail, *splice, self.next_revision));
                let previous = self.objects.insert(Entry(Arc::clone(&record)));
                let kind = if previous.is_some() { EventKind::Updated } else { EventKind::Created };
                (record, previous, kind)
            }
            Write::Delete { last } => {
                let previous = self.objects.remove(change.key.as_bytes())?;
                let record = match &last {
                    Some(Value { head, tail, splice }) => previous.0.revalued(head, tail, *splice, self.next_revision),
                    None => previous.0.revalued(previous.0.value_bytes(), &[], false, self.next_revision),
                };
                (Arc::new(record), Some(previous), EventKind::Deleted)
            }
        };
        self.revision = self.next_revision;
        self.next_revision += 1;
        let previous = previous.map(|entry| entry.0);
        self.events.push(Arc::new(Event { record: Arc::clone(&record), previous, kind }));
        Some(record)
    }
}

fn change_bytes(change: &Change) -> usize {
    let value = match &change.write {
        Write::Put { value, .. } | Write::Delete { last: Some(value) } => value.len(),
        Write::Delete { last: None } | Write::Nothing => 0,
    };
    change.key.len() + value
}

/// Refuses what could not be written, before anything is.
fn check(changes: &[Change]) -> Result<(), CommitError> {
    let mut written = HashSet::new();
    let mut bytes = 0;
    for change in changes {
        bytes += change_bytes(change);
        let names_object = topic_name(change.key.as_bytes()).is_some_and(|topic| topic.len() < change.key.len());
        let problem = if !names_object {
            "the key is not /GROUP/RESOURCE/NAME"
        } else if matches!((&change.write, change.expect), (Write::Delete { .. }, Expect::Absent)) {
            "what is absent cannot be deleted"
        } else if change.key.len() > KEY_MAX_BYTES {
            "the key is too long"
        } else if change_bytes(change) > VALUE_MAX_BYTES {
            "the value is too large"
        } else if bytes > COMMIT_MAX_BYTES {
            "the commit is too large"
        } else if changes.len() > 1 && !matches!(change.write, Write::Nothing) && !written.insert(&change.key) {
            "the commit writes it twice"
        } else {
            continue;
        };
        return Err(CommitError::Invalid { key: change.key.clone(), problem });
    }
    Ok(())
}
