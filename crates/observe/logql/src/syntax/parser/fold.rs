//! Numbers of the text, and operations on them that are done at once.

use crate::{eval::arithmetic, go, syntax::ast::BinaryOp};

pub(super) fn number(text: &str) -> Result<f64, String> {
    go::parse_float(text)
}

/// `1 + 1` is 2 before anything runs; a comparison of two numbers is 0 or 1.
pub(super) fn literals(op: BinaryOp, left: f64, right: f64) -> f64 {
    if op.is_comparison() {
        return f64::from(u8::from(arithmetic::compare(op, left, right)));
    }
    arithmetic::calculate(op, left, right)
}
