//! A finished chunk of floats, column by column. Most series count things or measure them to a few decimals; such
//! floats are integers over a power of ten, and their differences take few bits. What is not goes as XOR.
//!
//! ```text
//! chunk  = mode:u8 count:varint first_ms:zigzag [first_step:zigzag time_widths] values
//! values = constant: bits:u64
//!        | decimal:  exponent:u8 exceptions:varint (index:varint bits:u64)* seed:zigzag* widths
//!        | xor:      bits:u64
//! ```
//! and then the bits: changes of the time step, then the values'.

use coracle_promql::Column;

use super::{
    bits::{BitReader, BitWriter},
    classes::{Lengths, Widths},
    varint::{self, Cursor, unzigzag, zigzag},
    xor::Window,
};

const CONSTANT: u8 = 0;
const XOR: u8 = 1;
/// Distance from a base; distance of steps from a base step; change of steps.
const DECIMAL: [u8; 3] = [2, 3, 4];

const EXPONENT_MAX: usize = 15;
const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Integers up to here are floats, every one of them.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Encodes samples that ascend in time; there is at least one.
pub(crate) fn encode(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    debug_assert!(!times_ms.is_empty() && times_ms.len() == values.len());
    let mut header = vec![0];
    varint::put(&mut header, times_ms.len() as u64);
    varint::put_signed(&mut header, times_ms[0]);
    let changes = time_changes(times_ms);
    let time_widths = Lengths::of(changes.iter().copied()).best().0;
    if times_ms.len() > 1 {
        varint::put_signed(&mut header, times_ms[1].wrapping_sub(times_ms[0]));
        time_widths.put(&mut header);
    }
    let write_times = |bits: &mut BitWriter| changes.iter().for_each(|change| time_widths.write(*change, bits));

    if values.iter().all(|value| value.to_bits() == values[0].to_bits()) {
        header.extend_from_slice(&values[0].to_bits().to_le_bytes());
        let mut bits = BitWriter::after(header);
        write_times(&mut bits);
        return bits.finish();
    }
    let plan = decimals(values).map(|decimals| Plan::best(&decimals));
    let as_xor = || {
        let mut header = header.clone();
        header[0] = XOR;
        header.extend_from_slice(&values[0].to_bits().to_le_bytes());
        let mut bits = BitWriter::after(header);
        write_times(&mut bits);
        let mut window = Window::default();
        for pair in values.windows(2) {
            window.write(pair[0].to_bits(), pair[1].to_bits(), &mut bits);
        }
        bits.finish()
    };
    let Some(plan) = plan else { return as_xor() };
    let mut bits = BitWriter::after(plan.header(header.clone()));
    write_times(&mut bits);
    plan.residuals.iter().for_each(|residual| plan.widths.write(*residual, &mut bits));
    let decimal = bits.finish();
    // Where decimals come out short, XOR need not be tried: it is never far below a byte a value.
    if decimal.len() <= values.len() + 16 {
        return decimal;
    }
    let xor = as_xor();
    if xor.len() < decimal.len() { xor } else { decimal }
}

fn time_changes(times_ms: &[i64]) -> Vec<u64> {
    let step = |pair: &[i64]| pair[1].wrapping_sub(pair[0]);
    times_ms.windows(3).map(|three| zigzag(step(&three[1..]).wrapping_sub(step(&three[..2])))).collect()
}

/// Values as integers over ten to the `exponent`; at exceptions, the integer before stands in.
struct Decimals {
    exponent: u8,
    integers: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
}

#[inline]
fn scaled(value: f64, power: f64) -> Option<i64> {
    let integer = (value * power).round();
    if integer.abs() >= INTEGER_MAX {
        return None;
    }
    let integer = integer as i64;
    ((integer as f64 / power).to_bits() == value.to_bits()).then_some(integer)
}

