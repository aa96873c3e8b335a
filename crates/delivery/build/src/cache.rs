//! What steps have come to before, by their keys.

use std::{fs, path::PathBuf};

use coracle_registry::{Digest, Store};

use crate::{BaseLayer, scratch::Scratch};

/// The layer cache: a small file a step. The layers themselves are blobs of the registry's store.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    /// What the step called `key` came to: `Some(None)` where it left nothing. Only while the layer's blob is still there,
    /// which `repository` then has too.
    pub fn get(&self, key: &str, store: &Store, repository: &str) -> Option<Option<BaseLayer>> {
        let text = fs::read(self.path(key)).ok()?;
        let layer: Option<BaseLayer> = serde_json::from_slice(&text).ok()?;
        match layer {
            None => Some(None),
            Some(layer) => store.link_blob(repository, &layer.digest).is_ok_and(|linked| linked).then_some(Some(layer)),
        }
    }

    /// Remembers what the step called `key` came to. A cache that cannot be written only costs time.
    pub fn put(&self, key: &str, layer: Option<&BaseLayer>, scratch: &Scratch) {
        let part = scratch.path().join(format!("{key}.step"));
        let text = serde_json::to_vec(&layer).expect("a layer is JSON");
        let kept = fs::create_dir_all(&self.directory)
            .and_then(|()| fs::write(&part, text))
            .and_then(|()| fs::rename(&part, self.path(key)));
        if let Err(error) = kept {
            tracing::warn!(%error, "a build step is not remembered");
        }
    }

    /// The layers that are remembered, for the registry's garbage collection to keep.
    pub fn layers(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read(entry.path()).ok());
        texts
            .filter_map(|text| serde_json::from_slice::<Option<BaseLayer>>(&text).ok()?)
            .map(|layer| layer.digest)
            .collect()
    }
}
