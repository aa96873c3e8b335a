//! Sums that keep what rounding loses (Kahan's, with Neumaier's improvement).

/// Adds to a sum and to what it has lost so far.
#[inline]
pub fn add(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    if total.is_infinite() {
        return (total, 0.0);
    }
    let lost = if sum.abs() >= value.abs() { lost + ((sum - total) + value) } else { lost + ((value - total) + sum) };
    (total, lost)
}

/// A running sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    pub sum: f64,
    pub lost: f64,
}

impl Sum {
    #[inline]
    pub fn add(&mut self, value: f64) {
        (self.sum, self.lost) = add(value, self.sum, self.lost);
    }

    /// An infinite sum has lost nothing worth adding.
    #[inline]
    pub fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}
