//! The logs store: streams of lines with Loki's interface.
//!
//! A push is written to a write-ahead log and is on disk before it is acknowledged. Lines gather in memory, the *head*,
//! until there are enough for a *segment*: an immutable file of compressed blocks, with an index over streams and time and
//! one over the pieces of text that blocks hold, so that a rare word is found without reading the rest. Segments go as a
//! whole, or in part, when retention says so.
//!
//! [`Store`] keeps and reads, [`http::router`] is Loki's interface, `docs/LOGS-STORE.md` describes the files.

mod block;
mod codec;
mod damage;
mod discover;
mod entry;
mod error;
mod flush;
mod grams;
mod head;
pub mod http;
mod journal;
mod limits;
mod options;
mod patterns;
mod read;
mod retention;
mod segment;
mod statistics;
mod store;
mod streams;
mod twins;
mod writer;

pub use discover::Discovery;
pub use entry::{Entry, Metadata, Stream};
pub use error::{OpenError, PushError, ReadError};
pub use limits::{Limits, TenantLimits};
pub use options::{Options, Retention, RetentionRule};

pub use read::{Reading, Tenant};
pub use statistics::{Statistics, Volume};
pub use store::Store;
