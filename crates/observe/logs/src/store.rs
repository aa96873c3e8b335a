//! The store: opening, pushing, closing.

use std::{
    collections::HashSet,
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::Duration,
};

use coracle_clock::Clock;
use coracle_disk::{Directory, Disk};
use coracle_logql::Labels;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use crate::{
    codec::Fields,
    damage::Damage,
    entry::{Batch, Line, Stream, pairs},
    error::{OpenError, PushError},
    flush,
    head::Head,
    journal,
    limits::{Rates, TenantLimits, limit_known_streams, limit_streams},
    options::Options,
    read::Tenant,
    segment::{self, Segment, SegmentId},
    streams::{StreamId, Streams},
    writer::{Append, Message, QUEUE, Writer},
};

/// Bytes of pushes that may wait to be written.
const WAITING_BYTES: usize = 16 << 20;
/// Pushes that a tail may be behind.
const TAIL_QUEUE: usize = 256;
/// How often the clock is looked at, and retention is done.
const TICK: Duration = Duration::from_secs(30);

/// A logs store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

pub(crate) struct Inner {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: RwLock<Shared>,
    pub(crate) damage: Damage,
    pub(crate) flush_error: Mutex<Option<String>>,
    rates: Rates,
    /// How long the clock was seen to run, evenly, since the store was opened, and where it was last.
    pub(crate) seen: Mutex<SeenTime>,
    tails: broadcast::Sender<Arc<Batch>>,
}

/// Time that passed while the store looked on: jumps of the clock do not count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenTime {
    last: i64,
    total: i64,
}

impl SeenTime {
    /// Looks at the clock again, as is due about every [`TICK`], and gives the total.
    pub(crate) fn look(&mut self, now: i64) -> i64 {
        let most = 2 * i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX);
        self.total = self.total.saturating_add(now.saturating_sub(self.last).clamp(0, most));
        self.last = now;
        self.total
    }
}

/// What readers see.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) streams: Streams,
    pub(crate) head: Head,
    /// What was the head, on its way into a segment.
    pub(crate) flushing: Option<Arc<Head>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segments that are no more, and whose files go when nobody reads them.
    pub(crate) gone: Vec<Arc<Segment>>,
    journals: u64,
    numbered_segments: u64,
    /// The newest moment of any line.
    pub(crate) newest: Option<i64>,
}

impl Shared {
    pub(crate) fn next_journal(&mut self) -> u64 {
        self.journals += 1;
        self.journals
    }

    pub(crate) fn next_segment(&mut self) -> SegmentId {
        self.numbered_segments += 1;
        SegmentId { number: self.numbered_segments, generation: 0 }
    }

    /// Takes lines out of an encoded batch; nothing where that is none.
    pub(crate) fn add(&mut self, fields: &mut Fields<'_>, now: i64) -> Option<()> {
        self.head.since.get_or_insert(now);
        let tenant = fields.text()?;
        for _ in 0..fields.length()? {
            let known = self.streams.intern(tenant, &Labels::new(pairs(fields)?));
            let newest = &mut self.newest;
            let lines = (0..fields.length()?).map(|_| {
                let line = Line::decode(fields)?;
                *newest = (*newest).max(Some(line.ts));
                Some(line)
            });
            self.head.add(&known, lines)?;
        }
        Some(())
    }

    /// The head becomes what is flushed; what comes is in journals from `journal` on.
    pub(crate) fn rotate(&mut self, journal: u64) {
        let mut head = std::mem::take(&mut self.head);
        head.journal = journal - 1;
        head.freeze();
        self.flushing = Some(Arc::new(head));
    }

    pub(crate) fn flushed(&mut self, segment: Segment) {
        self.flushing = None;
        self.segments.push(Arc::new(segment));
    }

    /// How long lines have been in the head; a clock that went back starts it anew.
    pub(crate) fn head_age(&mut self, now: i64) -> i64 {
        match &mut self.head.since {
            Some(since) if *since > now => {
                *since = now;
                0
            }
            Some(since) => now - *since,
            None => 0,
        }
    }

    /// The labels of a tenant's streams that have lines in memory.
    fn active(&self, tenant: &str) -> HashSet<Labels> {
        let heads = [Some(&self.head), self.flushing.as_deref()];
        let streams = heads.into_iter().flatten().flat_map(|head| head.streams.values());
        streams.filter(|stream| *stream.known.tenant == *tenant).map(|stream| (*stream.known.labels).clone()).collect()
    }

