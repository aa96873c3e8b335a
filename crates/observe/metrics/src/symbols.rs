//! Names and values of labels, each kept once and known by a number.

use hashbrown::HashTable;
use memchr::memmem;

use crate::hash;

/// The number of a text.
pub(crate) type Symbol = u32;
/// Texts are shorter than this.
pub(crate) const TEXT_BYTES_MAX: usize = u16::MAX as usize;
const PAGE_BYTES: usize = 1 << 16;

/// Where a text is: page, first byte, length.
#[derive(Debug, Clone, Copy)]
struct Place {
    page: u32,
    at: u16,
    len: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Texts side by side: no allocation a text, no moving when more come.
    pages: Vec<String>,
    places: Vec<Place>,
    by_text: HashTable<Symbol>,
}

fn text(pages: &[String], place: Place) -> &str {
    let at = usize::from(place.at);
    &pages[place.page as usize][at..at + usize::from(place.len)]
}

impl Symbols {
    pub(crate) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    #[inline]
    pub(crate) fn get(&self, symbol: Symbol) -> &str {
        text(&self.pages, self.places[symbol as usize])
    }

    pub(crate) fn find(&self, wanted: &str) -> Option<Symbol> {
        let hash = hash::bytes(wanted.as_bytes());
        self.by_text.find(hash, |symbol| self.get(*symbol) == wanted).copied()
    }

    /// The symbols whose texts hold a needle, ascending; nothing when they are more than `most`. One search over all pages:
    /// texts lie in the order of their numbers.
    pub(crate) fn holding(&self, needle: &str, most: usize) -> Option<Vec<Symbol>> {
        if needle.is_empty() {
            return None;
        }
        let finder = memmem::Finder::new(needle);
        let mut found = Vec::new();
        let mut places = &self.places[..];
        for (number, page) in self.pages.iter().enumerate() {
            let here = places.partition_point(|place| place.page as usize == number);
            let first = self.places.len() - places.len();
            let mut from = 0;
            while let Some(at) = finder.find(&page.as_bytes()[from..]) {
                let at = from + at;
                let index = places[..here].partition_point(|place| usize::from(place.at) <= at) - 1;
                let end = usize::from(places[index].at) + usize::from(places[index].len);
                // What begins in one text and ends in the next is in neither.
                if at + needle.len() <= end {
                    found.push((first + index) as Symbol);
                    if found.len() > most {
                        return None;
                    }
                }
                from = end;
            }
            places = &places[here..];
        }
        Some(found)
    }

    pub(crate) fn intern(&mut self, wanted: &str) -> Symbol {
        debug_assert!(wanted.len() <= TEXT_BYTES_MAX);
        if let Some(symbol) = self.find(wanted) {
            return symbol;
        }
        let symbol = self.len();
        let place = self.keep(wanted);
        self.places.push(place);
        let Self { pages, places, by_text } = self;
        by_text.insert_unique(hash::bytes(wanted.as_bytes()), symbol, |other| {
            hash::bytes(text(pages, places[*other as usize]).as_bytes())
        });
        symbol
    }

    fn keep(&mut self, wanted: &str) -> Place {
        let fits = self.pages.last().is_some_and(|page| page.len() + wanted.len() < PAGE_BYTES);
        if !fits {
            // The first page grows as it needs to: a store of few series stays small.
            let capacity = if self.pages.is_empty() { 0 } else { PAGE_BYTES };
            self.pages.push(String::with_capacity(capacity));
        }
        let page = self.pages.len() - 1;
        let at = self.pages[page].len() as u16;
        self.pages[page].push_str(wanted);
        Place { page: page as u32, at, len: wanted.len() as u16 }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.places.len() < u32::MAX as usize - (1 << 20)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let text: usize = self.pages.iter().map(String::capacity).sum();
        text + self.places.capacity() * size_of::<Place>() + self.by_text.capacity() * 5
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_search_over_all_texts_finds_what_each_holds(texts in prop::collection::vec("[ab]{0,5}", 0..300), needle in "[ab]{1,3}") {
            let mut symbols = Symbols::default();
            texts.iter().for_each(|text| {
                symbols.intern(text);
                // So that there are several pages.
                symbols.intern(&format!("{text}{}", "-".repeat(2000)));
            });
            let expected: Vec<Symbol> = (0..symbols.len()).filter(|symbol| symbols.get(*symbol).contains(&needle)).collect();
            prop_assert_eq!(symbols.holding(&needle, usize::MAX), Some(expected.clone()));
            if let Some(fewer) = expected.len().checked_sub(1) {
                prop_assert_eq!(symbols.holding(&needle, fewer), None);
            }
        }
    }
}
