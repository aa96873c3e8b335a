//! The one thread that writes: it makes groups of pushes durable, shows them, acknowledges them, and has segments written
//! when enough lines have gathered.

use std::{sync::Arc, thread::JoinHandle};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{codec::Fields, error::PushError, flush, journal::Journal, store::Inner};

/// Pushes that wait; more wait in their senders.
pub(crate) const QUEUE: usize = 256;
/// Pushes that are made durable together, at the most.
const MAX_GROUP: usize = 128;
/// Bytes that are made durable together, at about the most.
const MAX_GROUP_BYTES: usize = 4 << 20;

pub(crate) struct Append {
    /// A batch, encoded.
    pub(crate) record: Vec<u8>,
    pub(crate) done: oneshot::Sender<Result<(), PushError>>,
    /// Room in memory, given back when the batch is dealt with.
    pub(crate) _room: OwnedSemaphorePermit,
}

pub(crate) enum Message {
    Append(Box<Append>),
    /// Write a segment now, if there is anything to write.
    Flush(oneshot::Sender<Result<(), PushError>>),
    /// Look at the clock.
    Tick,
    /// Take nothing more.
    Close,
}

pub(crate) struct Writer {
    pub(crate) inner: Arc<Inner>,
    /// `None` after it could not be mended; a new one is made for the next push.
    pub(crate) journal: Option<Journal>,
    pub(crate) flushing: Option<JoinHandle<()>>,
}

impl Writer {
    /// Runs until it is told to end, or nobody can push any more.
    pub(crate) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut next = messages.blocking_recv();
        while let Some(message) = next.take() {
            match message {
                Message::Append(append) => next = self.group(*append, &mut messages),
                Message::Flush(done) => {
                    let flushed = self.rotate().and_then(|()| self.wait_for_flush());
                    drop(done.send(flushed));
                }
                Message::Tick => self.tick(),
                Message::Close => break,
            }
            next = next.or_else(|| messages.blocking_recv());
        }
        self.join();
    }

    /// Deals with what waits together; gives a message of another kind that came in between.
    fn group(&mut self, first: Append, messages: &mut mpsc::Receiver<Message>) -> Option<Message> {
        let (mut bytes, mut group) = (first.record.len(), vec![first]);
        let mut after = None;
        while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
            match messages.try_recv() {
                Ok(Message::Append(append)) => {
                    bytes += append.record.len();
                    group.push(*append);
                }
                Ok(other) => {
                    after = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let written = self.make_room().and_then(|()| self.write(&group));
        if written.is_ok() {
            self.show(&group);
        }
        for append in group {
            let Append { record, done, .. } = append;
            // Before the answer: whoever tails from then on has it from the store.
            if written.is_ok() {
                self.inner.tell_tails(&record);
            }
            // Whoever pushed may be gone.
            drop(done.send(written.clone()));
        }
        after
    }

    fn write(&mut self, group: &[Append]) -> Result<(), PushError> {
        let disk = |error: std::io::Error| PushError::Disk(error.to_string());
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => {
                let number = self.inner.shared.write().next_journal();
                self.journal.insert(Journal::create(&*self.inner.disk, number).map_err(disk)?)
            }
        };
        let end = journal.end();
        let written = journal.append(group.iter().map(|append| append.record.as_slice()));
        // Where it could not be cut off again it cannot be trusted.
        if written.is_err() && !journal.is_at(end) {
            self.journal = None;
        }
        written.map_err(disk)
    }

    fn show(&self, group: &[Append]) {
        let now = self.inner.now();
        let mut shared = self.inner.shared.write();
        for append in group {
            shared.add(&mut Fields(&append.record), now).expect("it was encoded here");
        }
    }

    /// Sees to it that the head can take more; with a disk that takes no segments there is an end to it.
    fn make_room(&mut self) -> Result<(), PushError> {
        if self.inner.shared.read().head.bytes < self.inner.options.head_bytes {
            return Ok(());
        }
        self.rotate()
    }

    /// Starts to write the head out, after what is being written.
    fn rotate(&mut self) -> Result<(), PushError> {
        self.wait_for_flush()?;
        if self.inner.shared.read().head.streams.is_empty() {
            return Ok(());
        }
        let number = self.inner.shared.write().next_journal();
        let journal = Journal::create(&*self.inner.disk, number).map_err(|error| PushError::Disk(error.to_string()))?;
        self.journal = Some(journal);
        self.inner.shared.write().rotate(number);
        self.start_flush();
        Ok(())
    }

    fn start_flush(&mut self) {
        let inner = Arc::clone(&self.inner);
        let thread = std::thread::Builder::new().name("logs-flush".to_owned());
        match thread.spawn(move || inner.flush()) {
            Ok(handle) => self.flushing = Some(handle),
            // Without a thread it is done here.
            Err(_) => self.inner.flush(),
        }
    }

    fn join(&mut self) {
        if let Some(handle) = self.flushing.take()
            && handle.join().is_err()
        {
            self.inner.damage.tell("writing a segment panicked; its lines stay in the journal".to_owned());
        }
    }

    /// What could not be written is tried once more.
    fn wait_for_flush(&mut self) -> Result<(), PushError> {
        self.join();
        if self.inner.shared.read().flushing.is_some() {
            self.start_flush();
            self.join();
        }
        match (&self.inner.shared.read().flushing, self.inner.flush_error.lock().clone()) {
            (Some(_), Some(error)) => Err(PushError::Disk(error)),
            (Some(_), None) => Err(PushError::Disk("a segment could not be written".to_owned())),
            (None, _) => Ok(()),
        }
    }

    fn tick(&mut self) {
        let now = self.inner.now();
        let age = self.inner.shared.write().head_age(now);
        let limit = i64::try_from(self.inner.options.head_age.as_nanos()).unwrap_or(i64::MAX);
        if age >= limit
            && let Err(error) = self.rotate()
        {
            tracing::warn!("{error}");
        }
    }
}

impl Inner {
    /// Writes what waits for it. After an error it still waits.
    pub(crate) fn flush(&self) {
        let Some(head) = self.shared.read().flushing.clone() else { return };
        let number = self.shared.write().next_segment();
        match flush::write_head(&*self.disk, &self.options, &head, number) {
            Ok(segment) => {
                self.shared.write().flushed(segment);
                *self.flush_error.lock() = None;
                if let Err(error) = flush::remove_journals(&*self.disk, head.journal) {
                    tracing::warn!("old journals of {} could not be removed: {error}", self.disk.place());
                }
            }
            Err(error) => {
                let message = format!("a segment could not be written in {}: {error}", self.disk.place());
                tracing::warn!("{message}");
                *self.flush_error.lock() = Some(message);
            }
        }
    }
}
