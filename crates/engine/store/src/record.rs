//! One version of one object, packed: key, what selectors need, and value share a single allocation, because fifty
//! thousand of these are the memory of an idle engine.

use std::{borrow::Borrow, cmp::Ordering, fmt, sync::Arc};

use bytes::Bytes;

/// What selectors, garbage collection and preconditions need to know of an object without decoding its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The object's uid.
    pub uid: String,
    /// Labels, as on the object.
    pub labels: Vec<(String, String)>,
    /// Selectable fields by path, such as `spec.nodeName`.
    pub fields: Vec<(String, String)>,
    /// The uids of the object's owners.
    pub owners: Vec<String>,
}

/// One version of one object. Immutable; shared by all who read or watch it.
pub struct Record {
    /// Key, packed [`Meta`] and value, one after the other.
    body: Bytes,
    revision: u64,
    key_len: u32,
    meta_len: u32,
}

impl Record {
    /// Packs a record whose value is `head`, then the decimal revision where `splice`, then `tail`.
    pub(crate) fn pack(key: &str, meta: &Meta, head: &[u8], tail: &[u8], splice: bool, revision: u64) -> Self {
        let mut packed = Vec::with_capacity(64 + meta.labels.len() * 48);
        pack_meta(meta, &mut packed);
        Self::assemble(key.as_bytes(), &packed, head, tail, splice, revision)
    }

    /// A record like this one, with another value: the last word on an object that is deleted.
    pub(crate) fn revalued(&self, head: &[u8], tail: &[u8], splice: bool, revision: u64) -> Self {
        Self::assemble(self.key_bytes(), self.meta_bytes(), head, tail, splice, revision)
    }

    fn assemble(key: &[u8], meta: &[u8], head: &[u8], tail: &[u8], splice: bool, revision: u64) -> Self {
        let digits = if splice { revision.to_string() } else { String::new() };
        let mut body = Vec::with_capacity(key.len() + meta.len() + head.len() + digits.len() + tail.len());
        for part in [key, meta, head, digits.as_bytes(), tail] {
            body.extend_from_slice(part);
        }
        Self { body: body.into(), revision, key_len: len_u32(key), meta_len: len_u32(meta) }
    }

    /// A record read back from disk; `None` where the lengths or the key do not fit the body.
    pub(crate) fn unpack(body: &[u8], key_len: u32, meta_len: u32, revision: u64) -> Option<Self> {
        let value_at = (key_len as usize).checked_add(meta_len as usize)?;
        if value_at > body.len() || std::str::from_utf8(&body[..key_len as usize]).is_err() {
            return None;
        }
        let mut strings = Strings { rest: &body[key_len as usize..value_at] };
        strings.skip_meta()?;
        Some(Self { body: Bytes::copy_from_slice(body), revision, key_len, meta_len })
    }

    /// The key, such as `/apps/deployments/shop/web`.
    pub fn key(&self) -> &str {
        std::str::from_utf8(self.key_bytes()).expect("keys are text when packed, and checked when unpacked")
    }

    /// The revision this version was written at.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The value, shared, not copied.
    pub fn value(&self) -> Bytes {
        self.body.slice(self.value_at()..)
    }

    /// The value's bytes.
    pub fn value_bytes(&self) -> &[u8] {
        &self.body[self.value_at()..]
    }

    /// The object's uid.
    pub fn uid(&self) -> &str {
        self.strings().text().unwrap_or_default()
    }

    /// All labels, in the order they were given.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut strings = self.strings();
        strings.text();
        strings.pairs()
    }

    /// One label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All selectable fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut strings = self.strings();
        strings.text();
        strings.skip_pairs();
        strings.pairs()
    }

    /// One selectable field's value.
    pub fn field(&self, path: &str) -> Option<&str> {
        self.fields().find(|(key, _)| *key == path).map(|(_, value)| value)
    }

    /// The uids of the owners.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        let mut strings = self.strings();
        strings.text();
        strings.skip_pairs();
        strings.skip_pairs();
        let count = strings.number().unwrap_or(0);
        (0..count).map_while(move |_| strings.text())
    }

    /// The meta data as it was given.
    pub fn meta(&self) -> Meta {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Meta {
            uid: self.uid().to_owned(),
            labels: self.labels().map(owned).collect(),
            fields: self.fields().map(owned).collect(),
            owners: self.owners().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn key_bytes(&self) -> &[u8] {
        &self.body[..self.key_len as usize]
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn key_len(&self) -> u32 {
        self.key_len
    }

    pub(crate) fn meta_len(&self) -> u32 {
        self.meta_len
    }

    fn meta_bytes(&self) -> &[u8] {
        &self.body[self.key_len as usize..self.value_at()]
    }

    fn value_at(&self) -> usize {
        self.key_len as usize + self.meta_len as usize
    }

    fn strings(&self) -> Strings<'_> {
        Strings { rest: self.meta_bytes() }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} {}", self.key(), self.revision, String::from_utf8_lossy(self.value_bytes()))
    }
}

/// A record in the map: one pointer, ordered by key.
#[derive(Clone)]
pub(crate) struct Entry(pub(crate) Arc<Record>);

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.0.key_bytes()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.key_bytes() == other.0.key_bytes()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key_bytes().cmp(other.0.key_bytes())
    }
}

fn len_u32(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("keys and labels are checked to be short before they are packed")
}

fn pack_meta(meta: &Meta, into: &mut Vec<u8>) {
    pack_text(&meta.uid, into);
    for pairs in [&meta.labels, &meta.fields] {
        pack_number(pairs.len(), into);
        for (key, value) in pairs {
            pack_text(key, into);
            pack_text(value, into);
        }
    }
    pack_number(meta.owners.len(), into);
    for owner in &meta.owners {
        pack_text(owner, into);
    }
}

fn pack_text(text: &str, into: &mut Vec<u8>) {
    pack_number(text.len(), into);
    into.extend_from_slice(text.as_bytes());
}

/// LEB128: lengths are mostly below 128, one byte.
fn pack_number(mut number: usize, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Reads packed numbers and texts; `None` where the bytes end or are not text.
struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Strings<'a> {
    fn number(&mut self) -> Option<usize> {
        let mut number = 0usize;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.number()?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        Some((self.text()?, self.text()?))
    }

    fn pairs(mut self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let count = self.number().unwrap_or(0);
        (0..count).map_while(move |_| self.pair())
    }

    fn skip_pairs(&mut self) -> Option<()> {
        let count = self.number()?;
        for _ in 0..count {
            self.pair()?;
        }
        Some(())
    }

    /// Walks over a whole packed [`Meta`]: `None` where it is not one.
    fn skip_meta(&mut self) -> Option<()> {
        self.text()?;
        self.skip_pairs()?;
        self.skip_pairs()?;
        for _ in 0..self.number()? {
            self.text()?;
        }
        self.rest.is_empty().then_some(())
    }
}
