//! Paths inside a directory that is somebody else's root: no symbolic link and no `..` in it leads out.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat};

/// As many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// A directory, open, in which paths are looked up as if it were `/`.
#[derive(Debug)]
pub(crate) struct Rooted {
    fd: OwnedFd,
}

impl From<OwnedFd> for Rooted {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Rooted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Rooted {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::open(path, flags, Mode::empty())? })
    }

    pub fn find(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        openat2(&self.fd, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The directory at `path`, made where absent (0755, root's), with its parents. A link to nothing gets what it leads to, inside.
    pub fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        self.directory_through(path, MAX_LINKS)
    }

    fn directory_through(&self, path: &Path, links_left: u32) -> io::Result<OwnedFd> {
        match self.find(path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(found) => return Ok(found),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let (parent_path, name) = split(path)?;
        let parent = self.directory_through(parent_path, links_left)?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) if links_left > 0 => {
                // Either made meanwhile, or a link whose target is missing.
                if let Ok(target) = readlinkat(&parent, name, Vec::new()) {
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    return self.directory_through(&parent_path.join(target), links_left - 1);
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(self.find(path, OFlags::PATH | OFlags::DIRECTORY)?)
    }
}

/// Parent and last part; the latter is a plain name.
pub(crate) fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let name = path.file_name();
    match (path.parent(), name) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} names no file"))),
    }
}
