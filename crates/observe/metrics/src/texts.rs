//! Many texts in one piece of memory, in order.

use std::cmp::Ordering;

/// Texts in ascending order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a text, unless it is the last one; it must not come before that.
    pub(crate) fn push(&mut self, text: &str) {
        debug_assert!(self.last().is_none_or(|last| last <= text));
        if self.last() != Some(text) {
            self.text.push_str(text);
            self.ends.push(self.text.len());
        }
    }

    fn last(&self) -> Option<&str> {
        self.ends.len().checked_sub(1).map(|index| self.get(index))
    }

    fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    pub fn contains(&self, text: &str) -> bool {
        let mut bounds = 0..self.len();
        while !bounds.is_empty() {
            let middle = bounds.start + bounds.len() / 2;
            match self.get(middle).cmp(text) {
                Ordering::Equal => return true,
                Ordering::Less => bounds.start = middle + 1,
                Ordering::Greater => bounds.end = middle,
            }
        }
        false
    }

    /// Keeps the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Of texts in any order.
    pub(crate) fn sorted(mut texts: Vec<&str>) -> Self {
        texts.sort_unstable();
        let mut sorted = Self::default();
        texts.into_iter().for_each(|text| sorted.push(text));
        sorted
    }

    /// Both in one order.
    pub(crate) fn merge(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut merged = Self::default();
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(one), Some(another)) = (ours.peek(), theirs.peek()) {
            match one.cmp(another) {
                Ordering::Less => merged.push(ours.next().unwrap_or_default()),
                Ordering::Greater => merged.push(theirs.next().unwrap_or_default()),
                Ordering::Equal => {
                    merged.push(ours.next().unwrap_or_default());
                    theirs.next();
                }
            }
        }
        ours.chain(theirs).for_each(|text| merged.push(text));
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_merged_in_order() {
        let merged = Texts::sorted(vec!["b", "d", "b"]).merge(Texts::sorted(vec!["c", "a", "d", ""]));
        assert_eq!(merged.iter().collect::<Vec<_>>(), ["", "a", "b", "c", "d"]);
        assert!(merged.contains("c") && merged.contains("") && !merged.contains("e"));
        let mut first = merged;
        first.truncate(2);
        assert_eq!(first.iter().collect::<Vec<_>>(), ["", "a"]);
    }
}
