//! Network namespaces that live as files: made by a throw-away thread, kept by a bind mount, found again after a crash.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, statfs},
};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// The file system type of namespace files, from linux/magic.h.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// What working with a namespace can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call refused.
    #[error("{call} {path}: {errno}", path = path.display())]
    Refused { call: &'static str, path: PathBuf, errno: Errno },
    /// The file that a namespace is mounted on cannot be made, opened or removed.
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// The thread that should have worked inside ended without an answer.
    #[error("thread inside {path} failed", path = path.display())]
    Thread { path: PathBuf },
}

impl Error {
    fn refused(call: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused { call, path: path.to_owned(), errno }
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), source }
    }
}

/// An open network namespace, and the path it was found at.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
    path: PathBuf,
}

impl NetworkNamespace {
    /// Makes a new namespace, mounted at `path`.
    pub fn create(path: &Path) -> Result<Self, Error> {
        File::create(path).map_err(Error::file(path))?;
        on_thread(path, || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(Error::refused("unshare network for", path))?;
            mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(Error::refused("bind-mount", path))
        })??;
        Self::open(path)?.ok_or_else(|| Error::Thread { path: path.to_owned() })
    }

    /// The namespace mounted at `path`; `None` when nothing, or only a plain file, is there.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(path)(error)),
            Ok(file) if is_namespace(path) => Ok(Some(Self { file, path: path.to_owned() })),
            Ok(_) => Ok(None),
        }
    }

    /// The one the calling thread is in.
    pub fn current() -> Result<Self, Error> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        let file = File::open(&path).map_err(Error::file(&path))?;
        Ok(Self { file, path })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the calling thread into it.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(Error::refused("enter", &self.path))
    }

    /// Runs `work` on a thread of its own inside it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread(&self.path, || self.enter().map(|()| work()))?
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Unmounts and removes the namespace file at `path`, if there is one. The namespace itself ends with its last user.
pub fn remove(path: &Path) -> Result<(), Error> {
    // A file may have been mounted on more than once when an engine died in between.
    while is_namespace(path) {
        umount2(path, MntFlags::MNT_DETACH).map_err(Error::refused("unmount", path))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}

/// Makes `directory` a shared mount of its own, so that an unmount below it reaches the mount namespaces of containers.
pub fn share_directory(directory: &Path) -> Result<(), Error> {
    if !is_mount_point(directory) {
        mount(Some(directory), directory, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(Error::refused("bind-mount", directory))?;
    }
    mount(None::<&str>, directory, None::<&str>, MsFlags::MS_SHARED, None::<&str>)
        .map_err(Error::refused("share", directory))
}

/// Undoes [`share_directory`].
pub fn unshare_directory(directory: &Path) -> Result<(), Error> {
    while is_mount_point(directory) {
        umount2(directory, MntFlags::MNT_DETACH).map_err(Error::refused("unmount", directory))?;
    }
    Ok(())
}

fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

fn is_mount_point(path: &Path) -> bool {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn on_thread<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|_| Error::Thread { path: path.to_owned() })
}
