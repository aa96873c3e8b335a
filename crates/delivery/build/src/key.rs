//! Content keys: what a step's result depends on, hashed.

use sha2::{Digest as _, Sha256};

/// Raised when the same inputs begin to give other results, so that old results are not taken for new ones.
const GENERATION: &str = "1";

/// Gathers what something depends on. Parts are delimited, so no two lists of parts look alike.
pub struct Key(Sha256);

impl Key {
    /// A key of things of this kind.
    pub fn new(kind: &str) -> Self {
        Self(Sha256::new()).with(GENERATION).with(kind)
    }

    /// Depends on `part` too.
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        self.add(part);
        self
    }

    /// Depends on `part` too.
    pub fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The key, in hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
