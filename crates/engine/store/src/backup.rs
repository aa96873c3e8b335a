//! Backup and restore: everything in one file, the log's history with it.
//!
//! ```text
//! backup  = "CORACLEB" version:u32 revision:u64 section* end
//! section = name_length:u16 length:u64 name bytes
//! end     = 0:u16 crc32c:u32                            of all that comes before the checksum
//! ```
//! Sections are the store's own files as they lie on the disk (so what is sealed there is sealed here), and files of
//! others, whose names start with `+`.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    disk::{Directory, Disk, DiskFile, MemoryDisk},
    log,
    open::{self, OpenError, OutOfReach, Until},
    snapshot_file,
    store::Options,
};

/// How far a restored store's revision is ahead of its backup's, so that it is beyond all that was handed out after the
/// backup was made: clients that saw those revisions find them forgotten, and list again.
pub const REVISION_LEAP: u64 = 1_000_000_000;

const NAME: &[u8; 8] = b"CORACLEB";
const VERSION: u32 = 1;
const PIECE_BYTES: usize = 64 << 10;
/// What other files' names start with.
const OTHERS: char = '+';

/// What a backup or a restore dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The store's revision: of a backup, the newest it has; of a restore, the one the store goes on from.
    pub revision: u64,
    /// How many objects; of a backup 0, since it does not look.
    pub objects: usize,
    /// The file's size.
    pub bytes: u64,
}

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup cannot be written.
    #[error("writing the backup: {0}")]
    Write(#[source] io::Error),
    /// The file cannot be read.
    #[error("reading the backup: {0}")]
    Unreadable(#[source] io::Error),
    /// The file is no backup, or not a whole one.
    #[error("this is no whole backup: {0}. Nothing was changed; use another one")]
    Damaged(String),
    /// What is in it cannot be read, or the directory is another's.
    #[error(transparent)]
    Read(#[from] OpenError),
    /// There is a store in the directory already.
    #[error("{} holds a store already: restore into an empty directory, or move it away", .0.display())]
    Occupied(PathBuf),
    /// The point in time is not in it.
    #[error("the backup reaches from revision {} to {}{}, and not to the point asked for", .0.oldest, .0.newest, since(.0))]
    OutOfReach(OutOfReach),
    /// The engine is stopping.
    #[error("the backup was interrupted")]
    Interrupted,
}

fn since(reach: &OutOfReach) -> String {
    match reach.oldest_ms {
        Some(0) | None => String::new(),
        Some(ms) => format!(" (written {} s after 1970)", ms / 1000),
    }
}

/// A file to be copied up to a length.
pub(crate) struct Part {
    name: String,
    file: Box<dyn DiskFile>,
    bytes: u64,
}

/// Opens the newest snapshot and the logs after it. The log that starts after `base` is still written; up to `bytes` it
/// does not change any more.
pub(crate) fn open_parts(disk: &dyn Disk, base: u64, bytes: u64) -> io::Result<Vec<Part>> {
    let names = disk.list()?;
    let newest = names.iter().filter_map(|name| snapshot_file::revision_of(name)).max();
    let mut parts = Vec::new();
    for name in names {
        let is_newest = snapshot_file::revision_of(&name).is_some_and(|revision| Some(revision) == newest);
        let log_base = log::base_of(&name).filter(|log_base| *log_base <= base);
        if !is_newest && log_base.is_none() {
            continue;
        }
        let file = disk.open(&name)?;
        let bytes = if log_base == Some(base) { bytes } else { file.size()? };
        parts.push(Part { name, file, bytes });
    }
    Ok(parts)
}

/// Writes a backup.
pub(crate) fn write(
    parts: Vec<Part>,
    more: Vec<(String, Vec<u8>)>,
    revision: u64,
    into: impl Write,
) -> Result<Backup, BackupError> {
    let mut out = Summed { inner: into, crc: 0, bytes: 0 };
    write_all(&mut out, parts, more, revision).map_err(BackupError::Write)?;
    Ok(Backup { revision, objects: 0, bytes: out.bytes })
}

fn write_all<W: Write>(
    out: &mut Summed<W>,
    parts: Vec<Part>,
    more: Vec<(String, Vec<u8>)>,
    revision: u64,
) -> io::Result<()> {
    out.write_all(NAME)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&revision.to_le_bytes())?;
    for (name, content) in more {
        start_section(out, &format!("{OTHERS}{name}"), content.len() as u64)?;
        out.write_all(&content)?;
    }
    let mut piece = vec![0; PIECE_BYTES];
    for part in parts {
        start_section(out, &part.name, part.bytes)?;
        let mut at = 0;
        while at < part.bytes {
            let wanted = (part.bytes - at).min(PIECE_BYTES as u64) as usize;
            let read = part.file.read_at(at, &mut piece[..wanted])?;
            if read == 0 {
                return Err(io::Error::other(format!("{} became shorter while it was copied", part.name)));
            }
            out.write_all(&piece[..read])?;
            at += read as u64;
        }
    }
    out.write_all(&0u16.to_le_bytes())?;
    let crc = out.crc;
    out.write_all(&crc.to_le_bytes())?;
    out.inner.flush()
}

fn start_section<W: Write>(out: &mut Summed<W>, name: &str, bytes: u64) -> io::Result<()> {
    let name_len = u16::try_from(name.len()).map_err(io::Error::other)?;
    out.write_all(&name_len.to_le_bytes())?;
    out.write_all(&bytes.to_le_bytes())?;
    out.write_all(name.as_bytes())
}

/// Counts and checksums what goes through.
struct Summed<T> {
    inner: T,
    crc: u32,
    bytes: u64,
}

impl<T> Summed<T> {
    fn count(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Summed<R> {
    fn take(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        self.inner.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Damaged(format!("it ends after {} bytes", self.bytes)),
            _ => BackupError::Unreadable(error),
        })?;
        self.count(into);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }
}

/// A backup that was read and found whole.
pub struct Contents {
    /// The newest revision in it.
    pub revision: u64,
    /// The files of others.
    pub more: Vec<(String, Vec<u8>)>,
    files: MemoryDisk,
    bytes: u64,
}

/// What to restore.
#[derive(Clone, Default)]
pub struct Restore {
    /// How the store is to be opened afterwards: its sealer opens what the backup has sealed.
    pub options: Options,
    /// Up to where; everything by default.
    pub until: Until,
}

impl Contents {
    /// Reads a backup as a whole, and checks its sum.
    pub fn read(from: impl Read) -> Result<Self, BackupError> {
        let mut from = Summed { inner: from, crc: 0, bytes: 0 };
        if from.array::<8>()? != *NAME {
            return Err(BackupError::Damaged("it does not start like one".to_owned()));
        }
        let version = u32::from_le_bytes(from.array()?);
        if version != VERSION {
            return Err(BackupError::Damaged(format!("it has version {version}, and this coracle reads {VERSION}")));
        }
        let mut contents =
            Self { revision: u64::from_le_bytes(from.array()?), more: Vec::new(), files: MemoryDisk::new(), bytes: 0 };
        loop {
            let name_len = u16::from_le_bytes(from.array()?);
            if name_len == 0 {
                break;
            }
            let bytes = u64::from_le_bytes(from.array()?);
            let mut name = vec![0; name_len.into()];
            from.take(&mut name)?;
            let name = String::from_utf8(name).map_err(|_| BackupError::Damaged("a name is no text".to_owned()))?;
            contents.section(&name, bytes, &mut from)?;
        }
        let crc = from.crc;
        if u32::from_le_bytes(from.array()?) != crc {
            return Err(BackupError::Damaged("its checksum does not fit".to_owned()));
        }
        contents.bytes = from.bytes;
        Ok(contents)
    }

    fn section(&mut self, name: &str, bytes: u64, from: &mut Summed<impl Read>) -> Result<(), BackupError> {
        if let Some(name) = name.strip_prefix(OTHERS) {
            let mut content = Vec::new();
            from.copy(bytes, |piece| {
                content.extend_from_slice(piece);
                Ok(())
            })?;
            self.more.push((name.to_owned(), content));
            return Ok(());
        }
        let mut file = self.files.create(name).map_err(BackupError::Unreadable)?;
        let mut at = 0;
        from.copy(bytes, |piece| {
            file.write_at(at, piece)?;
            at += piece.len() as u64;
            Ok(())
        })
    }

    /// Makes a store in a directory that has none.
    pub fn restore(&self, directory: &Path, restore: &Restore) -> Result<Backup, BackupError> {
        let form = restore.options.form();
        let snapshot = open::state_at(&self.files, &form, restore.until)?.map_err(BackupError::OutOfReach)?;
        let target = Directory::open(directory).map_err(OpenError::Disk)?;
        let names = target.list().map_err(OpenError::Disk)?;
        if names.iter().any(|name| log::base_of(name).or_else(|| snapshot_file::revision_of(name)).is_some()) {
            return Err(BackupError::Occupied(directory.to_owned()));
        }
        let revision = self.revision.max(snapshot.revision()) + REVISION_LEAP;
        let name = snapshot_file::file_name(revision);
        snapshot_file::write(&target, &name, &snapshot, revision, &form).map_err(BackupError::Write)?;
        Ok(Backup { revision, objects: snapshot.len(), bytes: self.bytes })
    }
}

impl<R: Read> Summed<R> {
    /// Passes on so many bytes, piece by piece: a length that was damaged must not make us ask for all memory.
    fn copy(&mut self, bytes: u64, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), BackupError> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = bytes;
        while left > 0 {
            let wanted = left.min(PIECE_BYTES as u64) as usize;
            self.take(&mut piece[..wanted])?;
            to(&piece[..wanted]).map_err(BackupError::Unreadable)?;
            left -= wanted as u64;
        }
        Ok(())
    }
}
