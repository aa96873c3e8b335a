//! What a commit asks for, and what comes of it.

use std::{fmt, io, sync::Arc};

use crate::record::{Meta, Record};

/// The longest key that is taken, in bytes.
pub(crate) const KEY_MAX_BYTES: usize = 4096;
/// The largest value that is taken, in bytes. Requests are held to far less before they come here.
pub(crate) const VALUE_MAX_BYTES: usize = 64 << 20;

/// One object's part in a commit.
#[derive(Debug, Clone)]
pub struct Change {
    /// The object's key, `/GROUP/RESOURCE/...`.
    pub key: String,
    /// What must hold for the whole commit to happen.
    pub expect: Expect,
    /// What happens to the object.
    pub write: Write,
}

impl Change {
    /// Writes an object that must not exist yet.
    pub fn create(key: impl Into<String>, meta: Meta, value: Value) -> Self {
        Self { key: key.into(), expect: Expect::Absent, write: Write::Put { meta, value } }
    }

    /// Writes an object over the version `expect` names.
    pub fn put(key: impl Into<String>, expect: Expect, meta: Meta, value: Value) -> Self {
        Self { key: key.into(), expect, write: Write::Put { meta, value } }
    }

    /// Removes an object. `last` is the value its deletion is announced with; without it, the last one it had.
    pub fn delete(key: impl Into<String>, expect: Expect, last: Option<Value>) -> Self {
        Self { key: key.into(), expect, write: Write::Delete { last } }
    }

    /// Writes nothing: the commit only happens where `expect` holds for `key`.
    pub fn check(key: impl Into<String>, expect: Expect) -> Self {
        Self { key: key.into(), expect, write: Write::Nothing }
    }
}

/// A condition on the object's present version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No condition. Deleting what is not there is then a conflict all the same.
    Any,
    /// There is no such object.
    Absent,
    /// There is one.
    Present,
    /// There is one, and it was written at this revision.
    Revision(u64),
}

/// What happens to an object.
#[derive(Debug, Clone)]
pub enum Write {
    /// It is created or replaced.
    Put {
        /// What stands beside the value.
        meta: Meta,
        /// The value.
        value: Value,
    },
    /// It is removed.
    Delete {
        /// The value the deletion is announced with.
        last: Option<Value>,
    },
    /// Nothing; the change is a precondition only.
    Nothing,
}

/// A value, with the place where the revision it gets is to be written into it.
#[derive(Debug, Clone)]
pub struct Value {
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
    pub(crate) splice: bool,
}

impl Value {
    /// `head`, then the revision in decimal digits, then `tail`.
    pub fn spliced(head: impl Into<Vec<u8>>, tail: impl Into<Vec<u8>>) -> Self {
        Self { head: head.into(), tail: tail.into(), splice: true }
    }

    /// Bytes that do not mention their revision.
    pub fn plain(bytes: impl Into<Vec<u8>>) -> Self {
        Self { head: bytes.into(), tail: Vec::new(), splice: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// A commit that is on disk.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The last revision it used; reads at or above it see the whole commit.
    pub revision: u64,
    /// For each change the version it wrote, or, for a deletion, the one it was announced with. For a mere check, the
    /// present version, where there is one.
    pub records: Vec<Option<Arc<Record>>>,
}

/// The first change of a commit whose condition did not hold.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// Which of the commit's changes.
    pub index: usize,
    /// Its key.
    pub key: String,
    /// What it asked for.
    pub expected: Expect,
    /// The object's present version, so that one can try again at once.
    pub current: Option<Arc<Record>>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected, current, .. } = self;
        match (expected, current) {
            (Expect::Absent, _) => write!(f, "{key} already exists"),
            (_, None) => write!(f, "{key} does not exist"),
            (Expect::Revision(expected), Some(current)) => {
                write!(f, "{key} is at revision {}, not at {expected}", current.revision())
            }
            (Expect::Any | Expect::Present, Some(current)) => write!(f, "{key} is at revision {}", current.revision()),
        }
    }
}

/// Why a commit did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A condition did not hold; nothing was written.
    #[error("{0}")]
    Conflict(Conflict),
    /// The commit cannot be carried out as asked.
    #[error("change of {key:?}: {problem}")]
    Invalid {
        /// The offending change's key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No room on the disk. Nothing was written; reads go on, and writes do as soon as there is room again.
    #[error("no space left on the disk that holds the store ({disk}): free some, and writes go on by themselves")]
    Full {
        /// Where the store lives.
        disk: String,
    },
    /// The disk failed. The change is not acknowledged and not visible; the store checks the disk again at the next commit.
    #[error("the disk that holds the store ({disk}) failed, so the change was not made: {cause}")]
    Disk {
        /// Where the store lives.
        disk: String,
        /// What the disk said.
        cause: Arc<io::Error>,
    },
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
}
