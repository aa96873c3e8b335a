//! Bits, highest first.

/// Collects bits; whole words go to `bytes`, the rest waits in a word.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    /// How many bits of `word` are in use, counted from the top; less than 64.
    used: u8,
}

impl BitWriter {
    /// Goes on behind bytes that are there already.
    pub(crate) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, word: 0, used: 0 }
    }

    /// Appends the lowest `count` bits of `value`.
    #[inline]
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        if count == 0 {
            return;
        }
        let value = value & (u64::MAX >> (64 - count));
        let room = 64 - u32::from(self.used);
        if count < room {
            self.word |= value << (room - count);
            self.used += count as u8;
            return;
        }
        let rest = count - room;
        self.word |= value >> rest;
        self.bytes.extend_from_slice(&self.word.to_be_bytes());
        self.word = if rest == 0 { 0 } else { value << (64 - rest) };
        self.used = rest as u8;
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() + usize::from(self.used).div_ceil(8)
    }

    /// Everything so far, the last byte filled up with zeros.
    pub(crate) fn copy_to(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.bytes);
        into.extend_from_slice(&self.word.to_be_bytes()[..usize::from(self.used).div_ceil(8)]);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let rest = self.word.to_be_bytes();
        self.bytes.extend_from_slice(&rest[..usize::from(self.used).div_ceil(8)]);
        self.bytes
    }
}

/// Reads bits; behind the end there are zeros, and [`BitReader::overrun`] says so.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next 57 bits or more, highest first.
    #[inline]
    fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(eight) => u64::from_be_bytes(eight.try_into().expect("eight bytes")),
            None => {
                let mut eight = [0; 8];
                let rest = self.bytes.get(byte..).unwrap_or_default();
                eight[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(eight)
            }
        };
        word << (self.at % 8)
    }

    #[inline]
    pub(crate) fn read(&mut self, count: u32) -> u64 {
        if count == 0 {
            return 0;
        }
        if count > 56 {
            let high = self.read(count - 32);
            return high << 32 | self.read(32);
        }
        let value = self.peek() >> (64 - count);
        self.at += count as usize;
        value
    }

    /// How many ones come before the next zero, at most `most`; the zero is taken too.
    #[inline]
    pub(crate) fn ones(&mut self, most: u32) -> u32 {
        let ones = self.peek().leading_ones().min(most);
        self.at += ones as usize + usize::from(ones < most);
        ones
    }

    pub(crate) fn overrun(&self) -> bool {
        self.at > self.bytes.len() * 8
    }
}
