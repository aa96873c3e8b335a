//! What was found broken: told once, and kept for whoever asks.

use parking_lot::Mutex;

/// More than this is only counted in the log.
const MAX_KEPT: usize = 100;

/// What a store found broken since it was opened.
#[derive(Default)]
pub(crate) struct Damage(Mutex<Vec<String>>);

impl Damage {
    pub(crate) fn tell(&self, what: String) {
        tracing::warn!("{what}");
        let mut told = self.0.lock();
        if told.len() < MAX_KEPT && !told.contains(&what) {
            told.push(what);
        }
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
