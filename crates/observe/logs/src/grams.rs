//! Which blocks of a segment hold which pieces of text.
//!
//! A piece is three bytes, with ASCII letters in lower case. For numbers in hexadecimal, of which any three digits are
//! everywhere, a quarter of all runs of four digits are pieces too: a long identifier has several of them.
//!
//! ```text
//! index   = directory bucket*
//! directory = offset:u32 * (BUCKETS + 1)                      from the start of the index
//! bucket  = row* crc32c:u32
//! row     = number:u8 count:u8 block:u8*                      count below 8: the blocks
//!         | number:u8 240 + n:u8 bits:u8 * n                  a bit for each block, the first lowest
//!         | number:u8 255                                     all blocks
//! ```

use std::io;

/// Blocks of a segment: one bit each.
pub(crate) const MAX_BLOCKS: usize = 63;
const ROW_BITS: u32 = 20;
const ROWS: usize = 1 << ROW_BITS;
const BUCKET_ROWS: usize = 256;
const BUCKETS: usize = ROWS / BUCKET_ROWS;
const BITS: u8 = 240;
const ALL: u8 = 255;
/// Needles give no more pieces to look up than these.
const MAX_LOOKUPS: usize = 24;

/// The rows of one block's pieces, a bit each: small enough to stay near the processor while a block is gone through.
pub(crate) struct BlockGrams {
    rows: Vec<u64>,
    /// Runs of [`WINDOW`] bytes that were gone through lately, by their hash: lines repeat most of what they say.
    known: Vec<u64>,
}

/// Bytes that are looked at together.
const WINDOW: usize = 8;
/// Pieces begin in a window at so many places, whose four bytes lie in it too.
const STEP: usize = WINDOW - 3;
const KNOWN_BITS: u32 = 13;

impl BlockGrams {
    pub(crate) fn new() -> Self {
        Self { rows: vec![0; ROWS / 64], known: vec![0; 1 << KNOWN_BITS] }
    }

    /// Those of another text instead.
    pub(crate) fn read(&mut self, text: &[u8]) {
        self.rows.fill(0);
        self.known.fill(0);
        // Eight zeros come first in the table, and have not been seen either.
        self.known[0] = 1;
        let Self { rows, known } = self;
        let mut take = |text: &[u8]| each_gram(text, |row| rows[row / 64] |= 1 << (row % 64));
        let mut at = 0;
        while let Some(bytes) = text.get(at..at + WINDOW) {
            let window = u64::from_le_bytes(bytes.try_into().expect("a window is eight bytes"));
            let place = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - KNOWN_BITS);
            if known[place as usize] != window {
                known[place as usize] = window;
                take(bytes);
            }
            at += STEP;
        }
        take(&text[at..]);
    }

    fn each(&self, mut each: impl FnMut(usize)) {
        for (at, word) in self.rows.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                each(at * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

/// Gathers the pieces of a segment's blocks.
pub(crate) struct GramsBuilder {
    rows: Vec<u64>,
    /// Buckets that have any, so that little text takes little time.
    touched: Vec<bool>,
}

impl GramsBuilder {
    pub(crate) fn new() -> Self {
        Self { rows: vec![0; ROWS], touched: vec![false; BUCKETS] }
    }

    /// Takes a block's pieces.
    pub(crate) fn add(&mut self, block: usize, grams: &BlockGrams) {
        let bit = 1_u64 << block;
        grams.each(|row| {
            self.rows[row] |= bit;
            self.touched[row / BUCKET_ROWS] = true;
        });
    }

    /// The index of `blocks` blocks; the builder is as new.
    pub(crate) fn finish(&mut self, blocks: usize) -> Vec<u8> {
        let all = (1_u64 << blocks) - 1;
        let width = blocks.div_ceil(8);
        let mut index = vec![0; (BUCKETS + 1) * 4];
        for bucket in 0..BUCKETS {
            put_offset(&mut index, bucket);
            if !std::mem::take(&mut self.touched[bucket]) {
                continue;
            }
            let start = index.len();
            for number in 0..BUCKET_ROWS {
                let bits = std::mem::take(&mut self.rows[bucket * BUCKET_ROWS + number]);
                if bits == 0 {
                    continue;
                }
                index.push(number as u8);
                match bits.count_ones() {
                    _ if bits == all => index.push(ALL),
                    count if (count as usize) < width => {
                        index.push(count as u8);
                        index.extend((0..MAX_BLOCKS as u8).filter(|block| bits >> block & 1 == 1));
                    }
                    _ => {
                        index.push(BITS + width as u8);
                        index.extend_from_slice(&bits.to_le_bytes()[..width]);
                    }
                }
            }
            if index.len() > start {
                let crc = crc32c::crc32c(&index[start..]);
                index.extend_from_slice(&crc.to_le_bytes());
            }
        }
        put_offset(&mut index, BUCKETS);
        index
    }
}

fn put_offset(index: &mut [u8], bucket: usize) {
    let offset = u32::try_from(index.len()).expect("an index is some hundred kilobytes");
    index[bucket * 4..bucket * 4 + 4].copy_from_slice(&offset.to_le_bytes());
}

fn row_of(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - ROW_BITS)) as usize
}

