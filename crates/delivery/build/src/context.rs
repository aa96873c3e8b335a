//! The build context: the files a Dockerfile may copy from, wherever they lie.

use std::io::{self, Read};

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