/// `None` where too many values are no short decimals.
fn decimals(values: &[f64]) -> Option<Decimals> {
    let exceptions_max = values.len() / 16 + 1;
    let (mut exponent, mut strange) = (0, 0);
    for value in values {
        if scaled(*value, POWERS[exponent]).is_some() {
            continue;
        }
        match (exponent + 1..=EXPONENT_MAX).find(|more| scaled(*value, POWERS[*more]).is_some()) {
            Some(more) if value.is_finite() => exponent = more,
            _ => strange += 1,
        }
        if strange > exceptions_max {
            return None;
        }
    }
    let mut integers = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let integer = scaled(*value, POWERS[exponent]).unwrap_or_else(|| {
            exceptions.push((index, value.to_bits()));
            integers.last().copied().unwrap_or(0)
        });
        integers.push(integer);
    }
    (exceptions.len() <= exceptions_max).then_some(Decimals { exponent: exponent as u8, integers, exceptions })
}

/// One way of writing decimals.
struct Plan<'a> {
    decimals: &'a Decimals,
    order: usize,
    seeds: Vec<i64>,
    residuals: Vec<u64>,
    widths: Widths,
    bits: u64,
}

impl<'a> Plan<'a> {
    fn best(decimals: &'a Decimals) -> OwnedPlan {
        let integers = &decimals.integers;
        let steps: Vec<i64> = integers.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (level, step) = (median(integers), median(&steps));
        let candidates = [
            Self::new(decimals, 0, vec![level], integers.iter().map(|integer| zigzag(integer - level)).collect()),
            Self::new(decimals, 1, vec![integers[0], step], steps.iter().map(|each| zigzag(each - step)).collect()),
            Self::new(
                decimals,
                2,
                vec![integers[0], steps[0]],
                steps.windows(2).map(|pair| zigzag(pair[1] - pair[0])).collect(),
            ),
        ];
        let best = candidates.into_iter().min_by_key(|plan| plan.bits).expect("there are three");
        best.own()
    }

    fn new(decimals: &'a Decimals, order: usize, seeds: Vec<i64>, residuals: Vec<u64>) -> Self {
        let (widths, bits) = Lengths::of(residuals.iter().copied()).best();
        Self { decimals, order, seeds, residuals, widths, bits }
    }

    fn own(self) -> OwnedPlan {
        let mut values_header = vec![self.decimals.exponent];
        varint::put(&mut values_header, self.decimals.exceptions.len() as u64);
        for (index, bits) in &self.decimals.exceptions {
            varint::put(&mut values_header, *index as u64);
            values_header.extend_from_slice(&bits.to_le_bytes());
        }
        for seed in &self.seeds {
            varint::put_signed(&mut values_header, *seed);
        }
        self.widths.put(&mut values_header);
        OwnedPlan { mode: DECIMAL[self.order], values_header, residuals: self.residuals, widths: self.widths }
    }
}

struct OwnedPlan {
    mode: u8,
    values_header: Vec<u8>,
    residuals: Vec<u64>,
    widths: Widths,
}

impl OwnedPlan {
    fn header(&self, mut header: Vec<u8>) -> Vec<u8> {
        header[0] = self.mode;
        header.extend_from_slice(&self.values_header);
        header
    }
}

fn median(numbers: &[i64]) -> i64 {
    let mut numbers = numbers.to_vec();
    let middle = numbers.len() / 2;
    *numbers.select_nth_unstable(middle).1
}

/// Appends what lies in `start_ms..=end_ms`; `None` where the bytes are no such chunk.
pub(crate) fn decode(bytes: &[u8], start_ms: i64, end_ms: i64, into: &mut Column<f64>) -> Option<()> {
    let from = into.times_ms.len();
    let decoded = decode_all(bytes, into);
    if decoded.is_none() {
        into.times_ms.truncate(from);
        into.values.truncate(from);
        return None;
    }
    let times = &into.times_ms[from..];
    let keep_to = from + times.partition_point(|time| *time <= end_ms);
    let keep_from = from + times.partition_point(|time| *time < start_ms);
    into.times_ms.truncate(keep_to);
    into.values.truncate(keep_to);
    into.times_ms.drain(from..keep_from.min(keep_to));
    into.values.drain(from..keep_from.min(keep_to));
    Some(())
}

/// A chunk never holds more; anything above is damage.
const COUNT_MAX: usize = 1 << 16;