/// The digit's value, or 16 and more.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 10 {
        table[b'0' as usize + digit] = digit as u8;
        digit += 1;
    }
    let mut letter = 0;
    while letter < 6 {
        table[b'a' as usize + letter] = 10 + letter as u8;
        table[b'A' as usize + letter] = 10 + letter as u8;
        letter += 1;
    }
    table
};

/// Calls with the row of every piece of a text.
fn each_gram(text: &[u8], mut each: impl FnMut(usize)) {
    let (mut window, mut digits, mut run) = (0_u32, 0_u32, 0_u32);
    for (at, byte) in text.iter().enumerate() {
        window = (window << 8 | u32::from(byte.to_ascii_lowercase())) & 0xff_ffff;
        if at >= 2 {
            each(row_of(window));
        }
        let digit = HEX[*byte as usize];
        run = if digit < 16 { run + 1 } else { 0 };
        digits = (digits << 4 | u32::from(digit & 15)) & 0xffff;
        if run >= 4 && is_sampled(digits) {
            each(row_of(0x0100_0000 | digits));
        }
    }
}

/// One in four.
fn is_sampled(digits: u32) -> bool {
    digits.wrapping_mul(0x85eb_ca6b) >> 30 == 0
}

/// The rows of what a line must contain: of each alternative all, spread over it where there are many.
pub(crate) fn rows(needle: &[u8]) -> Vec<usize> {
    let mut rows = Vec::new();
    each_gram(needle, |row| rows.push(row));
    rows.sort_unstable();
    rows.dedup();
    if rows.len() > MAX_LOOKUPS {
        let step = rows.len().div_ceil(MAX_LOOKUPS);
        rows = rows.into_iter().step_by(step).collect();
    }
    rows
}

/// Asks an index on disk. `read` gives bytes at an offset from the index's start; `told` hears of damage.
pub(crate) fn blocks_with(
    row: usize,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    told: impl FnOnce(),
) -> io::Result<u64> {
    let (bucket, number) = (row / BUCKET_ROWS, (row % BUCKET_ROWS) as u8);
    let mut ends = [0; 8];
    read(bucket as u64 * 4, &mut ends)?;
    let offset = |at: usize| u32::from_le_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]);
    let (start, end) = (offset(0), offset(4));
    if start == end {
        return Ok(0);
    }
    // A row is ten bytes at the most.
    let len = end.checked_sub(start).filter(|len| (4..=BUCKET_ROWS as u32 * 10 + 4).contains(len));
    let Some(len) = len else {
        told();
        return Ok(u64::MAX);
    };
    let mut bytes = vec![0; len as usize];
    read(u64::from(start), &mut bytes)?;
    let (rows, crc) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(rows).to_le_bytes() != crc {
        told();
        return Ok(u64::MAX);
    }
    Ok(find_row(rows, number).unwrap_or(0))
}

