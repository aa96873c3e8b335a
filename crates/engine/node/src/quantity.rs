//! Kubernetes quantities (`250m`, `1Gi`, `1e3`) as numbers. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a list of resources holds.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A quantity in thousandths, rounded up as Kubernetes rounds.
pub fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let (numerator, denominator) = scale(suffix)?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(denominator)?;
    let scaled = digits.checked_mul(numerator)?.checked_mul(1000)?;
    let value = (scaled + divisor - 1).div_euclid(divisor);
    Some(if negative { -value } else { value })
}

/// A suffix as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => Some((1000, 1)),
        "M" => Some((1_000_000, 1)),
        "G" => Some((1_000_000_000, 1)),
        "T" => Some((1_000_000_000_000, 1)),
        "P" => Some((1_000_000_000_000_000, 1)),
        "E" => Some((1_000_000_000_000_000_000, 1)),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let value = 10i128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, value) } else { (value, 1) })
        }
    }
}

/// A quantity in whole units, rounded up.
pub fn whole(text: &str) -> Option<i128> {
    milli(text).map(|milli| (milli + 999).div_euclid(1000))
}

/// Thousandths of the named resource.
pub fn milli_of(list: Option<&ResourceList>, name: &str) -> Option<u64> {
    list?.get(name).and_then(|quantity| milli(&quantity.0)).and_then(|value| u64::try_from(value).ok())
}

/// Whole units of the named resource.
pub fn whole_of(list: Option<&ResourceList>, name: &str) -> Option<u64> {
    list?.get(name).and_then(|quantity| whole(&quantity.0)).and_then(|value| u64::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{milli, whole};

    fn check(texts: &str, expected: Expect) {
        let shown: Vec<_> =
            texts.split_whitespace().map(|text| format!("{text} = {:?} = {:?}", milli(text), whole(text))).collect();
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn quantities() {
        check(
            "250m 1 0.5 1.5Gi 128Mi 1e3 1E2 5e-1 1n 100k -1 abc 1Zi .",
            expect![[r#"
                250m = Some(250) = Some(1)
                1 = Some(1000) = Some(1)
                0.5 = Some(500) = Some(1)
                1.5Gi = Some(1610612736000) = Some(1610612736)
                128Mi = Some(134217728000) = Some(134217728)
                1e3 = Some(1000000) = Some(1000)
                1E2 = Some(100000) = Some(100)
                5e-1 = Some(500) = Some(1)
                1n = Some(1) = Some(1)
                100k = Some(100000000) = Some(100000)
                -1 = Some(-1000) = Some(-1)
                abc = None = None
                1Zi = None = None
                . = None = None"#]],
        );
    }
}
