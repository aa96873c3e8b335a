//! What can go wrong with repositories.

use std::{io, path::Path};

use gix::ObjectId;

use crate::refs::RefError;

/// Why a repository could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The disk did not do its part.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory concerned.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not a name an app can have.
    #[error("{0}")]
    AppName(String),
    /// The refs.
    #[error(transparent)]
    Refs(#[from] RefError),
    /// An object that is named somewhere is not there.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// An object is there, of another kind.
    #[error("object {id} is a {found}, not a {expected}")]
    Kind {
        /// The object.
        id: ObjectId,
        /// What it is.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// An object that cannot be read or makes no sense.
    #[error("object {id}: {detail}")]
    Object {
        /// The object.
        id: ObjectId,
        /// What is the matter.
        detail: String,
    },
    /// A file is longer than the caller is ready for.
    #[error("{path} is {size_bytes} bytes long, more than the {limit_bytes} allowed here")]
    TooLarge {
        /// The file's path or the object's id.
        path: String,
        /// Its length.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A tree has more entries than the caller is ready for.
    #[error("tree {id} has more than {limit} entries")]
    TooMany {
        /// The tree.
        id: ObjectId,
        /// The limit.
        limit: usize,
    },
    /// More than one object begins like this.
    #[error("{0} is ambiguous: give more digits")]
    Ambiguous(String),
    /// A pushed pack that is broken, incomplete or not allowed; the text is for the pusher.
    #[error("{0}")]
    Pack(String),
}

impl GitError {
    /// Turns an I/O error at `path` into ours.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.display().to_string(), source }
    }

    /// Turns what gix says about object `id` into ours.
    pub(crate) fn object(id: ObjectId) -> impl Fn(gix::Error) -> Self {
        move |error| Self::Object { id, detail: error.to_string() }
    }
}
