//! What can go wrong.

use std::io;

use coracle_promql::StorageError;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("{what}: {source}")]
    Disk { what: String, source: io::Error },
    /// A file is not what it should be.
    #[error("{file} is damaged: {what}")]
    Damaged { file: String, what: String },
    /// Nothing more is taken in until something is written out.
    #[error("{0}")]
    Full(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// For `map_err` on what a disk answers.
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }

    pub(crate) fn damaged(file: &str, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}
