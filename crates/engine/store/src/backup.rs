//! Backup and restore: everything in one file.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    disk::{Directory, Disk},
    log,
    open::OpenError,
    snapshot::Snapshot,
    snapshot_file,
};

/// How far a restored store's revision is ahead of its backup's, so that it is beyond all that was handed out after the
/// backup was made: clients that saw those revisions find them forgotten, and list again.
pub const REVISION_LEAP: u64 = 1_000_000_000;

/// What a backup or a restore dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The store's revision: of a backup, the one it shows; of a restore, the one the store goes on from.
    pub revision: u64,
    /// How many objects.
    pub objects: usize,
    /// The file's size.
    pub bytes: u64,
}

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A path that is not a file in a directory.
    #[error("{} does not name a file", .0.display())]
    Path(PathBuf),
    /// The file cannot be written.
    #[error("backup to {}: {cause}", .file.display())]
    Write {
        /// The backup.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is no backup, or not a whole one, or the directory is another's.
    #[error(transparent)]
    Read(#[from] OpenError),
    /// There is a store in the directory already.
    #[error("{} holds a store already: restore into an empty directory, or move it away", .0.display())]
    Occupied(PathBuf),
    /// The engine is stopping.
    #[error("the backup was interrupted")]
    Interrupted,
}

pub(crate) fn write(snapshot: &Snapshot, to: &Path) -> Result<Backup, BackupError> {
    let (directory, name) = split(to)?;
    let revision = snapshot.revision();
    let bytes = snapshot_file::write(&directory, name, snapshot, revision)
        .map_err(|cause| BackupError::Write { file: to.to_owned(), cause })?;
    Ok(Backup { revision, objects: snapshot.len(), bytes })
}

/// Makes a store in a directory that has none, from a backup. The backup is read and checked as a whole first.
pub fn restore(from: &Path, directory: &Path) -> Result<Backup, BackupError> {
    let (source, name) = split(from)?;
    let (snapshot, bytes) = snapshot_file::read(&source, name)?;
    let target = Directory::open(directory).map_err(OpenError::Disk)?;
    let names = target.list().map_err(OpenError::Disk)?;
    if names.iter().any(|name| log::base_of(name).or_else(|| snapshot_file::revision_of(name)).is_some()) {
        return Err(BackupError::Occupied(directory.to_owned()));
    }
    let revision = snapshot.revision() + REVISION_LEAP;
    snapshot_file::write(&target, &snapshot_file::file_name(revision), &snapshot, revision)
        .map_err(|cause| BackupError::Write { file: directory.to_owned(), cause })?;
    Ok(Backup { revision, objects: snapshot.len(), bytes })
}

fn split(path: &Path) -> Result<(Directory, &str), BackupError> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| BackupError::Path(path.to_owned()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Directory::shared(parent), name))
}
