//! Prometheus' own files and chunks: blocks can be imported, and clients of remote read be answered with chunks.
//!
//! Source of the formats: Prometheus' documentation below `tsdb/docs/format`.

pub(crate) mod chunk;
pub(crate) mod encode;
mod files;
mod index;

pub use files::{PrometheusBlock, find_blocks};

/// What is wrong with somebody else's block.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    #[error("reading {path}")]
    Disk { path: String, source: std::io::Error },
    #[error("{path}: {why}")]
    Damaged { path: String, why: String },
}
