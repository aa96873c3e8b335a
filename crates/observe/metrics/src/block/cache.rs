//! Pieces of blocks' indexes that were read lately, in two generations: when the young one has half of what is allowed,
//! the old one goes. What is used again moves to the young one.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::StoreError;

/// A block's number and an offset.
type Key = (u64, u64);

pub(crate) struct PageCache {
    budget_bytes: usize,
    pages: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Arc<[u8]>>,
    old: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
}

impl PageCache {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, pages: Mutex::default() }
    }

    pub(crate) fn get(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Vec<u8>, StoreError>,
    ) -> Result<Arc<[u8]>, StoreError> {
        if let Some(page) = self.find(key) {
            return Ok(page);
        }
        let page: Arc<[u8]> = read()?.into();
        self.pages.lock().put(key, Arc::clone(&page), self.budget_bytes / 2);
        Ok(page)
    }

    fn find(&self, key: Key) -> Option<Arc<[u8]>> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.young.get(&key) {
            return Some(Arc::clone(page));
        }
        let page = pages.old.remove(&key)?;
        pages.put(key, Arc::clone(&page), self.budget_bytes / 2);
        Some(page)
    }

    /// Drops what belongs to a block that is gone.
    pub(crate) fn forget(&self, block: u64) {
        let mut pages = self.pages.lock();
        pages.old.retain(|key, _| key.0 != block);
        pages.young.retain(|key, _| key.0 != block);
        pages.young_bytes = pages.young.values().map(|page| page.len()).sum();
    }
}

impl Generations {
    fn put(&mut self, key: Key, page: Arc<[u8]>, half_bytes: usize) {
        if self.young_bytes + page.len() > half_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if page.len() <= half_bytes {
            self.young_bytes += page.len();
            self.young.insert(key, page);
        }
    }
}
