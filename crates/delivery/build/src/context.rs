//! The build context: the files a Dockerfile may copy from, wherever they lie.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use coracle_registry::Digest;
use sha2::{Digest as _, Sha256};

/// What one entry of a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    /// A regular file.
    File {
        /// Whether its owner may run it; nothing else of the mode counts, so that a checkout's umask never shows.
        executable: bool,
        /// Its length.
        size_bytes: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, which is copied as it is and never followed out of the context.
    Symlink {
        /// Where it points, as written.
        target: String,
    },
}

/// One entry of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// Relative to the context's root, separated by `/`, with no `.` or `..` in it.
    pub path: String,
    /// What it is.
    pub kind: ContextKind,
    /// Names the content of a file (a Git blob id, or any other hash): equal where the content is equal.
    /// None where it is costly to know; it is then asked for by [`Context::content_id`] when needed.
    pub content_id: Option<String>,
}

/// Files to build from.
pub trait Context: Send + Sync {
    /// Everything in it, directories included, sorted by path.
    fn entries(&self) -> io::Result<Vec<ContextEntry>>;

    /// The content of the file at `path`.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// The content's name, for a file whose entry does not carry it.
    fn content_id(&self, path: &str) -> io::Result<String>;
}

/// A directory as the context.
#[derive(Debug, Clone)]
pub struct DirectoryContext {
    root: PathBuf,
}

impl DirectoryContext {
    /// The files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn visit(&self, directory: &Path, prefix: &str, found: &mut Vec<ContextEntry>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{prefix}{}: the name is not UTF-8", name.to_string_lossy()),
                )
            })?;
            let path = format!("{prefix}{name}");
            let metadata = fs::symlink_metadata(entry.path())?;
            let file_type = metadata.file_type();
            let kind = if file_type.is_dir() {
                self.visit(&entry.path(), &format!("{path}/"), found)?;
                ContextKind::Directory
            } else if file_type.is_symlink() {
                ContextKind::Symlink { target: fs::read_link(entry.path())?.to_string_lossy().into_owned() }
            } else if file_type.is_file() {
                ContextKind::File { executable: metadata.permissions().mode() & 0o100 != 0, size_bytes: metadata.len() }
            } else {
                // Sockets, pipes and devices are nothing to copy.
                continue;
            };
            found.push(ContextEntry { path, kind, content_id: None });
        }
        Ok(())
    }
}

impl Context for DirectoryContext {
    fn entries(&self) -> io::Result<Vec<ContextEntry>> {
        let mut found = Vec::new();
        self.visit(&self.root, "", &mut found)?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.root.join(path))?))
    }

    fn content_id(&self, path: &str) -> io::Result<String> {
        let mut file = File::open(self.root.join(path))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Digest::finish(hasher).to_string()),
                read => hasher.update(&buffer[..read]),
            }
        }
    }
}
