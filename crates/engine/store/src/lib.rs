//! The durable, watchable, versioned object log.
//!
//! One writer thread orders all commits, makes a group of them durable with one sync, and only then shows them to
//! readers and watchers and acknowledges them. Readers take a [`Snapshot`]: a persistent map that nobody locks and nobody
//! changes. Watchers share the events of the history; a watcher costs a cursor, not a queue.
//!
//! - A revision is one counter for the whole store. Each written object gets its own; it never goes back or is used twice.
//! - Keys look like `/GROUP/RESOURCE/NAMESPACE/NAME`. The first two segments name a *topic*, the unit of watch history.
//! - Nothing here knows what an object means: values are bytes, and what selectors need stands beside them in [`Meta`].

mod backup;
mod change;
mod compaction;
mod frame;
mod log;
mod open;
mod record;
mod seal;
#[cfg(test)]
mod simulation;
mod snapshot;
mod snapshot_file;
mod store;
mod watch;
mod writer;

pub use backup::{Backup, BackupError, Contents, REVISION_LEAP, Restore};
pub use change::{Change, CommitError, Committed, Conflict, Expect, Value, Write};
pub use coracle_disk as disk;
pub use open::{OpenError, OutOfReach, Until};
pub use record::{Meta, Record};
pub use seal::Sealer;
pub use snapshot::{RevisionError, Snapshot};
pub use store::{Options, Statistics, Store};
pub use watch::{Compacted, Event, EventKind, WatchError, Watcher};
