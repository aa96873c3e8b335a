//! Many small numbers and a few large ones, in bits. Each takes one of three widths, chosen for the whole run so that it
//! becomes shortest; a prefix of one or two bits says which. A run of one width has no prefixes, a run of zeros no bits.

use super::{
    bits::{BitReader, BitWriter},
    varint::Cursor,
};

const FIXED: u8 = 0x80;

/// How a run is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widths {
    Fixed(u8),
    /// Prefixes `0`, `10` and `11`; ascending.
    Three([u8; 3]),
}

/// How many numbers of each length in bits there are.
pub(crate) struct Lengths([u32; 65]);

impl Lengths {
    pub(crate) fn of(numbers: impl Iterator<Item = u64>) -> Self {
        let mut counts = [0; 65];
        for number in numbers {
            counts[64 - number.leading_zeros() as usize] += 1;
        }
        Self(counts)
    }

    /// The best widths, and how many bits the run takes with them.
    pub(crate) fn best(&self) -> (Widths, u64) {
        let mut lengths = [0u8; 65];
        let mut up_to = [0u64; 65];
        let (mut distinct, mut total) = (0, 0u64);
        for (length, count) in self.0.iter().enumerate() {
            total += u64::from(*count);
            up_to[length] = total;
            if *count > 0 {
                lengths[distinct] = length as u8;
                distinct += 1;
            }
        }
        let lengths = &lengths[..distinct];
        let Some(&widest) = lengths.last() else { return (Widths::Fixed(0), 0) };
        let mut best = (Widths::Fixed(widest), total * u64::from(widest));
        for (index, &narrow) in lengths.iter().enumerate() {
            for &middle in &lengths[index + 1..] {
                let (in_narrow, in_middle) = (up_to[narrow as usize], up_to[middle as usize]);
                let bits = in_narrow * (1 + u64::from(narrow))
                    + (in_middle - in_narrow) * (2 + u64::from(middle))
                    + (total - in_middle) * (2 + u64::from(widest));
                if bits < best.1 {
                    best = (Widths::Three([narrow, middle, widest]), bits);
                }
            }
        }
        best
    }
}

impl Widths {
    pub(crate) fn put(self, into: &mut Vec<u8>) {
        match self {
            Self::Fixed(width) => into.push(FIXED | width),
            Self::Three(widths) => into.extend_from_slice(&widths),
        }
    }

    pub(crate) fn take(cursor: &mut Cursor<'_>) -> Option<Self> {
        let first = cursor.u8()?;
        let widths = if first & FIXED != 0 {
            Self::Fixed(first & !FIXED)
        } else {
            Self::Three([first, cursor.u8()?, cursor.u8()?])
        };
        let fits = match widths {
            Self::Fixed(width) => width <= 64,
            Self::Three(widths) => widths.iter().all(|width| *width <= 64),
        };
        fits.then_some(widths)
    }

    #[inline]
    pub(crate) fn write(self, number: u64, bits: &mut BitWriter) {
        match self {
            Self::Fixed(width) => bits.push(number, u32::from(width)),
            Self::Three([narrow, middle, wide]) => {
                let length = 64 - number.leading_zeros();
                if length <= u32::from(narrow) {
                    bits.push(0, 1);
                    bits.push(number, u32::from(narrow));
                } else if length <= u32::from(middle) {
                    bits.push(0b10, 2);
                    bits.push(number, u32::from(middle));
                } else {
                    bits.push(0b11, 2);
                    bits.push(number, u32::from(wide));
                }
            }
        }
    }

    #[inline]
    pub(crate) fn read(self, bits: &mut BitReader<'_>) -> u64 {
        match self {
            Self::Fixed(width) => bits.read(u32::from(width)),
            Self::Three(widths) => {
                let class = bits.ones(2);
                bits.read(u32::from(widths[class as usize]))
            }
        }
    }
}
