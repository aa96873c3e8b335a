//! The labels of many series, one after the other.

use coracle_promql::Labels;
use hashbrown::HashMap;

use super::LabelIndex;
use crate::symbols::Symbol;

/// Makes labels; where only few of them matter, the same ones are shared by all series that have them.
pub(crate) struct Labeller<'a> {
    index: &'a LabelIndex,
    /// The names that matter, if not all do.
    names: Option<Vec<Symbol>>,
    shared: HashMap<Box<[(Symbol, Symbol)]>, Labels>,
    pairs: Vec<(Symbol, Symbol)>,
    text: String,
}

/// More different ones are not remembered.
const SHARED_MAX: usize = 1 << 14;

impl<'a> Labeller<'a> {
    pub(crate) fn new(index: &'a LabelIndex, only: Option<&[String]>) -> Self {
        let names = only.map(|only| only.iter().filter_map(|name| index.symbols.find(name)).collect());
        Self { index, names, shared: HashMap::new(), pairs: Vec::new(), text: String::new() }
    }

    pub(crate) fn labels(&mut self, slot: u32) -> Labels {
        let Some(names) = &self.names else {
            return Labels::from_sorted_in(&mut self.text, self.index.texts(slot));
        };
        self.pairs.clear();
        self.pairs.extend(self.index.pairs_of(slot).iter().filter(|(name, _)| names.contains(name)));
        if let Some(labels) = self.shared.get(&self.pairs[..]) {
            return labels.clone();
        }
        let symbols = &self.index.symbols;
        let texts = self.pairs.iter().map(|(name, value)| (symbols.get(*name), symbols.get(*value)));
        let labels = Labels::from_sorted_in(&mut self.text, texts);
        if self.shared.len() < SHARED_MAX {
            self.shared.insert(self.pairs.as_slice().into(), labels.clone());
        }
        labels
    }
}
