//! LogQL, Loki's query language: parser, printer and evaluator.
//!
//! Nothing here knows where logs are kept. An evaluation runs over a [`Source`], which is asked for the entries of some
//! streams in some time range and gives them to a [`Sink`], in any order; what it needs to know to skip most of what it
//! has (streams, time, texts that a line must contain) stands in the request.
//!
//! - [`syntax`] reads and prints queries; its messages are those that people know from Loki.
//! - [`pipeline`] is what happens to one line.
//! - [`eval`] makes answers: log lines, or numbers by step.

pub mod eval;
pub mod go;
mod labels;
mod matcher;
pub mod pipeline;
mod regexp;
pub mod syntax;

pub use labels::{Labels, LabelsError};
pub use matcher::{MatchOp, Matcher};
pub use regexp::RegexpError;

pub use eval::{
    Answer, Direction, EntryLabels, EvalError, Limits, LogEntry, LogStream, Query, Request, Sample, Series, Sink,
    Source, SourceEntry, evaluate,
};
