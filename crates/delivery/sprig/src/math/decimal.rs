//! Decimal fractions of any length, so that `0.1 + 0.2` is `0.3`.

use num_bigint::{BigInt, Sign};

/// Digits a quotient keeps behind the point.
const QUOTIENT_DIGITS: i32 = 16;

/// `digits` times ten to the power of `exponent`.
pub(super) struct Decimal {
    digits: BigInt,
    exponent: i32,
}

impl Decimal {
    /// The shortest decimal that reads back as `number`; none for infinities and not-a-number.
    pub(super) fn from_f64(number: f64) -> Option<Decimal> {
        if !number.is_finite() {
            return None;
        }
        let (negative, digits, exponent) = coracle_gotemplate::number::shortest(number);
        let scale = i32::try_from(digits.len()).ok()? - 1;
        let digits: BigInt = digits.parse().ok()?;
        Some(Decimal { digits: if negative { -digits } else { digits }, exponent: exponent - scale })
    }

    pub(super) fn to_f64(&self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or_default()
    }

    pub(super) fn add(&self, other: &Decimal) -> Decimal {
        self.aligned(other, |left, right| left + right)
    }

    pub(super) fn subtract(&self, other: &Decimal) -> Decimal {
        self.aligned(other, |left, right| left - right)
    }

    pub(super) fn multiply(&self, other: &Decimal) -> Decimal {
        Decimal { digits: &self.digits * &other.digits, exponent: self.exponent + other.exponent }
    }

    /// The quotient, its last digit rounded half away from zero; none for a division by zero.
    pub(super) fn divide(&self, other: &Decimal) -> Option<Decimal> {
        if other.digits.sign() == Sign::NoSign {
            return None;
        }
        let shift = self.exponent - other.exponent + QUOTIENT_DIGITS;
        let (mut above, mut below) = (self.digits.clone(), other.digits.clone());
        if shift >= 0 {
            above *= power_of_ten(shift);
        } else {
            below *= power_of_ten(-shift);
        }
        let mut quotient = &above / &below;
        let remainder = &above - &quotient * &below;
        if remainder.magnitude() * 2u8 >= *below.magnitude() {
            let same_sign = above.sign() == below.sign();
            quotient += if same_sign { 1 } else { -1 };
        }
        Some(Decimal { digits: quotient, exponent: -QUOTIENT_DIGITS })
    }

    fn aligned(&self, other: &Decimal, combine: impl Fn(BigInt, BigInt) -> BigInt) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        let scaled = |number: &Decimal| &number.digits * power_of_ten(number.exponent - exponent);
        Decimal { digits: combine(scaled(self), scaled(other)), exponent }
    }
}

fn power_of_ten(exponent: i32) -> BigInt {
    BigInt::from(10u8).pow(exponent.unsigned_abs())
}
