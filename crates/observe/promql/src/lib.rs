//! PromQL as Prometheus 3 has it: labels, matchers, native histograms, the parser, the printer and the evaluator.
//!
//! Nothing here knows a clock, a network or an async runtime: time comes in as numbers, samples through [`Storage`].

pub mod engine;
pub mod functions;
pub mod go_regex;
pub mod histogram;
mod kahan;
pub mod labels;
pub mod matcher;
pub mod memory;
pub mod number;
pub mod parser;
pub mod quote;
pub mod storage;

pub use engine::{Answer, Engine, EngineOptions, QueryError, Value};
pub use histogram::FloatHistogram;
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use storage::{Column, Columns, SelectHints, Selected, SeriesSet, Storage, StorageError, is_stale};
