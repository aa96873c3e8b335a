//! Floating-point numbers under each verb.

use super::Printer;
use crate::{
    number::{self, special},
    value::Value,
};

impl Printer {
    pub(super) fn float(&mut self, number: f64, verb: char, value: &Value) {
        let precision = self.flags.precision;
        if let Some(name) = special(number) {
            return self.special(name, verb, value);
        }
        let magnitude = number.abs();
        let digits = match verb {
            'v' | 'g' => general(magnitude, precision),
            'G' => general(magnitude, precision).to_uppercase(),
            'e' => exponential(magnitude, precision.unwrap_or(6)),
            'E' => exponential(magnitude, precision.unwrap_or(6)).to_uppercase(),
            'f' | 'F' => format!("{magnitude:.*}", precision.unwrap_or(6)),
            'x' => hexadecimal(magnitude, precision),
            'X' => hexadecimal(magnitude, precision).to_uppercase(),
            'b' => binary(magnitude),
            _ => return self.bad_verb(verb, value),
        };
        let digits = if self.flags.sharp && verb != 'b' { with_point(&digits, verb, precision) } else { digits };
        self.signed(number.is_sign_negative(), &digits);
    }

    fn signed(&mut self, negative: bool, digits: &str) {
        let sign = match negative {
            true => "-",
            false if self.flags.plus => "+",
            false if self.flags.space => " ",
            false => "",
        };
        if self.flags.zero && !self.flags.minus {
            let width = self.flags.width.unwrap_or(0).saturating_sub(sign.len());
            self.out.extend_from_slice(sign.as_bytes());
            self.padding(width.saturating_sub(digits.len()));
            self.out.extend_from_slice(digits.as_bytes());
        } else {
            self.pad(format!("{sign}{digits}").as_bytes());
        }
    }

    fn special(&mut self, name: &str, verb: char, value: &Value) {
        if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
            return self.bad_verb(verb, value);
        }
        let bare = name.trim_start_matches('+');
        let text = match (bare.starts_with('-'), self.flags.plus, self.flags.space) {
            (true, _, _) => bare.to_owned(),
            (false, true, _) => format!("+{bare}"),
            (false, false, true) => format!(" {bare}"),
            (false, false, false) if bare == "NaN" => bare.to_owned(),
            (false, false, false) => format!("+{bare}"),
        };
        self.pad_with_spaces(text.as_bytes());
    }
}

/// `%e`: Go writes at least two digits of exponent, with a sign.
fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// `%g`: the shorter of the two forms, without trailing zeros.
fn general(value: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else { return number::format_float(value) };
    let precision = precision.max(1);
    let rounded = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let count = i32::try_from(digits.len().max(1)).unwrap_or(i32::MAX);
    let mut threshold = i32::try_from(precision).unwrap_or(i32::MAX);
    if threshold > count && count > exponent {
        threshold = count;
    }
    if exponent < -4 || exponent >= threshold {
        return exponential(value, (count - 1).unsigned_abs() as usize);
    }
    format!("{value:.*}", (count - 1 - exponent).max(0).unsigned_abs() as usize)
}

/// The `#` flag: a decimal point always, and `%g` keeps its zeros.
fn with_point(digits: &str, verb: char, precision: Option<usize>) -> String {
    let end = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (number, tail) = digits.split_at(end);
    let mut number = number.to_owned();
    let wanted = match verb {
        'v' | 'g' | 'G' => precision.unwrap_or(6),
        _ => 0,
    };
    let significant = number.chars().filter(char::is_ascii_digit).skip_while(|digit| *digit == '0').count();
    let significant = if number == "0" { 1 } else { significant };
    if !number.contains('.') {
        number.push('.');
    }
    (significant..wanted).for_each(|_| number.push('0'));
    number + tail
}

/// `%x`: `0x1.8p+01`.
fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    let (mantissa, mut exponent) = normalized(value);
    let mut digits = format!("{mantissa:013x}");
    let mut lead = u64::from(value != 0.0);
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(precision) if precision < 13 => {
            let shift = 4 * (13 - precision);
            let whole = (lead << 52) | mantissa;
            let half = 1u64 << (shift - 1);
            let rest = whole & ((1u64 << shift) - 1);
            let mut kept = whole >> shift;
            if rest > half || rest == half && kept & 1 == 1 {
                kept += 1;
            }
            lead = kept >> (4 * precision);
            if lead > 1 {
                // Rounding up carried into the leading digit, which is always one.
                lead = 1;
                exponent += 1;
            }
            digits = format!("{:0precision$x}", kept & ((1u64 << (4 * precision)) - 1));
            digits.truncate(precision);
        }
        Some(precision) => digits.extend(std::iter::repeat_n('0', precision - 13)),
    }
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{lead}{point}{digits}p{sign}{:02}", exponent.unsigned_abs())
}

/// `%b`: the mantissa as a whole number and its power of two.
fn binary(value: f64) -> String {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction | (1 << 52), exponent) };
    format!("{mantissa}p{:+}", exponent - 1075)
}

/// Fraction bits and exponent with the leading one made explicit, for numbers below the normal range too.
fn normalized(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    if value == 0.0 {
        return (0, 0);
    }
    if exponent != 0 {
        return (fraction, exponent - 1023);
    }
    let shift = fraction.leading_zeros() - 11;
    ((fraction << shift) & ((1 << 52) - 1), -1022 - i32::try_from(shift).unwrap_or(0))
}
