//! A series' labels in one allocation: cheap to clone, to compare and to hash.

use std::{cmp::Ordering, fmt, sync::Arc};

use crate::quote::quote;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds a metric's type, when types and units are labels.
pub const METRIC_TYPE: &str = "__type__";
/// The label that holds a metric's unit, when types and units are labels.
pub const METRIC_UNIT: &str = "__unit__";

/// Labels ordered by name, each name once, no value empty.
///
/// The text is `length name length value …`; a length is written in base 64 with only ASCII bytes (six bits a byte,
/// lowest first, bit 6 says that more follow), so that the whole stays a `str` and parts of it can be lent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Labels {
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Sorts; a later pair of the same name replaces an earlier one; empty values are dropped.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs: Vec<(N, V)> = pairs.into_iter().collect();
        let mut order: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        order.sort_by_key(|(name, _)| *name);
        let mut writer = Writer::default();
        for (index, (name, value)) in order.iter().enumerate() {
            let replaced = order.get(index + 1).is_some_and(|(next, _)| next == name);
            if !replaced && !value.is_empty() {
                writer.push(name, value);
            }
        }
        writer.finish()
    }

    /// Of pairs that are ordered by name already, each name once, no value empty.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_sorted_in(&mut String::with_capacity(256), pairs)
    }

    /// As [`Labels::from_sorted`], written in a buffer that can be used again.
    pub fn from_sorted_in<'a>(buffer: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut writer = Writer(std::mem::take(buffer));
        writer.0.clear();
        pairs.into_iter().for_each(|(name, value)| writer.push(name, value));
        let labels = Self(Arc::from(writer.0.as_str()));
        *buffer = writer.0;
        labels
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        for (here, value) in self.iter() {
            match here.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The value, or nothing at all: an absent label and an empty one are the same.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// Keeps the labels that `keep` says yes to.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        let mut writer = Writer::default();
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            writer.push(name, value);
        }
        writer.finish()
    }

    /// Without the name.
    pub fn without_name(&self) -> Self {
        self.filter(|name| name != METRIC_NAME)
    }

    /// With one label set, or taken away when the value is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        if self.value(name) == value {
            return self.clone();
        }
        let mut builder = LabelsBuilder::new(self);
        builder.set(name, value);
        builder.build()
    }

    /// The bytes that make these labels what they are; equal exactly when the labels are.
    pub fn as_key(&self) -> &str {
        &self.0
    }

    /// Bytes held on the heap by one allocation of these labels.
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By name and value, label by label; a shorter set that begins the same comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// As Prometheus prints labels: `{a="1", "odd name"="2"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if is_plain_label_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&quote(name))?;
            }
            write!(f, "={}", quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::new(pairs)
    }
}

/// Walks over `(name, value)`, ordered by name.
#[derive(Clone)]
pub struct Iter<'a>(&'a str);

impl<'a> Iter<'a> {
    fn part(&mut self) -> &'a str {
        let mut length = 0;
        let mut shift = 0;
        let mut at = 0;
        for byte in self.0.bytes() {
            at += 1;
            length |= usize::from(byte & 0x3f) << shift;
            shift += 6;
            if byte & 0x40 == 0 {
                break;
            }
        }
        let part = &self.0[at..at + length];
        self.0 = &self.0[at + length..];
        part
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some((self.part(), self.part()))
    }
}

#[derive(Default)]
struct Writer(String);

impl Writer {
    fn push(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            let mut length = part.len();
            loop {
                let more = if length >= 0x40 { 0x40 } else { 0 };
                self.0.push(char::from((length & 0x3f) as u8 | more));
                length >>= 6;
                if more == 0 {
                    break;
                }
            }
            self.0.push_str(part);
        }
    }

    fn finish(self) -> Labels {
        Labels(Arc::from(self.0))
    }
}

/// Changes to a set of labels, made in one go.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl LabelsBuilder {
    pub fn new(base: &Labels) -> Self {
        Self { pairs: base.iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(here, _)| &**here == name).map_or("", |(_, value)| value)
    }

    /// An empty value takes the label away.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.remove(name);
        if !value.is_empty() {
            self.pairs.push((name.into(), value.into()));
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(here, _)| &**here != name);
        self
    }

    pub fn keep(&mut self, keep: impl Fn(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(name, _)| keep(name));
        self
    }

    pub fn build(&self) -> Labels {
        Labels::new(self.pairs.iter().map(|(name, value)| (&**name, &**value)))
    }
}

/// Whether a label's name needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_plain_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a metric's name needs no quotes: as a label's, and colons.
pub fn is_plain_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}
