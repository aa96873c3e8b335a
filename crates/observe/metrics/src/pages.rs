//! Slices side by side in pages, each found again by a number: no allocation a slice, no moving when more come.

const PAGE_LEN: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T: Copy> Pages<T> {
    /// Keeps a slice, which may be as long as a page, and says where.
    pub(crate) fn push(&mut self, slice: &[T]) -> u32 {
        debug_assert!(slice.len() < PAGE_LEN);
        let fits = self.pages.last().is_some_and(|page| page.len() + slice.len() <= PAGE_LEN);
        if !fits {
            // The first page grows as it needs to: a store of few series stays small.
            let capacity = if self.pages.is_empty() { 0 } else { PAGE_LEN };
            self.pages.push(Vec::with_capacity(capacity));
        }
        let page_index = self.pages.len() - 1;
        let page = &mut self.pages[page_index];
        let at = page.len();
        page.extend_from_slice(slice);
        u32::try_from(page_index * PAGE_LEN + at).expect("limits keep texts and labels far below 2^32")
    }

    #[inline]
    pub(crate) fn get(&self, at: u32, len: usize) -> &[T] {
        let (page, at) = (at as usize / PAGE_LEN, at as usize % PAGE_LEN);
        &self.pages[page][at..at + len]
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.pages.iter().map(|page| page.capacity() * size_of::<T>()).sum()
    }
}
