//! Kubernetes quantities as whole thousandths: what requests are added up and compared in.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths, rounded up; nothing where it cannot be read. `100m` is 100, `1Ki` is 1,024,000.
pub(crate) fn milli(quantity: &Quantity) -> i128 {
    parse(&quantity.0).unwrap_or(0)
}

fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = scale(suffix)?;
    let denominator = denominator.checked_mul(10i128.checked_pow(fraction.len().try_into().ok()?)?)?;
    let scaled = mantissa.checked_mul(numerator)?.checked_mul(1000)?;
    let rounded_up = scaled / denominator + i128::from(scaled % denominator != 0);
    Some(if negative { -rounded_up } else { rounded_up })
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |power: u32| Some((10i128.pow(power), 1));
    let binary = |power: u32| Some((1024i128.pow(power), 1));
    match suffix {
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => Some((1, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let of_ten = 10i128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, of_ten) } else { (of_ten, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let read = |text: &str| milli(&Quantity(text.to_owned()));
        assert_eq!(read("100m"), 100);
        assert_eq!(read("0.1"), 100);
        assert_eq!(read("2"), 2000);
        assert_eq!(read("1.5Gi"), 1536 * 1024 * 1024 * 1000);
        assert_eq!(read("1e3"), 1_000_000);
        assert_eq!(read("12E"), 12_000_000_000_000_000_000_000);
        assert_eq!(read("1u"), 1, "rounded up");
        assert_eq!(read("-5"), -5000);
        assert_eq!(read("much"), 0);
        assert_eq!(read(""), 0);
        assert_eq!(read("99999999999999999999999999999999999999999999E"), 0);
    }
}
