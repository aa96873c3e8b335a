//! Opening: the newest snapshot file, then the log after it.
//!
//! A log whose last frame was cut off opens at the last whole one: nobody was told that the rest had happened. Anything
//! else that does not read as it was written is refused, untouched, with where it is and what can be done.

use std::{io, sync::Arc};

use crate::{
    disk::{Disk, DiskFile},
    frame::{FileKind, Form, Found, Frames, Item, ItemError, LogEntry, VERSION, items},
    log::{self, Log},
    record::Entry,
    snapshot::Snapshot,
    snapshot_file::{self, path, read_header},
    store::{Options, Shared},
    watch::{Bounds, Event, EventKind, Topics},
    writer::Writer,
};

/// The revision of a store in which nothing was ever written.
const FIRST_REVISION: u64 = 1;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or the disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The files are not as they were written.
    #[error(
        "{file} is damaged at byte {offset}: {problem}. Nothing was changed. Restore the newest backup into an empty \
         directory; or, if what the file holds from there on may be lost, cut it off with `truncate -s {offset} {file}` \
         and move later log files away"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where the first thing that is wrong starts.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// A log file is gone.
    #[error(
        "the log file that starts after revision {after} is missing from {place}: {next} starts after revision {found}. \
         Nothing was changed. Put the file back, or restore the newest backup into an empty directory"
    )]
    Missing {
        /// Where the last revision that was found is.
        after: u64,
        /// The directory.
        place: String,
        /// The next file there is.
        next: String,
        /// The revision it continues from.
        found: u64,
    },
    /// Something is sealed with a key that is not there.
    #[error(
        "{file} cannot be opened at byte {offset}: {problem}. Nothing was changed. Put the encryption key that it was \
         written with back where it was"
    )]
    Sealed {
        /// The file.
        file: String,
        /// Where the first thing that cannot be opened stands.
        offset: u64,
        /// What, and why.
        problem: String,
    },
    /// Written by another version.
    #[error(
        "{file} has format version {version}, and this version of coracle reads up to {VERSION}: use the coracle that wrote it"
    )]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
}

impl OpenError {
    pub(crate) fn damaged(disk: &dyn Disk, name: &str, offset: u64, problem: impl Into<String>) -> Self {
        Self::Damaged { file: path(disk, name), offset, problem: problem.into() }
    }

    pub(crate) fn item(disk: &dyn Disk, name: &str, offset: u64, error: ItemError) -> Self {
        match error {
            ItemError::Broken => Self::damaged(disk, name, offset, "an entry cannot be read"),
            ItemError::Sealed(problem) => Self::Sealed { file: path(disk, name), offset, problem },
        }
    }
}

/// Opens the store on a disk.
pub(crate) fn open(disk: Arc<dyn Disk>, options: &Options) -> Result<(Arc<Shared>, Writer), OpenError> {
    let found = Files::list(&*disk)?;
    let form = options.form();
    let (base, snapshot_bytes) = match found.snapshots.last() {
        Some(revision) => {
            let read = snapshot_file::read(&*disk, &snapshot_file::file_name(*revision), &form)?;
            (read.snapshot, read.bytes)
        }
        None => (Snapshot::new(FIRST_REVISION, imbl::OrdSet::new()), 0),
    };
    let mut replay = Replay::new(&base, form.clone(), Until::default());
    let tail = replay.logs(&*disk, found.logs_after(base.revision()))?;
    found.remove_leftovers(&*disk, base.revision(), &replay)?;
    let log = match tail {
        Some(tail) => {
            let name = log::file_name(tail.base);
            Log::resume(Arc::clone(&disk), disk.open(&name)?, tail.base, tail.end, options.reserve_bytes)?
        }
        None => Log::create(Arc::clone(&disk), base.revision(), options.reserve_bytes)?,
    };
    let bounds = Bounds { events: options.history_events, bytes: options.history_bytes };
    let present = Snapshot::new(replay.revision, replay.objects);
    let topics = Topics::new(bounds, base.revision(), &present);
    topics.announce(replay.events, &present);
    let shared = Arc::new(Shared::new(&present, topics));
    let older_bytes = replay.bytes.saturating_sub(log.bytes());
    let writer =
        Writer::new(Arc::clone(&shared), disk, log, form, options.compact_after_bytes, snapshot_bytes, older_bytes);
    Ok((shared, writer))
}

