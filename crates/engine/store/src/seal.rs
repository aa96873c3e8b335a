//! What is kept from whoever reads the disk: entries of some keys are sealed on their way there, and opened on their way
//! back. In memory everything is plain.

use std::fmt::Debug;

/// Seals and opens. What it cannot open was sealed with a key that is not there, or was tampered with.
pub trait Sealer: Debug + Send + Sync + 'static {
    /// The sealed form of what stands under `key`; `None` where that is no secret.
    fn seal(&self, key: &str, plain: &[u8]) -> Option<Vec<u8>>;

    /// What was sealed under `key`; or why it cannot be opened.
    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String>;
}
