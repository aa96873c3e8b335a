//! A hash that is the same everywhere and always: it orders the series of blocks, so it is part of their format.
//! Multiplies and folds, eight bytes at a time, in the manner of wyhash.

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Of a series' labels: names and values in turn, in the order of the names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelsHash(u64);

impl LabelsHash {
    pub(crate) fn new() -> Self {
        Self(SEED)
    }

    #[inline]
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.0 = fold(self.0 ^ bytes(text), FACTOR);
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

#[inline]
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let mut state = fold(SEED ^ bytes.len() as u64, FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(word), FACTOR);
    }
    state
}

pub(crate) fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hash = LabelsHash::new();
    for (name, value) in pairs {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_never_changes() {
        let hash = super::labels([("__name__", "up"), ("instance", "localhost:9090")]);
        expect_test::expect!["63fde3efc1d2e83f"].assert_eq(&format!("{hash:x}"));
    }
}
