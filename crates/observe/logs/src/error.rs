//! What can go wrong.

use std::io;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("logs in {place}: {source}")]
pub struct OpenError {
    /// Where.
    pub place: String,
    /// Why.
    pub source: io::Error,
}

/// Lines were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// They are not as they should be; the text is Loki's. Other lines of the push may have been taken.
    #[error("{0}")]
    Invalid(String),
    /// The tenant pushes too much, or too many streams.
    #[error("{0}")]
    Limited(String),
    /// They could not be written.
    #[error("logs could not be written: {0}")]
    Disk(String),
    /// The store is closed.
    #[error("the logs store is closed")]
    Closed,
}

/// Lines could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk said no.
    #[error("logs could not be read: {0}")]
    Disk(#[from] io::Error),
    /// Nobody waits for them any more.
    #[error("the request was cancelled by the client")]
    Cancelled,
}