    fn active_count(&self) -> usize {
        self.head.streams.len() + self.flushing.as_ref().map_or(0, |head| head.streams.len())
    }

    /// Forgets streams of which nothing is left.
    pub(crate) fn forget_unused_streams(&mut self) {
        let mut used: HashSet<StreamId> =
            self.segments.iter().flat_map(|segment| segment.streams.iter().copied()).collect();
        used.extend(self.head.streams.keys());
        used.extend(self.flushing.iter().flat_map(|head| head.streams.keys()));
        self.streams.retain(|id| used.contains(&id));
    }
}

impl Inner {
    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    pub(crate) fn tell_tails(&self, record: &[u8]) {
        if self.tails.receiver_count() == 0 {
            return;
        }
        let batch = Batch::decode(&mut Fields(record)).expect("it was encoded here");
        // An error only says that nobody listens.
        drop(self.tails.send(Arc::new(batch)));
    }
}

impl Store {
    /// Opens or makes a store in a directory, which it has for itself. Needs a runtime.
    pub fn open(path: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let place = |source| OpenError { place: path.display().to_string(), source };
        let directory = Directory::open(path).map_err(place)?;
        Self::open_on(Arc::new(directory), options, clock)
    }

    /// The same on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let place = disk.place();
        let inner = load(disk, options, clock).map_err(|source| OpenError { place, source })?;
        let inner = Arc::new(inner);
        let (messages, received) = mpsc::channel(QUEUE);
        let writer = Writer { inner: Arc::clone(&inner), journal: None, flushing: None };
        let thread = std::thread::Builder::new().name("logs-writer".to_owned());
        let handle = thread
            .spawn(move || writer.run(received))
            .map_err(|source| OpenError { place: inner.disk.place(), source })?;
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        let store = Self { inner, messages, room, writer: Arc::new(Mutex::new(Some(handle))) };
        coracle_tasks::spawn("logs-maintenance", maintain(store.messages.downgrade(), Arc::downgrade(&store.inner)));
        Ok(store)
    }

    /// Takes lines; when it returns they are on disk. Lines that may not be are left out, and the first reason is the
    /// error; the others are stored all the same.
    pub async fn push(&self, tenant: &str, mut streams: Vec<Stream>) -> Result<(), PushError> {
        let inner = &self.inner;
        let limits = inner.options.limits.of(tenant);
        let now = inner.now();
        let mut error = limits.sort_out(&mut streams, now);
        let over = self.check_streams(tenant, limits, &mut streams);
        error = error.or(over);
        let batch = Batch { tenant: tenant.to_owned(), streams };
        let lines = batch.streams.iter().map(|stream| stream.entries.len()).sum();
        if lines > 0 {
            inner.rates.take(tenant, limits, lines, batch.bytes(), now)?;
            self.append(batch).await?;
        }
        error.map_or(Ok(()), Err)
    }

    fn check_streams(&self, tenant: &str, limits: &TenantLimits, streams: &mut Vec<Stream>) -> Option<PushError> {
        let shared = self.inner.shared.read();
        let known = shared.streams.count(tenant);
        let over = (known + streams.len() > limits.max_known_streams).then(|| {
            limit_known_streams(tenant, limits, known, |labels| shared.streams.is_known(tenant, labels), streams)
        });
        // Counting is only worth it where the limit is near.
        if shared.active_count() + streams.len() <= limits.max_streams {
            return over.flatten();
        }
        let active = shared.active(tenant);
        drop(shared);
        over.flatten().or(limit_streams(tenant, limits, &active, streams))
    }

    async fn append(&self, batch: Batch) -> Result<(), PushError> {
        // Lines are let go where they were made: what waits is in one piece.
        let mut record = Vec::with_capacity(batch.bytes() + 64);
        batch.encode(&mut record);
        drop(batch);
        let permits = u32::try_from(record.len().min(WAITING_BYTES)).expect("it is at most some megabytes");
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| PushError::Closed)?;
        let (done, answer) = oneshot::channel();
        let append = Box::new(Append { record, done, _room: room });
        self.messages.send(Message::Append(append)).await.map_err(|_| PushError::Closed)?;
        answer.await.unwrap_or(Err(PushError::Closed))
    }

    /// Writes what is in memory as a segment.
    pub async fn flush(&self) -> Result<(), PushError> {
        let (done, answer) = oneshot::channel();
        self.messages.send(Message::Flush(done)).await.map_err(|_| PushError::Closed)?;
        answer.await.unwrap_or(Err(PushError::Closed))
    }

    /// What a tenant has.
    pub fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(Arc::clone(&self.inner), name)
    }

    /// The limits of a tenant.
    pub fn limits(&self, tenant: &str) -> &TenantLimits {
        self.inner.options.limits.of(tenant)
    }

    /// Nanoseconds since 1970, by the store's clock.
    pub fn now(&self) -> i64 {
        self.inner.now()
    }

    /// What was found damaged since the store was opened.
    pub fn damage(&self) -> Vec<String> {
        self.inner.damage.told()
    }

    pub(crate) fn tails(&self) -> broadcast::Receiver<Arc<Batch>> {
        self.inner.tails.subscribe()
    }

    /// Removes what retention says must go, now.
    pub fn retain(&self) -> io::Result<()> {
        self.inner.retain()
    }

    /// Ends the writer, whoever still has the store. What is in memory is in the journal, and is read again by whoever
    /// opens the store next.
    pub async fn close(self) {
        let Self { messages, writer, inner, .. } = self;
        // Where it has ended already there is nobody to tell.
        drop(messages.send(Message::Close).await);
        let handle = writer.lock().take();
        if let Some(handle) = handle {
            let ended = tokio::task::spawn_blocking(move || handle.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::warn!("the writer of {} did not end well", inner.disk.place());
            }
        }
    }
}

