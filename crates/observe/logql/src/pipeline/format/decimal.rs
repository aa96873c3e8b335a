//! Decimal arithmetic, so that 0.1 and 0.2 are 0.3.

/// Digits after the point that a division gives.
const DIVISION_DIGITS: u32 = 16;

/// A number as `mantissa / 10^scale`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    fn of(number: f64) -> Option<Self> {
        let text = number.is_finite().then(|| format!("{number}"))?;
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { mantissa, scale: u32::try_from(fraction.len()).ok()? })
    }

    fn with_scale(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    fn number(self) -> Option<f64> {
        format!("{}e-{}", self.mantissa, self.scale).parse().ok()
    }
}

/// `op` is one of `+ - * /`. What does not fit is computed as floats are.
pub(super) fn calculate(op: char, left: f64, right: f64) -> f64 {
    exact(op, left, right).unwrap_or_else(|| match op {
        '+' => left + right,
        '-' => left - right,
        '*' => left * right,
        _ => left / right,
    })
}

fn exact(op: char, left: f64, right: f64) -> Option<f64> {
    let (left, right) = (Decimal::of(left)?, Decimal::of(right)?);
    let scale = left.scale.max(right.scale);
    let result = match op {
        '+' => Decimal { mantissa: left.with_scale(scale)?.checked_add(right.with_scale(scale)?)?, scale },
        '-' => Decimal { mantissa: left.with_scale(scale)?.checked_sub(right.with_scale(scale)?)?, scale },
        '*' => Decimal { mantissa: left.mantissa.checked_mul(right.mantissa)?, scale: left.scale + right.scale },
        _ => {
            let (above, below) = (left.with_scale(scale)?, right.with_scale(scale)?);
            let shifted = above.checked_mul(10_i128.pow(DIVISION_DIGITS))?;
            let (quotient, rest) = (shifted.checked_div(below)?, shifted.checked_rem(below)?);
            let up = rest.unsigned_abs() * 2 >= below.unsigned_abs();
            let sign = if (shifted < 0) == (below < 0) { 1 } else { -1 };
            Decimal { mantissa: if up { quotient + sign } else { quotient }, scale: DIVISION_DIGITS }
        }
    };
    result.number()
}
