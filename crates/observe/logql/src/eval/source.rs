//! Where entries come from, and where they go.

use std::{ops::ControlFlow, sync::Arc};

use super::Direction;
use crate::{labels::Labels, matcher::Matcher, pipeline::Needles};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Request<'q> {
    /// Of which streams.
    pub matchers: &'q [Matcher],
    /// From this nanosecond on.
    pub start: i64,
    /// Up to this nanosecond, which is not included.
    pub end: i64,
    /// Which end the reader would like first. It is not bound to any order.
    pub direction: Direction,
    /// Lines without these are of no use. It need not leave them out.
    pub needles: Needles,
}

/// A line of a stream.
#[derive(Debug, Clone, Copy)]
pub struct SourceEntry<'e> {
    /// The stream.
    pub labels: &'e Arc<Labels>,
    /// When, in nanoseconds.
    pub ts: i64,
    /// The line.
    pub line: &'e str,
    /// Names and values that came with the line.
    pub metadata: &'e [(String, String)],
}

/// Takes entries.
pub trait Sink: Send {
    /// Whether an entry between these moments, both included, could still matter.
    fn wants(&self, earliest: i64, latest: i64) -> bool;

    /// Takes one. `Break` means that no more are needed, for good.
    fn take(&mut self, entry: SourceEntry<'_>) -> ControlFlow<()>;
}

/// Has entries.
pub trait Source {
    /// Why entries could not be had.
    type Error: std::error::Error + 'static;

    /// Gives every entry that a request asks for, each once, in any order.
    fn read(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<(), Self::Error>;
}