/// Tells the writer of the time, and does retention, as long as there is a store.
async fn maintain(messages: mpsc::WeakSender<Message>, inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let (Some(messages), Some(inner)) = (messages.upgrade(), inner.upgrade()) else { return };
        if messages.send(Message::Tick).await.is_err() {
            return;
        }
        drop(messages);
        let done = tokio::task::spawn_blocking(move || inner.retain()).await;
        if let Ok(Err(error)) = done {
            tracing::warn!("retention of logs: {error}");
        }
    }
}

/// Takes up what is on disk.
fn load(disk: Arc<dyn Disk>, options: Options, clock: Arc<dyn Clock>) -> io::Result<Inner> {
    let damage = Damage::default();
    let mut shared = Shared::default();
    let names = disk.list()?;
    for name in names.iter().filter(|name| name.ends_with(segment::PARTIAL)) {
        disk.remove(name)?;
    }
    let mut segments: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::of(name)).collect();
    segments.sort_unstable();
    for pair in segments.windows(2).filter(|pair| pair[0].number == pair[1].number) {
        disk.remove(&pair[0].file_name())?;
    }
    // Of each number the last generation.
    segments.reverse();
    segments.dedup_by_key(|id| id.number);
    segments.reverse();
    let mut through = 0;
    for id in segments {
        shared.numbered_segments = id.number;
        match Segment::load(&*disk, id, &mut shared.streams) {
            Ok(segment) => {
                through = through.max(segment.footer.journal);
                shared.newest = shared.newest.max(Some(segment.footer.latest));
                shared.segments.push(Arc::new(segment));
            }
            Err(error) if is_damage(&error) => {
                damage.tell(format!("{} of {} is left out: {error}", id.file_name(), disk.place()));
            }
            Err(error) => return Err(error),
        }
    }
    let mut journals: Vec<u64> = names.iter().filter_map(|name| journal::number_of(name)).collect();
    journals.sort_unstable();
    shared.journals = journals.last().copied().unwrap_or(0).max(through);
    let now = i64::try_from(clock.now().as_nanosecond()).unwrap_or(i64::MAX);
    for number in journals.into_iter().filter(|number| *number > through) {
        let replayed = journal::replay(&*disk, number)?;
        if replayed.lost_bytes > 0 {
            let name = journal::file_name(number);
            damage.tell(format!(
                "{} bytes of {name} in {} are damaged and left out",
                replayed.lost_bytes,
                disk.place()
            ));
        }
        for payload in &replayed.payloads {
            let mut fields = Fields(payload);
            while !fields.is_empty() {
                shared.add(&mut fields, now).expect("it was read through before");
            }
        }
    }
    flush::remove_journals(&*disk, through)?;
    let (tails, _) = broadcast::channel(TAIL_QUEUE);
    Ok(Inner {
        disk,
        options,
        clock,
        shared: RwLock::new(shared),
        damage,
        flush_error: Mutex::new(None),
        rates: Rates::default(),
        seen: Mutex::new(SeenTime { last: now, total: 0 }),
        tails,
    })
}

/// Whether a file is broken, rather than out of reach.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other)
}
