//! What operators do to two numbers.

use crate::syntax::BinaryOp;

/// The value of an arithmetic operator. Division by zero is no number.
pub(crate) fn calculate(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div | BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        _ => f64::from(u8::from(compare(op, left, right))),
    }
}

/// Whether a comparison holds.
pub(crate) fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::Less => left < right,
        BinaryOp::LessOrEqual => left <= right,
        _ => false,
    }
}

/// An operator on two values of series; of a comparison that filters, the value of `kept` where it holds.
pub(super) fn merge(op: BinaryOp, left: f64, right: f64, return_bool: bool, kept: f64) -> Option<f64> {
    if !op.is_comparison() {
        return Some(calculate(op, left, right));
    }
    match (compare(op, left, right), return_bool) {
        (holds, true) => Some(f64::from(u8::from(holds))),
        (true, false) => Some(kept),
        (false, false) => None,
    }
}