fn find_row(mut rows: &[u8], wanted: u8) -> Option<u64> {
    while let [number, count, rest @ ..] = rows {
        let used = match *count {
            ALL => 0,
            count => usize::from(if count > BITS { count - BITS } else { count }),
        };
        let blocks = rest.get(..used)?;
        if *number == wanted {
            return Some(match *count {
                ALL => u64::MAX,
                count if count > BITS => blocks.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
                _ => blocks.iter().fold(0, |bits, block| bits | 1 << (block & 63)),
            });
        }
        rows = &rest[used..];
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grams_of(text: &[u8]) -> BlockGrams {
        let mut grams = BlockGrams::new();
        grams.read(text);
        grams
    }

    fn candidates(index: &[u8], needle: &str) -> u64 {
        let read = |offset: u64, into: &mut [u8]| {
            let offset = offset as usize;
            into.copy_from_slice(&index[offset..offset + into.len()]);
            Ok(())
        };
        let of = |row: usize| blocks_with(row, read, || panic!("nothing is damaged")).unwrap();
        rows(needle.as_bytes()).into_iter().fold(u64::MAX, |bits, row| bits & of(row))
    }

    #[test]
    fn blocks_that_may_hold_a_text() {
        let mut builder = GramsBuilder::new();
        let texts = ["level=info msg=started", "level=warn msg=Slow id=4bf92f3577b34da6", "level=info msg=done"];
        for (block, text) in texts.iter().enumerate() {
            builder.add(block, &grams_of(text.as_bytes()));
        }
        let index = builder.finish(3);
        assert_eq!(candidates(&index, "level="), u64::MAX);
        assert_eq!(candidates(&index, "warn"), 0b010);
        assert_eq!(candidates(&index, "slow"), 0b010);
        assert_eq!(candidates(&index, "info"), 0b101);
        assert_eq!(candidates(&index, "4bf92f3577b34da6"), 0b010);
        assert_eq!(candidates(&index, "panic"), 0);
        // Too short to tell.
        assert_eq!(candidates(&index, "zz"), u64::MAX);
    }

    #[test]
    fn no_text_of_a_block_is_missed() {
        let text: Vec<u8> =
            (0..5000_u32).flat_map(|n| format!("{:x} ", n.wrapping_mul(0x9e37_79b1)).into_bytes()).collect();
        let mut builder = GramsBuilder::new();
        builder.add(5, &grams_of(&text));
        let index = builder.finish(6);
        for start in (0..text.len() - 40).step_by(97) {
            let needle = std::str::from_utf8(&text[start..start + 3 + start % 37]).unwrap();
            assert_eq!(candidates(&index, needle) >> 5 & 1, 1, "{needle}");
        }
    }

    proptest! {
        #[test]
        fn what_was_seen_before_is_not_missed(words in prop::collection::vec(0..4_usize, 0..60), odd in "[0-9a-f\\x00]{0,12}") {
            let words: Vec<&str> = words.iter().map(|word| ["status=200 ", "4bf92f35", "\0\0\0\0\0\0\0\0\0", &odd][*word]).collect();
            let text = words.concat().into_bytes();
            let mut expected = vec![0; ROWS / 64];
            each_gram(&text, |row| expected[row / 64] |= 1_u64 << (row % 64));
            prop_assert!(grams_of(&text).rows == expected);
        }

        #[test]
        fn any_index_is_asked_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), wanted: u8, row in 0..ROWS) {
            let _ = find_row(&bytes, wanted);
            let read = |offset: u64, into: &mut [u8]| {
                into.iter_mut().zip(0..).for_each(|(byte, at)| *byte = bytes.get((offset + at) as usize % 200).copied().unwrap_or(1));
                Ok(())
            };
            blocks_with(row, read, || ()).unwrap();
        }
    }
}
