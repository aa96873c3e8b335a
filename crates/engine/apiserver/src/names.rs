//! Names made up by the server.

use rand::RngExt;

/// Upstream's alphabet: no vowels, no look-alikes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const LONGEST: usize = 63;

/// Five random characters.
pub fn suffix() -> String {
    let mut random = rand::rng();
    (0..SUFFIX_LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// `generateName` with a suffix, shortened to fit.
pub fn generate(base: &str) -> String {
    let mut end = base.len().min(LONGEST - SUFFIX_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], suffix())
}

/// A new uid.
pub fn uid() -> String {
    uuid::Uuid::new_v4().to_string()
}
