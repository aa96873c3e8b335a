//! Which series have a label: ascending numbers, as their differences in as many bytes as they need.

use hashbrown::HashMap;

use crate::{
    codec::varint::{self, Cursor},
    symbols::Symbol,
};

/// The lists of all labels, and the values each name has.
#[derive(Debug, Default)]
pub(crate) struct PostingsTable {
    pub(crate) postings: HashMap<(Symbol, Symbol), Postings>,
    pub(crate) values: HashMap<Symbol, Vec<Symbol>>,
    lists_heap_bytes: usize,
}

impl PostingsTable {
    /// Adds a series, whose number is above all before.
    pub(crate) fn insert(&mut self, series: u32, pairs: &[(Symbol, Symbol)]) {
        for pair in pairs {
            match self.postings.get_mut(pair) {
                Some(postings) => {
                    let before = postings.heap_bytes();
                    postings.push(series);
                    self.lists_heap_bytes += postings.heap_bytes() - before;
                }
                None => {
                    self.postings.insert(*pair, Postings::One(series));
                    self.values.entry(pair.0).or_default().push(pair.1);
                }
            }
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        // A place in a hash table costs its content and a byte; each value is listed once under its name.
        self.postings.capacity() * 33 + self.lists_heap_bytes
    }
}

/// A list that grows. Most labels belong to one series, or to a great many.
#[derive(Debug)]
pub(crate) enum Postings {
    One(u32),
    Many(Box<Run>),
}

#[derive(Debug)]
pub(crate) struct Run {
    bytes: Vec<u8>,
    last: u32,
    count: u32,
}

impl Postings {
    /// Adds a number above all before.
    pub(crate) fn push(&mut self, number: u32) {
        match self {
            Self::One(first) => {
                let mut run = Run { bytes: Vec::with_capacity(8), last: 0, count: 0 };
                run.push(*first);
                run.push(number);
                *self = Self::Many(Box::new(run));
            }
            Self::Many(run) => run.push(number),
        }
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(run) => run.count as usize,
        }
    }

    /// Appends the numbers.
    pub(crate) fn read(&self, into: &mut Vec<u32>) {
        match self {
            Self::One(number) => into.push(*number),
            Self::Many(run) => decode(&run.bytes, run.count as usize, into).expect("it was written here"),
        }
    }

    /// Appends the list's bytes as a file holds them.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::One(number) => varint::put(into, u64::from(*number)),
            Self::Many(run) => into.extend_from_slice(&run.bytes),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(run) => run.bytes.capacity() + size_of::<Run>(),
        }
    }
}

impl Run {
    fn push(&mut self, number: u32) {
        varint::put(&mut self.bytes, u64::from(number - self.last));
        self.last = number;
        self.count += 1;
    }
}

/// Appends `count` numbers; `None` where the bytes hold fewer.
pub(crate) fn decode(bytes: &[u8], count: usize, into: &mut Vec<u32>) -> Option<()> {
    let mut cursor = Cursor(bytes);
    into.reserve(count.min(bytes.len()));
    let mut number = 0u32;
    for _ in 0..count {
        number = number.checked_add(u32::try_from(cursor.varint()?).ok()?)?;
        into.push(number);
    }
    Some(())
}

/// Puts numbers below `bound`, each there once, in order.
pub(crate) fn sort(numbers: &mut Vec<u32>, bound: u32) {
    const WORTH_A_BITMAP: usize = 4096;
    if numbers.is_sorted() {
        return;
    }
    if numbers.len() < WORTH_A_BITMAP {
        return numbers.sort_unstable();
    }
    let mut bitmap = vec![0u64; bound as usize / 64 + 1];
    numbers.iter().for_each(|number| bitmap[*number as usize / 64] |= 1 << (number % 64));
    numbers.clear();
    for (index, word) in bitmap.iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            numbers.push(index as u32 * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// Keeps of `numbers` what is (or, where `wanted` is false, is not) in `others` too; both ascend.
pub(crate) fn retain(numbers: &mut Vec<u32>, others: &[u32], wanted: bool) {
    let mut rest = others;
    numbers.retain(|number| {
        let ahead = match rest.first() {
            Some(first) if first < number => gallop(rest, *number),
            _ => 0,
        };
        rest = &rest[ahead..];
        (rest.first() == Some(number)) == wanted
    });
}

/// How many at the front are below `number`.
fn gallop(numbers: &[u32], number: u32) -> usize {
    let mut step = 1;
    while step < numbers.len() && numbers[step] < number {
        step *= 2;
    }
    let from = step / 2;
    from + numbers[from..numbers.len().min(step + 1)].partition_point(|other| *other < number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_gives_back_what_it_took() {
        let mut list = Postings::One(3);
        [4, 200, 70_000, u32::MAX].into_iter().for_each(|number| list.push(number));
        let mut read = Vec::new();
        list.read(&mut read);
        assert_eq!(read, [3, 4, 200, 70_000, u32::MAX]);
    }

    proptest! {
        #[test]
        fn sets_are_cut_as_sets(one in prop::collection::btree_set(0u32..500, 0..300), other in prop::collection::btree_set(0u32..500, 0..300)) {
            let other_list: Vec<u32> = other.iter().copied().collect();
            for wanted in [true, false] {
                let mut list: Vec<u32> = one.iter().copied().collect();
                retain(&mut list, &other_list, wanted);
                let expected: Vec<u32> = one.iter().copied().filter(|n| other.contains(n) == wanted).collect();
                prop_assert_eq!(list, expected);
            }
        }

        #[test]
        fn sorting_sorts(set in prop::collection::hash_set(0u32..100_000, 0..6000)) {
            let mut list: Vec<u32> = set.into_iter().collect();
            let mut expected = list.clone();
            expected.sort_unstable();
            sort(&mut list, 100_000);
            prop_assert_eq!(list, expected);
        }
    }
}
