//! A layer's archive onto disk: owners, times, attributes, links and devices as they are, deletions as an overlay wants them.
//!
//! The archive comes from anywhere. Every path is looked up as if the layer's directory were `/`, so nothing is ever written outside it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use tar::{Archive, Entry, EntryType};

use crate::rooted::{Rooted, split};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Attributes a layer may bring: file capabilities and users' own. Others would mean something to the overlay or to the node.
const XATTR_PREFIXES: [&str; 2] = ["security.capability", "user."];
const PAX_XATTR: &str = "SCHILY.xattr.";

/// Writes all of `archive` below `target`, an existing directory. Returns the bytes its files hold.
pub(super) fn unpack(archive: impl Read, target: &Path) -> io::Result<u64> {
    let mut unpacker = Unpacker { root: Rooted::open(target)?, parent: None, directories: Vec::new(), bytes: 0 };
    let mut archive = Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let shown = entry.path()?.into_owned();
        unpacker
            .entry(&mut entry)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", shown.display())))?;
    }
    unpacker.finish()?;
    Ok(unpacker.bytes)
}

struct Unpacker {
    root: Rooted,
    /// The directory the last entry was in: most are in the same one.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Times of directories are set last, when nothing is put into them any more.
    directories: Vec<(PathBuf, Timestamps)>,
    bytes: u64,
}

/// Who, how and when, from the header.
struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    times: Timestamps,
}

impl Attributes {
    fn of(entry: &Entry<'_, impl Read>) -> io::Result<Self> {
        let header = entry.header();
        let mtime = Timespec { tv_sec: header.mtime()?.try_into().unwrap_or(0), tv_nsec: 0 };
        Ok(Self {
            uid: Uid::from_raw(owner(&header.as_old().uid, || header.uid())?),
            gid: Gid::from_raw(owner(&header.as_old().gid, || header.gid())?),
            mode: Mode::from_raw_mode(header.mode()? & 0o7777),
            times: Timestamps { last_access: mtime, last_modification: mtime },
        })
    }
}

/// A field some archivers leave blank; then it is root.
fn owner(field: &[u8], parse: impl Fn() -> io::Result<u64>) -> io::Result<u32> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(0);
    }
    parse()?.try_into().map_err(io::Error::other)
}

