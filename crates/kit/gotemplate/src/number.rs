//! How Go writes floating-point numbers.

use std::fmt::Write as _;

/// `%v`, which is `strconv.FormatFloat(value, 'g', -1, 64)`: shortest digits, an exponent below -4 or from 6 on.
pub fn format_float(value: f64) -> String {
    format_shortest(value, 6)
}

/// The shortest digits that read back as `value`, with an exponent below -4 or from `threshold` on.
pub fn format_shortest(value: f64, threshold: i32) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (negative, digits, exponent) = shortest(value);
    let mut out = String::new();
    if negative {
        out.push('-');
    }
    if exponent < -4 || exponent >= threshold {
        write_exponent(&mut out, &digits, exponent);
    } else {
        write_plain(&mut out, &digits, exponent);
    }
    out
}

/// Go's names for what is not a number of digits.
pub fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Sign, shortest digits, and the decimal exponent of the first digit.
pub fn shortest(value: f64) -> (bool, String, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let negative = mantissa.starts_with('-');
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (negative, digits, exponent.parse().unwrap_or(0))
}

fn write_exponent(out: &mut String, digits: &str, exponent: i32) {
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
}

fn write_plain(out: &mut String, digits: &str, exponent: i32) {
    if exponent < 0 {
        out.push_str("0.");
        (1..exponent.unsigned_abs()).for_each(|_| out.push('0'));
        out.push_str(digits);
        return;
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    if digits.len() <= whole {
        out.push_str(digits);
        (digits.len()..whole).for_each(|_| out.push('0'));
    } else {
        out.push_str(&digits[..whole]);
        out.push('.');
        out.push_str(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::format_float;

    #[test]
    fn floats_look_as_gos() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1234567.0, "1.234567e+06"),
            (100000.0, "100000"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123.456, "123.456"),
        ];
        for (value, text) in cases {
            assert_eq!(format_float(value), text, "{value}");
        }
    }
}