/// The state in a directory's files, up to a point; nothing is changed.
pub(crate) fn state_at(disk: &dyn Disk, form: &Form, until: Until) -> Result<Result<Snapshot, OutOfReach>, OpenError> {
    let found = Files::list(disk)?;
    let (base, written_ms) = match found.snapshots.last() {
        Some(revision) => {
            let read = snapshot_file::read(disk, &snapshot_file::file_name(*revision), form)?;
            (read.snapshot, read.written_ms)
        }
        None => (Snapshot::new(FIRST_REVISION, imbl::OrdSet::new()), Some(0)),
    };
    let mut replay = Replay::new(&base, form.clone(), until);
    replay.logs(disk, found.logs_after(base.revision()))?;
    let reach = OutOfReach { oldest: base.revision(), newest: replay.newest, oldest_ms: written_ms };
    let too_old = until.unix_ms.is_some_and(|ms| written_ms.is_none_or(|written| ms < written));
    let unknown = until.revision.is_some_and(|revision| revision < reach.oldest || revision > reach.newest);
    if too_old || unknown || (until.unix_ms.is_some() && replay.is_timeless) {
        return Ok(Err(reach));
    }
    Ok(Ok(Snapshot::new(replay.revision, replay.objects)))
}

/// Up to where the log is followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// The last revision that counts.
    pub revision: Option<u64>,
    /// The last moment that counts, in milliseconds since 1970.
    pub unix_ms: Option<u64>,
}

impl Until {
    fn includes(&self, revision: u64, written_ms: Option<u64>) -> bool {
        self.revision.is_none_or(|last| revision <= last)
            && self.unix_ms.is_none_or(|last| written_ms.is_some_and(|written| written <= last))
    }
}

/// What a log has, where a point was asked for that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfReach {
    /// The oldest revision.
    pub oldest: u64,
    /// The newest.
    pub newest: u64,
    /// When the oldest was, in milliseconds since 1970, where that is known.
    pub oldest_ms: Option<u64>,
}

/// The files there are, oldest first.
struct Files {
    snapshots: Vec<u64>,
    logs: Vec<u64>,
    partial: Vec<String>,
}

impl Files {
    fn list(disk: &dyn Disk) -> io::Result<Self> {
        let names = disk.list()?;
        let mut snapshots: Vec<u64> = names.iter().filter_map(|name| snapshot_file::revision_of(name)).collect();
        let mut logs: Vec<u64> = names.iter().filter_map(|name| log::base_of(name)).collect();
        snapshots.sort_unstable();
        logs.sort_unstable();
        let partial = names.into_iter().filter(|name| name.ends_with(".partial")).collect();
        Ok(Self { snapshots, logs, partial })
    }

    /// The logs that may hold something after a snapshot: those another one starts after are told by it.
    fn logs_after(&self, revision: u64) -> &[u64] {
        let first = self.logs.partition_point(|base| *base <= revision).saturating_sub(1);
        &self.logs[first..]
    }

    /// What a compaction that was cut short left behind, and what the snapshot made superfluous.
    fn remove_leftovers(&self, disk: &dyn Disk, revision: u64, replay: &Replay) -> io::Result<()> {
        let old_logs = self.logs.iter().filter(|base| !self.logs_after(revision).contains(base));
        let logs = old_logs.chain(&replay.empty_leftovers).map(|base| log::file_name(*base));
        let snapshots = self.snapshots.iter().rev().skip(1).map(|revision| snapshot_file::file_name(*revision));
        for name in logs.chain(snapshots).chain(self.partial.iter().cloned()) {
            disk.remove(&name)?;
        }
        Ok(())
    }
}

/// The log file to go on with.
struct Tail {
    base: u64,
    end: u64,
}

/// The state while logs are read.
struct Replay {
    objects: imbl::OrdSet<Entry>,
    revision: u64,
    events: Vec<Arc<Event>>,
    /// All logs' lengths.
    bytes: u64,
    /// Files without a commit that were started and then not used, because it was not known whether starting had worked.
    empty_leftovers: Vec<u64>,
    form: Form,
    until: Until,
    /// The newest revision there is, whether it counts or not.
    newest: u64,
    /// When what is read next was written.
    written_ms: Option<u64>,
    /// Whether something has no time.
    is_timeless: bool,
}