impl Unpacker {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let Some(path) = clean(&entry.path()?) else {
            // The root itself: only its attributes count.
            let attributes = Attributes::of(entry)?;
            return self.root_attributes(&attributes);
        };
        let (parent_path, name) = split(&path)?;
        let (parent_path, name) = (parent_path.to_owned(), name.to_owned());
        self.enter(&parent_path)?;
        if name.as_bytes() == OPAQUE {
            return self.opaque(&parent_path);
        }
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(OsStr::from_bytes(deleted));
        }
        let kind = entry.header().entry_type();
        let attributes = Attributes::of(entry)?;
        match kind {
            EntryType::Directory => self.directory(&path, &name, &attributes, entry),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&name, &attributes, entry),
            EntryType::Symlink => {
                let target = link_name(entry)?;
                self.clear(&name)?;
                symlinkat(target.as_os_str(), self.parent(), name.as_os_str())?;
                self.outer_attributes(&name, &attributes, false)
            }
            EntryType::Link => self.hard_link(&name, &link_name(entry)?),
            EntryType::Char | EntryType::Block | EntryType::Fifo => self.node(&name, kind, &attributes, entry),
            // Global headers and the like say nothing about files.
            _ => Ok(()),
        }
    }

    fn parent(&self) -> &OwnedFd {
        &self.parent.as_ref().expect("enter() comes before anything is made").1
    }

    fn enter(&mut self, path: &Path) -> io::Result<()> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != path) {
            self.parent = Some((path.to_owned(), self.root.directory(path)?));
        }
        Ok(())
    }

    /// Makes room for something that is not a directory.
    fn clear(&mut self, name: &OsStr) -> io::Result<()> {
        match unlinkat(self.parent(), name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(rustix::io::Errno::ISDIR) => {
                unlinkat(self.parent(), name, AtFlags::REMOVEDIR).map_err(|error| match error {
                    rustix::io::Errno::NOTEMPTY => {
                        io::Error::other("a directory with files in it cannot become something else")
                    }
                    error => error.into(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn directory(
        &mut self,
        path: &Path,
        name: &OsStr,
        attributes: &Attributes,
        entry: &mut Entry<'_, impl Read>,
    ) -> io::Result<()> {
        if mkdirat(self.parent(), name, Mode::from_raw_mode(0o755)) == Err(rustix::io::Errno::EXIST) {
            let known = rustix::fs::statat(self.parent(), name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(known.st_mode) != FileType::Directory {
                self.clear(name)?;
                mkdirat(self.parent(), name, Mode::from_raw_mode(0o755))?;
            }
        }
        let opened =
            openat(self.parent(), name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        fchown(&opened, Some(attributes.uid), Some(attributes.gid))?;
        fchmod(&opened, attributes.mode)?;
        set_xattrs(&opened, entry)?;
        self.directories.push((path.to_owned(), attributes.times.clone()));
        Ok(())
    }

    fn file(&mut self, name: &OsStr, attributes: &Attributes, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || openat(self.parent(), name, flags, Mode::from_raw_mode(0o600));
        let mut file = match create() {
            Err(rustix::io::Errno::EXIST) => {
                self.clear(name)?;
                File::from(openat(self.parent(), name, flags, Mode::from_raw_mode(0o600))?)
            }
            created => File::from(created?),
        };
        self.bytes += io::copy(entry, &mut file)?;
        fchown(&file, Some(attributes.uid), Some(attributes.gid))?;
        // After the owner: changing that takes set-uid bits and file capabilities away.
        fchmod(&file, attributes.mode)?;
        set_xattrs(&file, entry)?;
        Ok(futimens(&file, &attributes.times)?)
    }

    /// To a file of the same layer, by its path from the root.
    fn hard_link(&mut self, name: &OsStr, target: &Path) -> io::Result<()> {
        let target = clean(target).ok_or_else(|| io::Error::other("a hard link to the root"))?;
        let (target_parent, target_name) = split(&target)?;
        let target_parent = self.root.find(target_parent, OFlags::PATH | OFlags::DIRECTORY)?;
        match linkat(&target_parent, target_name, self.parent(), name, AtFlags::empty()) {
            Err(rustix::io::Errno::EXIST) => {
                self.clear(name)?;
                Ok(linkat(&target_parent, target_name, self.parent(), name, AtFlags::empty())?)
            }
            result => Ok(result?),
        }
    }

    fn node(
        &mut self,
        name: &OsStr,
        kind: EntryType,
        attributes: &Attributes,
        entry: &Entry<'_, impl Read>,
    ) -> io::Result<()> {
        self.clear(name)?;
        let file_type = match kind {
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let number = match file_type {
            FileType::Fifo => 0,
            _ => {
                let (major, minor) = (entry.header().device_major()?, entry.header().device_minor()?);
                rustix::fs::makedev(major.unwrap_or(0), minor.unwrap_or(0))
            }
        };
        if file_type == FileType::CharacterDevice && number == 0 {
            // Would be taken for a deletion; no archive has a reason to hold it.
            return Ok(());
        }
        mknodat(self.parent(), name, file_type, Mode::from_raw_mode(0o600), number)?;
        self.outer_attributes(name, attributes, true)
    }

    /// For what cannot be opened.
    fn outer_attributes(&self, name: &OsStr, attributes: &Attributes, mode: bool) -> io::Result<()> {
        chownat(self.parent(), name, Some(attributes.uid), Some(attributes.gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if mode {
            chmodat(self.parent(), name, attributes.mode, AtFlags::empty())?;
        }
        Ok(utimensat(self.parent(), name, &attributes.times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn root_attributes(&mut self, attributes: &Attributes) -> io::Result<()> {
        let root = self.root.find(Path::new("/"), OFlags::DIRECTORY)?;
        fchown(&root, Some(attributes.uid), Some(attributes.gid))?;
        fchmod(&root, attributes.mode)?;
        Ok(())
    }

    /// Nothing of the layers below shows through this directory.
    fn opaque(&self, path: &Path) -> io::Result<()> {
        let directory = self.root.find(path, OFlags::DIRECTORY)?;
        Ok(fsetxattr(&directory, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
    }

    /// A file of the layers below is gone. What this layer itself has of that name stays.
    fn whiteout(&self, name: &OsStr) -> io::Result<()> {
        if name.is_empty() || name == "." || name == ".." {
            return Err(io::Error::other("a deletion of nothing"));
        }
        match mknodat(self.parent(), name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.parent = None;
        for (path, times) in std::mem::take(&mut self.directories) {
            // A later entry may have put something else there.
            if let Ok(directory) = self.root.find(&path, OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                futimens(&directory, &times)?;
            }
        }
        Ok(())
    }
}

/// Relative, without `.`; `None` for the root. A `..` is refused: no honest archive has one.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            // Looked up below the root, where it could at most lead to the root.
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!parts.as_os_str().is_empty()).then_some(parts)
}

fn link_name(entry: &Entry<'_, impl Read>) -> io::Result<PathBuf> {
    let name = entry.link_name_bytes().ok_or_else(|| io::Error::other("a link to nothing"))?;
    Ok(PathBuf::from(OsString::from_vec(name.into_owned())))
}

fn set_xattrs(file: impl AsFd, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(PAX_XATTR)) else { continue };
        if XATTR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            match fsetxattr(&file, name, extension.value_bytes(), XattrFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    use tar::{Builder, Header};

    use super::*;

    struct Layer(Builder<Vec<u8>>);

    impl Layer {
        fn new() -> Self {
            Self(Builder::new(Vec::new()))
        }

        fn add(mut self, kind: EntryType, path: &str, link: &str, content: &str) -> Self {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o4755 });
            header.set_uid(1000);
            header.set_gid(2000);
            header.set_mtime(1_700_000_000);
            // Written as bytes: the library itself refuses some of the paths we must survive.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            self.0.append(&header, content.as_bytes()).unwrap();
            self
        }

        fn unpack(self) -> (tempfile::TempDir, io::Result<u64>) {
            let outer = tempfile::tempdir().unwrap();
            let target = outer.path().join("layer");
            std::fs::create_dir(&target).unwrap();
            let result = unpack(&self.0.into_inner().unwrap()[..], &target);
            (outer, result)
        }
    }

    #[test]
    fn files_keep_what_they_are() {
        let (outer, result) = Layer::new()
            .add(EntryType::Directory, "./bin/", "", "")
            .add(EntryType::Regular, "bin/su", "", "code")
            .add(EntryType::Link, "bin/again", "bin/su", "")
            .add(EntryType::Symlink, "sh", "/bin/su", "")
            .add(EntryType::Fifo, "pipe", "", "")
            .unpack();
        assert_eq!(result.unwrap(), 4);
        let at = |path: &str| outer.path().join("layer").join(path);
        let su = at("bin/su").metadata().unwrap();
        assert_eq!(
            (su.uid(), su.gid(), su.permissions().mode() & 0o7777, su.mtime()),
            (1000, 2000, 0o4755, 1_700_000_000)
        );
        assert_eq!(su.ino(), at("bin/again").metadata().unwrap().ino());
        let bin = at("bin").metadata().unwrap();
        assert_eq!((bin.permissions().mode() & 0o7777, bin.mtime()), (0o750, 1_700_000_000));
        assert_eq!(std::fs::read_link(at("sh")).unwrap(), Path::new("/bin/su"));
        assert!(at("pipe").metadata().unwrap().file_type().is_fifo());
    }

    #[test]
    fn nothing_gets_out() {
        let (outer, result) = Layer::new()
            .add(EntryType::Regular, "../../escaped", "", "x")
            .add(EntryType::Symlink, "out", "../..", "")
            .add(EntryType::Regular, "out/through-link", "", "x")
            .add(EntryType::Symlink, "etc", "/etc", "")
            .add(EntryType::Directory, "etc2", "", "")
            .add(EntryType::Link, "passwd", "../../../../etc/passwd", "")
            .unpack();
        // The link's target does not exist inside.
        assert!(result.is_err());
        let inside = outer.path().join("layer");
        assert!(inside.join("escaped").exists() && inside.join("through-link").exists());
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
        assert!(!inside.join("passwd").exists());
    }

    #[test]
    fn deletions_are_the_overlays() {
        let (outer, result) = Layer::new()
            .add(EntryType::Directory, "a", "", "")
            .add(EntryType::Regular, "a/.wh.gone", "", "")
            .add(EntryType::Regular, "a/kept", "", "x")
            .add(EntryType::Regular, "a/.wh.kept", "", "")
            .add(EntryType::Regular, "b/.wh..wh..opq", "", "")
            .unpack();
        result.unwrap();
        let at = |path: &str| outer.path().join("layer").join(path);
        let gone = at("a/gone").symlink_metadata().unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert!(at("a/kept").metadata().unwrap().is_file());
        let mut value = [0; 1];
        rustix::fs::getxattr(at("b"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value, b"y");
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let (outer, result) = Layer::new()
            .add(EntryType::Regular, "x", "", "old")
            .add(EntryType::Symlink, "x", "/etc/passwd", "")
            .add(EntryType::Regular, "x", "", "new")
            .add(EntryType::Regular, "d", "", "file")
            .add(EntryType::Directory, "d", "", "")
            .unpack();
        result.unwrap();
        assert_eq!(std::fs::read_to_string(outer.path().join("layer/x")).unwrap(), "new");
        assert!(outer.path().join("layer/d").is_dir());
    }
}
