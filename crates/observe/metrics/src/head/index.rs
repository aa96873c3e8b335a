//! Labels of the series in memory, and which series have them.

use coracle_promql::{Labels, Matcher};
use hashbrown::{HashMap, HashTable};
use parking_lot::Mutex;

use crate::{
    StoreError,
    pages::Pages,
    postings::{Postings, PostingsTable},
    resolve::{Common, Index},
    symbols::{Symbol, Symbols},
    texts::Texts,
};

#[derive(Debug, Default)]
pub(crate) struct LabelIndex {
    pub(crate) symbols: Symbols,
    pairs: Pages<(Symbol, Symbol)>,
    /// Where a series' labels are, in the order of the series.
    places: Vec<(u32, u16)>,
    by_hash: HashTable<(u64, u32)>,
    by_label: PostingsTable,
    /// The values of labels that somebody asked for, in the order of their texts.
    orders: Mutex<HashMap<Symbol, Vec<Symbol>>>,
}

impl LabelIndex {
    pub(crate) fn pairs_of(&self, slot: u32) -> &[(Symbol, Symbol)] {
        let (at, len) = self.places[slot as usize];
        self.pairs.get(at, usize::from(len))
    }

    /// A series' labels as texts.
    pub(crate) fn texts(&self, slot: u32) -> impl Iterator<Item = (&str, &str)> {
        self.pairs_of(slot).iter().map(|(name, value)| (self.symbols.get(*name), self.symbols.get(*value)))
    }

    pub(crate) fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.texts(slot))
    }

    /// The series with exactly these labels.
    pub(crate) fn find(&self, hash: u64, labels: &[(&str, &str)]) -> Option<u32> {
        let same = |slot: u32| {
            let pairs = self.pairs_of(slot);
            pairs.len() == labels.len()
                && pairs.iter().zip(labels).all(|((name, value), (wanted_name, wanted_value))| {
                    self.symbols.get(*value) == *wanted_value && self.symbols.get(*name) == *wanted_name
                })
        };
        self.by_hash.find(hash, |(other, slot)| *other == hash && same(*slot)).map(|(_, slot)| *slot)
    }

    /// Takes up the series that comes next.
    pub(crate) fn insert(&mut self, slot: u32, pairs: &[(Symbol, Symbol)], hash: u64) {
        debug_assert_eq!(slot as usize, self.places.len());
        self.places.push((self.pairs.push(pairs), pairs.len() as u16));
        self.by_hash.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        self.by_label.insert(slot, pairs);
    }

    /// Names of labels with how many values each has.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_label.values.iter().map(|(name, values)| (self.symbols.get(*name), values.len()))
    }

    /// How many series each value of a label has.
    pub(crate) fn values_with_counts<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, usize)> {
        let name = self.symbols.find(name);
        let values = name.and_then(|name| self.by_label.values.get(&name)).into_iter().flatten();
        values.map(move |value| {
            let count = name.and_then(|name| self.by_label.postings.get(&(name, *value))).map_or(0, Postings::count);
            (self.symbols.get(*value), count)
        })
    }

    /// How many pairs of name and value there are.
    pub(crate) fn pairs_count(&self) -> usize {
        self.by_label.postings.len()
    }

    /// How many series each pair of name and value has.
    pub(crate) fn pairs_with_counts(&self) -> impl Iterator<Item = ((Symbol, Symbol), usize)> {
        self.by_label.postings.iter().map(|(pair, postings)| (*pair, postings.count()))
    }

    /// The names of the labels some series have.
    pub(crate) fn names_of(&self, series: &[u32]) -> Texts {
        self.distinct(series.iter().flat_map(|slot| self.pairs_of(*slot)).map(|(name, _)| *name))
    }

    /// The values a label has in some series.
    pub(crate) fn values_of(&self, series: &[u32], name: &str) -> Texts {
        let Some(name) = self.symbols.find(name) else { return Texts::default() };
        let value_of = |slot: &u32| self.pairs_of(*slot).iter().find(|pair| pair.0 == name).map(|(_, value)| *value);
        self.distinct(series.iter().filter_map(value_of))
    }

    fn distinct(&self, symbols: impl Iterator<Item = Symbol>) -> Texts {
        let mut seen = vec![false; self.symbols.len() as usize];
        let first_time = |symbol: &Symbol| !std::mem::replace(&mut seen[*symbol as usize], true);
        Texts::sorted(symbols.filter(first_time).map(|symbol| self.symbols.get(symbol)).collect())
    }

    /// All values of a label. Their order is remembered, so that only new ones have to be sorted in.
    pub(crate) fn all_values(&self, name: &str) -> Texts {
        let Some(name) = self.symbols.find(name) else { return Texts::default() };
        let Some(values) = self.by_label.values.get(&name) else { return Texts::default() };
        let mut orders = self.orders.lock();
        let order = orders.entry(name).or_default();
        if order.len() < values.len() {
            order.extend_from_slice(&values[order.len()..]);
            // A stable sort finds the run that is in order already.
            order.sort_by(|one, other| self.symbols.get(*one).cmp(self.symbols.get(*other)));
        }
        let mut texts = Texts::default();
        order.iter().for_each(|value| texts.push(self.symbols.get(*value)));
        texts
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        // A place in a hash table costs its content and a byte, an eighth of the places stay free.
        let table = self.by_hash.capacity() * 18;
        let orders: usize = self.orders.lock().values().map(|order| order.capacity() * 4).sum();
        orders
            + self.symbols.heap_bytes()
            + self.pairs.heap_bytes()
            + self.places.capacity() * 8
            + table
            + self.by_label.heap_bytes()
    }

    fn postings_of(&self, name: &str, value: &str) -> Option<&Postings> {
        self.by_label.postings.get(&(self.symbols.find(name)?, self.symbols.find(value)?))
    }
}

