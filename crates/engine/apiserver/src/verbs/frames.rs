//! Events encoded a moment ago. All who watch a kind see its events at about the same time, so what the first of them had
//! encoded serves the others too.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{registry::Resource, request::accept::Accept};

/// Revisions follow each other, so that each slot is as good as any other.
const SLOTS: usize = 512;
/// Larger objects are encoded for each watcher: what is kept stays below 16 MiB.
const LARGEST_BYTES: usize = 32 * 1024;

/// See the module.
pub struct Frames(Box<[Mutex<Option<Frame>>]>);

struct Frame {
    revision: u64,
    resource: Arc<Resource>,
    accept: Accept,
    bytes: Bytes,
}

impl Default for Frames {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }
}

impl Frames {
    /// The object of the event at `revision`, where it is known in this representation.
    pub fn get(&self, resource: &Arc<Resource>, revision: u64, accept: Accept) -> Option<Bytes> {
        let slot = self.slot(revision).lock();
        let known = slot.as_ref().filter(|frame| {
            frame.revision == revision && frame.accept == accept && Arc::ptr_eq(&frame.resource, resource)
        });
        known.map(|frame| frame.bytes.clone())
    }

    /// Keeps what was encoded, in place of an older event.
    pub fn put(&self, resource: &Arc<Resource>, revision: u64, accept: Accept, bytes: &Bytes) {
        if bytes.len() <= LARGEST_BYTES {
            let frame = Frame { revision, resource: resource.clone(), accept, bytes: bytes.clone() };
            *self.slot(revision).lock() = Some(frame);
        }
    }

    fn slot(&self, revision: u64) -> &Mutex<Option<Frame>> {
        &self.0[revision as usize % SLOTS]
    }
}
