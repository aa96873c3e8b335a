//! Names of repositories and tags, as the distribution specification spells them.

use std::str::FromStr;

use crate::Digest;

const LONGEST_NAME_BYTES: usize = 255;
const LONGEST_TAG_BYTES: usize = 128;

/// Whether `name` can be a repository's. What passes is also a safe relative path: no component begins with `_` or `.`.
pub fn is_repository(name: &str) -> bool {
    name.len() <= LONGEST_NAME_BYTES && name.split('/').all(is_component)
}

/// Letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// Whether `tag` can be a tag.
pub fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    bytes.next().is_some_and(word)
        && tag.len() <= LONGEST_TAG_BYTES
        && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A name that may move.
    Tag(String),
    /// One content for ever.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest(digest));
        }
        if is_tag(text) { Ok(Self::Tag(text.to_owned())) } else { Err(()) }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_repository, is_tag};

    #[test]
    fn names() {
        for name in ["hello", "a/b/c", "a.b", "a__b", "a---b", "0"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "A", "a/", "/a", "a//b", "a..b", "a_", "_a", "a___b", "a.-b", "../a", "a/../b", "a/_tags"] {
            assert!(!is_repository(name), "{name}");
        }
        for tag in ["latest", "v1.2-3", "_x", "A"] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in ["", ".x", "-x", "a/b", "a:b", &"x".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