impl Index for LabelIndex {
    fn series_count(&self) -> u32 {
        self.places.len() as u32
    }

    fn read_postings(&self, name: &str, value: &str, into: &mut Vec<u32>) -> Result<(), StoreError> {
        if let Some(postings) = self.postings_of(name, value) {
            postings.read(into);
        }
        Ok(())
    }

    fn postings_count(&self, name: &str, value: &str) -> Result<usize, StoreError> {
        Ok(self.postings_of(name, value).map_or(0, Postings::count))
    }

    fn values_count(&self, name: &str) -> usize {
        self.symbols.find(name).and_then(|name| self.by_label.values.get(&name)).map_or(0, Vec::len)
    }

    fn read_matching(
        &self,
        name: &str,
        common: Common<'_>,
        wanted: &dyn Fn(&str) -> bool,
        into: &mut Vec<u32>,
    ) -> Result<(), StoreError> {
        /// One large search over all texts is faster than many small ones, if the label has no small share of the texts
        /// and not very many are found.
        const TEXTS_SHARE: usize = 8;
        const FOUND_SHARE: usize = 16;
        let Some(name) = self.symbols.find(name) else { return Ok(()) };
        let values = self.by_label.values.get(&name).map_or(&[][..], Vec::as_slice);
        let holding = match values.len() >= self.symbols.len() as usize / TEXTS_SHARE {
            true => self.symbols.holding(common.needle, values.len() / FOUND_SHARE),
            false => None,
        };
        if let Some(holding) = holding {
            for value in holding {
                if let Some(postings) = self.by_label.postings.get(&(name, value))
                    && wanted(self.symbols.get(value))
                {
                    postings.read(into);
                }
            }
            return Ok(());
        }
        for value in values {
            let text = self.symbols.get(*value);
            if text.starts_with(common.prefix) && wanted(text) {
                self.by_label.postings[&(name, *value)].read(into);
            }
        }
        Ok(())
    }

    fn retain_matching(&self, series: &mut Vec<u32>, matchers: &[&Matcher]) -> Result<(), StoreError> {
        let names: Vec<Option<Symbol>> = matchers.iter().map(|matcher| self.symbols.find(&matcher.name)).collect();
        let value_of = |slot: u32, name: Option<Symbol>| {
            let pair = self.pairs_of(slot).iter().find(|pair| Some(pair.0) == name);
            pair.map_or("", |(_, value)| self.symbols.get(*value))
        };
        series
            .retain(|slot| matchers.iter().zip(&names).all(|(matcher, name)| matcher.matches(value_of(*slot, *name))));
        Ok(())
    }
}
