//! Names and values of labels, each kept once and known by a number.

use hashbrown::HashTable;

use crate::{hash, pages::Pages};

/// The number of a text.
pub(crate) type Symbol = u32;
/// Texts are shorter than this.
pub(crate) const TEXT_BYTES_MAX: usize = u16::MAX as usize;

#[derive(Debug, Default)]
pub(crate) struct Symbols {
    text: Pages<u8>,
    places: Vec<(u32, u16)>,
    by_text: HashTable<Symbol>,
}

impl Symbols {
    pub(crate) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn bytes(&self, symbol: Symbol) -> &[u8] {
        let (at, len) = self.places[symbol as usize];
        self.text.get(at, usize::from(len))
    }

    pub(crate) fn get(&self, symbol: Symbol) -> &str {
        std::str::from_utf8(self.bytes(symbol)).expect("only texts are put in")
    }

    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        let hash = hash::bytes(text.as_bytes());
        self.by_text.find(hash, |symbol| self.bytes(*symbol) == text.as_bytes()).copied()
    }

    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        debug_assert!(text.len() <= TEXT_BYTES_MAX);
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let symbol = self.len();
        self.places.push((self.text.push(text.as_bytes()), text.len() as u16));
        let Self { text: texts, places, by_text } = self;
        by_text.insert_unique(hash::bytes(text.as_bytes()), symbol, |other| {
            let (at, len) = places[*other as usize];
            hash::bytes(texts.get(at, usize::from(len)))
        });
        symbol
    }

    pub(crate) fn has_room(&self) -> bool {
        self.text.has_room() && self.places.len() < u32::MAX as usize - (1 << 20)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.heap_bytes() + self.places.capacity() * 8 + self.by_text.capacity() * 5
    }
}
