//! The store: a head for what is recent, blocks for what is not, and the log that makes the head survive.

mod append;
mod compact;
mod delete;
mod export;
mod labels;
mod maintain;
mod open;
mod select;
mod status;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use coracle_clock::Clock;
use coracle_disk::{Directory, Disk};
use parking_lot::{Mutex, RwLock};

pub use export::{Exported, ExportedSeries};
pub use status::{HeadStatistics, NamedCount, Statistics};

use crate::{
    StoreError,
    block::{Block, PageCache},
    exemplars::{Exemplars, MetadataMap},
    head::{Head, Staged},
    journal::Journal,
    options::Options,
    wal::SamplesRecord,
};

/// An embedded database of time series. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    options: Options,
    clock: Arc<dyn Clock>,
    cache: Arc<PageCache>,
    state: RwLock<State>,
    /// Held by whoever rewrites files; there is one at a time.
    maintenance: Mutex<()>,
    next_block: AtomicU64,
    /// What was wrong when the store was opened, for people.
    complaints: Vec<String>,
}

struct State {
    head: Head,
    journal: Journal,
    /// In the order of their first sample.
    blocks: Vec<Arc<Block>>,
    exemplars: Exemplars,
    metadata: MetadataMap,
    scratch: Scratch,
}

/// Kept between batches so that they need no allocations.
#[derive(Default)]
struct Scratch {
    staged: Vec<Staged>,
    slots: Vec<Option<u32>>,
    record: SamplesRecord,
}

impl Store {
    /// Opens a directory, or makes it.
    pub fn open(path: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let disk = Directory::open(path).map_err(StoreError::disk(place))?;
        Self::open_on(Arc::new(disk), options, clock)
    }

    /// Opens what is on a disk, or begins there.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        open::open(disk, options, clock).map(|inner| Self(Arc::new(inner)))
    }

    /// How the store behaves.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Where it is.
    pub fn place(&self) -> String {
        self.0.disk.place()
    }

    /// The time by the store's clock.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now().as_millisecond()
    }

    /// What was found damaged or cut short when the store was opened.
    pub fn complaints(&self) -> &[String] {
        &self.0.complaints
    }

    /// What is known about metrics, by name.
    pub fn metadata(&self) -> BTreeMap<String, crate::Metadata> {
        self.0.state.read().metadata.clone()
    }
}

impl Inner {
    fn next_block_name(&self) -> String {
        format!("block-{:08}", self.next_block.fetch_add(1, Ordering::Relaxed))
    }
}