impl Replay {
    fn new(base: &Snapshot, form: Form, until: Until) -> Self {
        let (objects, revision) = (base.0.objects.clone(), base.revision());
        Self {
            objects,
            revision,
            events: Vec::new(),
            bytes: 0,
            empty_leftovers: Vec::new(),
            form,
            until,
            newest: revision,
            written_ms: None,
            is_timeless: false,
        }
    }

    fn logs(&mut self, disk: &dyn Disk, bases: &[u64]) -> Result<Option<Tail>, OpenError> {
        let mut tail: Option<Tail> = None;
        let mut torn: Option<(String, u64)> = None;
        for base in bases {
            let name = log::file_name(*base);
            let file = disk.open(&name)?;
            let header = read_header(disk, &name, &*file, FileKind::Log);
            let unused = header.is_err() || torn.is_some() || *base < self.newest;
            if unused && *base <= self.newest && starts_no_commit(&*file)? {
                self.empty_leftovers.push(*base);
                continue;
            }
            if let Some((name, offset)) = torn {
                return Err(OpenError::damaged(
                    disk,
                    &name,
                    offset,
                    "a commit is cut off, and a later log file goes on",
                ));
            }
            header?;
            // The first log may start before the snapshot; what the snapshot has is passed over.
            if *base != self.newest && (tail.is_some() || *base > self.newest) {
                let place = disk.place();
                return Err(OpenError::Missing { after: self.newest, place, next: name, found: *base });
            }
            let (end, whole) = self.log(disk, &name, &*file)?;
            torn = (!whole).then_some((name, end));
            self.bytes += end;
            tail = Some(Tail { base: *base, end });
        }
        Ok(tail)
    }

    /// Reads one log, and returns where its last whole frame ends, and whether that is its end.
    fn log(&mut self, disk: &dyn Disk, name: &str, file: &dyn DiskFile) -> Result<(u64, bool), OpenError> {
        let mut frames = Frames::new(file)?;
        let mut last = 0;
        loop {
            let offset = frames.offset;
            let damaged = |problem: String| OpenError::damaged(disk, name, offset, problem);
            match frames.next()? {
                Found::Frame(payload) => {
                    let sealer = self.form.sealer.clone();
                    self.written_ms = None;
                    for item in items(payload, sealer.as_deref()) {
                        let entry = match item.map_err(|error| OpenError::item(disk, name, offset, error))? {
                            Item::Time(ms) => {
                                self.written_ms = Some(ms);
                                continue;
                            }
                            Item::Entry(entry) => entry,
                        };
                        let revision = entry.record.revision();
                        if revision <= last {
                            return Err(damaged(format!("revision {revision} comes after {last}")));
                        }
                        last = revision;
                        self.take(entry);
                    }
                }
                Found::End => return Ok((offset, true)),
                Found::Torn => {
                    tracing::warn!(
                        file = name,
                        offset,
                        "the last commit was cut off before it was acknowledged; it is dropped"
                    );
                    return Ok((offset, false));
                }
                Found::Damaged { whole_at } => {
                    return Err(damaged(format!(
                        "a checksum does not fit, and whole commits follow at byte {whole_at}"
                    )));
                }
            }
        }
    }

    fn take(&mut self, entry: LogEntry) {
        let revision = entry.record.revision();
        if revision <= self.newest {
            return;
        }
        self.newest = revision;
        self.is_timeless |= self.written_ms.is_none();
        if self.until.includes(revision, self.written_ms) {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: LogEntry) {
        self.revision = entry.record.revision();
        let previous = match entry.deleted {
            true => self.objects.remove(entry.record.key_bytes()),
            false => self.objects.insert(entry.entry()),
        };
        let kind = match (entry.deleted, &previous) {
            (true, _) => EventKind::Deleted,
            (false, None) => EventKind::Created,
            (false, Some(_)) => EventKind::Updated,
        };
        self.events.push(Arc::new(Event { record: entry.record, previous: previous.map(|entry| entry.0), kind }));
    }
}

/// Whether a log holds no commit at all, be it that not even its header was written.
fn starts_no_commit(file: &dyn DiskFile) -> io::Result<bool> {
    let mut frames = Frames::new(file)?;
    Ok(!matches!(frames.next()?, Found::Frame(_) | Found::Damaged { .. }))
}