fn decode_all(bytes: &[u8], into: &mut Column<f64>) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let mode = cursor.u8()?;
    let count = cursor.usize().filter(|count| (1..=COUNT_MAX).contains(count))?;
    let first_ms = cursor.signed()?;
    let (step, time_widths) = match count {
        1 => (0, Widths::Fixed(0)),
        _ => (cursor.signed()?, Widths::take(&mut cursor)?),
    };
    let values = ValuesHeader::take(mode, &mut cursor)?;
    let mut bits = BitReader::new(cursor.0);
    read_times(first_ms, step, count, time_widths, &mut bits, &mut into.times_ms);
    let from = into.values.len();
    values.read(count, &mut bits, &mut into.values)?;
    if let ValuesHeader::Decimal { exceptions, .. } = &values {
        for (index, exact) in exceptions {
            *into.values[from..].get_mut(*index)? = f64::from_bits(*exact);
        }
    }
    (!bits.overrun()).then_some(())
}

fn read_times(
    first_ms: i64,
    mut step: i64,
    count: usize,
    widths: Widths,
    bits: &mut BitReader<'_>,
    into: &mut Vec<i64>,
) {
    into.reserve(count);
    into.push(first_ms);
    let mut time_ms = first_ms;
    if widths == Widths::Fixed(0) {
        into.extend((1..count as i64).map(|index| first_ms.wrapping_add(step.wrapping_mul(index))));
        return;
    }
    for index in 1..count {
        if index > 1 {
            step = step.wrapping_add(unzigzag(widths.read(bits)));
        }
        time_ms = time_ms.wrapping_add(step);
        into.push(time_ms);
    }
}

enum ValuesHeader {
    Constant(u64),
    Xor(u64),
    Decimal { order: usize, power: f64, seeds: [i64; 2], widths: Widths, exceptions: Vec<(usize, u64)> },
}

impl ValuesHeader {
    fn take(mode: u8, cursor: &mut Cursor<'_>) -> Option<Self> {
        match mode {
            CONSTANT => return cursor.u64().map(Self::Constant),
            XOR => return cursor.u64().map(Self::Xor),
            _ => {}
        }
        let order = DECIMAL.iter().position(|decimal| *decimal == mode)?;
        let power = *POWERS.get(usize::from(cursor.u8()?))?;
        let exceptions = cursor.usize().filter(|exceptions| *exceptions <= cursor.0.len() / 9)?;
        let exceptions = (0..exceptions).map(|_| Some((cursor.usize()?, cursor.u64()?))).collect::<Option<_>>()?;
        let first = cursor.signed()?;
        let second = if order == 0 { 0 } else { cursor.signed()? };
        Some(Self::Decimal { order, power, seeds: [first, second], widths: Widths::take(cursor)?, exceptions })
    }

    fn read(&self, count: usize, bits: &mut BitReader<'_>, into: &mut Vec<f64>) -> Option<()> {
        into.reserve(count);
        match self {
            Self::Constant(value) => into.extend(std::iter::repeat_n(f64::from_bits(*value), count)),
            Self::Xor(first) => {
                let (mut value, mut window) = (*first, Window::default());
                into.push(f64::from_bits(value));
                for _ in 1..count {
                    value = window.read(value, bits)?;
                    into.push(f64::from_bits(value));
                }
            }
            Self::Decimal { order, power, seeds: [first, second], widths, .. } => {
                let mut next = || unzigzag(widths.read(bits));
                // Divisions by one would be half of the time that integers take.
                let mut push = |integer: i64| match *power == 1.0 {
                    true => into.push(integer as f64),
                    false => into.push(integer as f64 / power),
                };
                let (mut integer, mut step) = (*first, *second);
                match order {
                    0 => (0..count).for_each(|_| push(first.wrapping_add(next()))),
                    1 => {
                        push(integer);
                        for _ in 1..count {
                            integer = integer.wrapping_add(step).wrapping_add(next());
                            push(integer);
                        }
                    }
                    _ => {
                        push(integer);
                        for index in 1..count {
                            if index > 1 {
                                step = step.wrapping_add(next());
                            }
                            integer = integer.wrapping_add(step);
                            push(integer);
                        }
                    }
                }
            }
        }
        Some(())
    }
}
