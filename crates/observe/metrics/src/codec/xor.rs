//! Floats as what differs from the one before, after the Gorilla paper (Pelkonen et al., VLDB 2015): equal, in the
//! window of bits that was used last, or in a new one.

use super::bits::{BitReader, BitWriter};

/// The window of bits that differ; none yet where `leading` is out of range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    leading: u8,
    trailing: u8,
}

impl Default for Window {
    fn default() -> Self {
        Self { leading: u8::MAX, trailing: 0 }
    }
}

impl Window {
    pub(crate) fn write(&mut self, previous: u64, value: u64, bits: &mut BitWriter) {
        let differs = previous ^ value;
        if differs == 0 {
            bits.push(0, 1);
            return;
        }
        let leading = differs.leading_zeros().min(31) as u8;
        let trailing = differs.trailing_zeros() as u8;
        if leading >= self.leading && trailing >= self.trailing {
            bits.push(0b10, 2);
            bits.push(differs >> self.trailing, 64 - u32::from(self.leading) - u32::from(self.trailing));
            return;
        }
        *self = Self { leading, trailing };
        let significant = 64 - u32::from(leading) - u32::from(trailing);
        bits.push(0b11, 2);
        bits.push(u64::from(leading), 5);
        // 1 to 64, of which 64 is written as 0.
        bits.push(u64::from(significant), 6);
        bits.push(differs >> trailing, significant);
    }

    /// `None` where the bits make no sense.
    #[inline]
    pub(crate) fn read(&mut self, previous: u64, bits: &mut BitReader<'_>) -> Option<u64> {
        match bits.ones(2) {
            0 => Some(previous),
            1 => self.read_same(previous, bits),
            _ => self.read_new(previous, bits),
        }
    }

    /// A value that differs within a new window.
    #[inline]
    pub(crate) fn read_new(&mut self, previous: u64, bits: &mut BitReader<'_>) -> Option<u64> {
        let leading = bits.read(5) as u8;
        let significant = match bits.read(6) as u8 {
            0 => 64,
            some => some,
        };
        let trailing = 64u8.checked_sub(leading + significant)?;
        *self = Self { leading, trailing };
        self.read_same(previous, bits)
    }

    /// A value that differs within the window that was used last.
    #[inline]
    pub(crate) fn read_same(self, previous: u64, bits: &mut BitReader<'_>) -> Option<u64> {
        let significant = 64u32.checked_sub(u32::from(self.leading) + u32::from(self.trailing))?;
        Some(previous ^ bits.read(significant) << self.trailing)
    }
}
