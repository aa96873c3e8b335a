//! Time series: an embedded database for them, and the HTTP interface people know from Prometheus.
//!
//! What comes in is checked, logged and appended to chunks in memory, a batch at a time. Full chunks go to chunk files, and
//! once a stretch of time is over they become a block: an immutable file with an index. `docs/METRICS-STORE.md` has the
//! formats. [`Store`] implements [`coracle_promql::Storage`].

mod block;
mod codec;
mod error;
mod exemplars;
mod found;
mod frame;
mod hash;
mod head;
pub mod http;
mod journal;
pub mod openmetrics;
mod options;
mod otlp;
mod pages;
mod parts;
mod postings;
pub mod prometheus;
mod proto;
mod remote_write;
mod resolve;
mod sample;
mod series_log;
mod spill;
mod store;
mod symbols;
mod texts;
mod wal;

pub use block::BlockMeta;
pub use error::StoreError;
pub use options::Options;
pub use sample::{Appended, Batch, Exemplar, Metadata, Refused, Value};
pub use store::{Exported, ExportedSeries, HeadStatistics, NamedCount, Statistics, Store};
pub use texts::Texts;
