//! A chunk of floats that grows a sample at a time.

use coracle_promql::Column;

use super::{
    bits::{BitReader, BitWriter},
    varint::{self, Cursor, unzigzag, zigzag},
    xor::Window,
};

/// Widths of the change of a time step, behind one, two, three and four ones.
const TIME_WIDTHS: [u32; 4] = [7, 13, 20, 64];

/// Samples in ascending order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenFloats {
    bits: BitWriter,
    first_ms: i64,
    last_ms: i64,
    last_delta: i64,
    last_value: u64,
    window: Window,
    count: u16,
}

impl OpenFloats {
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    pub(crate) fn last_value(&self) -> f64 {
        f64::from_bits(self.last_value)
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bits.len_bytes()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bits.heap_bytes()
    }

    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        let value = value.to_bits();
        if self.count == 0 {
            self.first_ms = time_ms;
            self.bits.push(value, 64);
        } else {
            let delta = time_ms.wrapping_sub(self.last_ms);
            self.push_time(zigzag(delta.wrapping_sub(self.last_delta)));
            self.last_delta = delta;
            self.window.write(self.last_value, value, &mut self.bits);
        }
        (self.last_ms, self.last_value) = (time_ms, value);
        self.count += 1;
    }

    fn push_time(&mut self, change: u64) {
        if change == 0 {
            return self.bits.push(0, 1);
        }
        let length = 64 - change.leading_zeros();
        let class = TIME_WIDTHS.iter().position(|width| length <= *width).expect("the last width holds everything");
        match class {
            0 => self.bits.push(0b10, 2),
            1 => self.bits.push(0b110, 3),
            2 => self.bits.push(0b1110, 4),
            _ => self.bits.push(0b1111, 4),
        }
        self.bits.push(change, TIME_WIDTHS[class]);
    }

    /// The chunk as bytes that stand for themselves.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        varint::put(into, u64::from(self.count));
        varint::put_signed(into, self.first_ms);
        self.bits.copy_to(into);
    }
}

/// Appends what lies in `start_ms..=end_ms`; `None` where the bytes are no such chunk.
pub(crate) fn decode(bytes: &[u8], start_ms: i64, end_ms: i64, into: &mut Column<f64>) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let count = cursor.usize()?;
    let mut time_ms = cursor.signed()?;
    let mut bits = BitReader::new(cursor.0);
    let (mut delta, mut value, mut window) = (0i64, 0u64, Window::default());
    for index in 0..count {
        if index == 0 {
            value = bits.read(64);
        } else {
            let change = match bits.ones(4) {
                0 => 0,
                class => bits.read(TIME_WIDTHS[class as usize - 1]),
            };
            delta = delta.wrapping_add(unzigzag(change));
            time_ms = time_ms.wrapping_add(delta);
            value = window.read(value, &mut bits)?;
        }
        if time_ms > end_ms || bits.overrun() {
            break;
        }
        if time_ms >= start_ms {
            into.push(time_ms, f64::from_bits(value));
        }
    }
    (!bits.overrun()).then_some(())
}
