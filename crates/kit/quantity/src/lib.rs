//! Kubernetes' quantities: `500m`, `1Gi`, `1e3`, kept exactly to the nano and written in canonical form.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};

use thiserror::Error;

/// Text that is no quantity, in upstream's words.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The family of suffixes a quantity was written with, and will be written with again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    Decimal,
    Binary,
    Exponent,
}

/// A number of nano units. Larger than 2^63-1 units is capped, finer than a nano is rounded up, as upstream does.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        if number.is_empty() {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Number);
        }
        let (notation, base, exponent) = read_suffix(suffix)?;
        let magnitude = scale(whole, fraction, base, exponent);
        let nanos = if text.starts_with('-') { -magnitude } else { magnitude };
        Ok(Self { nanos, notation })
    }

    /// Whole units, as in `10` pods.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, notation: Notation::Decimal }
    }

    /// Thousandths, as in cpu's `m`.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), notation: Notation::Decimal }
    }

    /// Bytes, written with `Ki`, `Mi` and so on.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, notation: Notation::Binary }
    }

    pub fn zero() -> Self {
        Self::from_units(0)
    }

    /// Rounded up to whole units.
    pub fn units(&self) -> i64 {
        i64::try_from(div_up(self.nanos, NANO)).unwrap_or(i64::MAX)
    }

    /// Rounded up to thousandths.
    pub fn millis(&self) -> i64 {
        i64::try_from(div_up(self.nanos, NANO / 1000)).unwrap_or(i64::MAX)
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }
}

fn read_suffix(suffix: &str) -> Result<(Notation, u32, i32), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(text, _)| *text == suffix) {
        return Ok((Notation::Decimal, 10, *exponent));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(text, _)| *text == suffix) {
        return Ok((Notation::Binary, 2, *exponent as i32));
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']) {
        let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
        return Ok((Notation::Exponent, 10, exponent));
    }
    let allowed = |c: char| c.is_ascii_digit() || "eEinumkKMGTP+-".contains(c);
    if suffix.chars().all(allowed) { Err(QuantityError::Suffix) } else { Err(QuantityError::Format) }
}

/// `whole.fraction * base^exponent` in nanos, rounded up, capped.
fn scale(whole: &str, fraction: &str, base: u32, exponent: i32) -> i128 {
    let digits: String = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return 0;
    }
    let mut power = -(fraction.len() as i64) + 9;
    if base == 10 {
        power += i64::from(exponent);
    }
    // 40 digits are past the cap or past a nano whatever follows.
    let kept = &digits[..digits.len().min(30)];
    let dropped = digits.len() - kept.len();
    let mut value: i128 = kept.parse().unwrap_or(i128::MAX);
    power += dropped as i64;
    let lost = digits[kept.len()..].bytes().any(|b| b != b'0');
    if base == 2 {
        value = value.saturating_mul(1i128 << exponent);
    }
    let mut inexact = lost;
    while power > 0 && value < MAX {
        value = value.saturating_mul(10);
        power -= 1;
    }
    while power < 0 && value > 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    if inexact {
        value += 1;
    }
    value.min(MAX)
}

fn div_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value.div_euclid(by), value.rem_euclid(by));
    if rest > 0 { quotient + 1 } else { quotient }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let units = self.nanos / NANO;
        if self.notation == Notation::Binary && self.is_whole() && units.abs() >= 1024 {
            let (mut number, mut suffix) = (units, "");
            for (text, _) in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                (number, suffix) = (number / 1024, text);
            }
            return write!(f, "{number}{suffix}");
        }
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < 18 {
            (number, exponent) = (number / 1000, exponent + 3);
        }
        match self.notation {
            Notation::Exponent if exponent == 0 => write!(f, "{number}"),
            Notation::Exponent => write!(f, "{number}e{exponent}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(text, _)| text);
                write!(f, "{number}{suffix}")
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let notation = if self.nanos == 0 { other.notation } else { self.notation };
        Self { nanos: self.nanos + other.nanos, notation }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let notation = if self.nanos == 0 { other.notation } else { self.notation };
        Self { nanos: self.nanos - other.nanos, notation }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(texts: &[&str], expected: Expect) {
        let lines: Vec<String> = texts
            .iter()
            .map(|text| match Quantity::parse(text) {
                Ok(quantity) => format!("{text} = {quantity} ({} units, {} m)", quantity.units(), quantity.millis()),
                Err(error) => format!("{text}: {error:?}"),
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn canonical_forms() {
        check(
            &[
                "0.5",
                "1000m",
                "1500m",
                "1000",
                "100",
                "1.5Gi",
                "1024Ki",
                "1023",
                "0Mi",
                "512",
                "2048",
                "1e3",
                "12E",
                "0.1n",
                "-5m",
                "1500Mi",
                "100Ki",
                "123456789012345678901234567890",
                ".5",
                "5.",
            ],
            expect![[r#"
                0.5 = 500m (1 units, 500 m)
                1000m = 1 (1 units, 1000 m)
                1500m = 1500m (2 units, 1500 m)
                1000 = 1k (1000 units, 1000000 m)
                100 = 100 (100 units, 100000 m)
                1.5Gi = 1536Mi (1610612736 units, 1610612736000 m)
                1024Ki = 1Mi (1048576 units, 1048576000 m)
                1023 = 1023 (1023 units, 1023000 m)
                0Mi = 0 (0 units, 0 m)
                512 = 512 (512 units, 512000 m)
                2048 = 2048 (2048 units, 2048000 m)
                1e3 = 1e3 (1000 units, 1000000 m)
                12E = 9223372036854775807 (9223372036854775807 units, 9223372036854775807 m)
                0.1n = 1n (1 units, 1 m)
                -5m = -5m (0 units, -5 m)
                1500Mi = 1500Mi (1572864000 units, 1572864000000 m)
                100Ki = 100Ki (102400 units, 102400000 m)
                123456789012345678901234567890 = 9223372036854775807 (9223372036854775807 units, 9223372036854775807 m)
                .5 = 500m (1 units, 500 m)
                5. = 5 (5 units, 5000 m)"#]],
        );
    }

    #[test]
    fn what_is_no_quantity() {
        check(
            &["", "abc", "1.2.3", "1Kb", "1Gii", "1 Gi", "."],
            expect![[r#"
                : Format
                abc: Format
                1.2.3: Number
                1Kb: Format
                1Gii: Suffix
                1 Gi: Format
                .: Number"#]],
        );
    }
}
