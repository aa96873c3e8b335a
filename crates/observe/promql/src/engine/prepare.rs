//! An expression made ready for one evaluation: what depends only on the query's times is computed, what does not
//! change from step to step is marked.

use super::QueryError;
use crate::parser::ast::{At, BinaryOp, DurationExpr, Expr, Length, Number, Offset, Span, VectorSelector};

/// Functions whose answer changes with the time of the step even if their arguments do not.
const TIME_DEPENDENT: [&str; 14] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
];

pub(super) fn prepare(mut expr: Expr, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Expr, QueryError> {
    let times = Times { start_ms, end_ms, step_ms, in_param: false };
    times.resolve(&mut expr)?;
    let (_, wrap) = mark(&mut expr);
    Ok(if wrap { Expr::StepInvariant(Box::new(expr)) } else { expr })
}

#[derive(Clone, Copy)]
struct Times {
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    /// Inside the parameter of an aggregation, where Prometheus does not look for `@ start()` and `@ end()`.
    in_param: bool,
}

impl Times {
    fn range_seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }

    /// Puts numbers in place of `start()`, `step()` and the like, and of duration expressions.
    fn resolve(&self, expr: &mut Expr) -> Result<(), QueryError> {
        if let Expr::Call(call) = expr {
            let value = match call.function.name {
                "start" => Some(self.start_ms as f64 / 1000.0),
                "end" => Some(self.end_ms as f64 / 1000.0),
                "range" => Some(self.range_seconds()),
                "step" if self.start_ms == self.end_ms => Some(0.0),
                "step" => Some(self.step_ms as f64 / 1000.0),
                _ => None,
            };
            if let Some(value) = value {
                *expr = Expr::Number(Number { value, duration: false, span: call.span });
                return Ok(());
            }
        }
        match expr {
            Expr::Aggregate(aggregate) => {
                self.resolve(&mut aggregate.expr)?;
                let inside = Self { in_param: true, ..*self };
                aggregate.param.as_mut().map_or(Ok(()), |param| inside.resolve(param))
            }
            Expr::Binary(binary) => {
                self.resolve(&mut binary.lhs)?;
                self.resolve(&mut binary.rhs)
            }
            Expr::Call(call) => call.args.iter_mut().try_for_each(|arg| self.resolve(arg)),
            Expr::Matrix(matrix) => {
                self.length(&mut matrix.range)?;
                self.selector(&mut matrix.selector)
            }
            Expr::Paren(paren) => self.resolve(&mut paren.expr),
            Expr::Subquery(subquery) => {
                self.offset(&mut subquery.offset)?;
                subquery.step.as_mut().map_or(Ok(()), |step| self.length(step))?;
                self.length(&mut subquery.range)?;
                subquery.at = subquery.at.and_then(|at| self.moment(at));
                self.resolve(&mut subquery.expr)
            }
            Expr::Unary(unary) => self.resolve(&mut unary.expr),
            Expr::Vector(selector) => self.selector(selector),
            Expr::Number(_) | Expr::String(_) | Expr::StepInvariant(_) => Ok(()),
        }
    }

    fn selector(&self, selector: &mut VectorSelector) -> Result<(), QueryError> {
        self.offset(&mut selector.offset)?;
        selector.at = selector.at.and_then(|at| self.moment(at));
        Ok(())
    }

    fn moment(&self, at: At) -> Option<At> {
        match at {
            At::TimeMs(ms) => Some(At::TimeMs(ms)),
            At::Start | At::End if self.in_param => None,
            At::Start => Some(At::TimeMs(self.start_ms)),
            At::End => Some(At::TimeMs(self.end_ms)),
        }
    }

    fn length(&self, length: &mut Length) -> Result<(), QueryError> {
        if let Length::Computed(expr) = length {
            *length = Length::Ns(self.nanoseconds(expr, false)?);
        }
        Ok(())
    }

    fn offset(&self, offset: &mut Offset) -> Result<(), QueryError> {
        if let Offset::Computed(expr) = offset {
            *offset = Offset::Ns(self.nanoseconds(expr, true)?);
        }
        Ok(())
    }

    fn nanoseconds(&self, expr: &DurationExpr, may_be_negative: bool) -> Result<i64, QueryError> {
        let seconds = self.seconds(expr)?;
        if !seconds.is_finite() {
            return Err(invalid(expr.span(), "duration is NaN or infinite"));
        }
        if seconds <= 0.0 && !may_be_negative {
            return Err(invalid(expr.span(), "duration must be greater than 0"));
        }
        if seconds.abs() > i64::MAX as f64 / 1e9 {
            return Err(invalid(expr.span(), "duration is out of range"));
        }
        // Whole milliseconds, cut off, not rounded.
        Ok((seconds * 1000.0) as i64 * 1_000_000)
    }

    fn seconds(&self, expr: &DurationExpr) -> Result<f64, QueryError> {
        Ok(match expr {
            DurationExpr::Literal(number) => number.value,
            DurationExpr::Step(_) => self.step_ms as f64 / 1000.0,
            DurationExpr::Range(_) => self.range_seconds(),
            DurationExpr::Extreme { most, lhs, rhs, .. } => {
                let (lhs, rhs) = (self.seconds(lhs)?, self.seconds(rhs)?);
                if *most { go_max(lhs, rhs) } else { go_min(lhs, rhs) }
            }
            DurationExpr::Negated { expr, .. } => -self.seconds(expr)?,
            DurationExpr::Wrapped(inner) => self.seconds(inner)?,
            DurationExpr::Binary { op, lhs, rhs } => {
                let (lhs, rhs) = (self.seconds(lhs)?, self.seconds(rhs)?);
                match op {
                    BinaryOp::Div if rhs == 0.0 => return Err(invalid(expr.span(), "division by zero")),
                    BinaryOp::Mod if rhs == 0.0 => return Err(invalid(expr.span(), "modulo by zero")),
                    BinaryOp::Add => lhs + rhs,
                    BinaryOp::Sub => lhs - rhs,
                    BinaryOp::Mul => lhs * rhs,
                    BinaryOp::Div => lhs / rhs,
                    BinaryOp::Mod => lhs % rhs,
                    _ => lhs.powf(rhs),
                }
            }
        })
    }
}

fn invalid(span: Span, message: &str) -> QueryError {
    QueryError::Invalid(format!("{}:{}: {message}", span.start, span.end))
}

/// As Go's `math.Max`: +Inf wins, then NaN.
pub(super) fn go_max(one: f64, other: f64) -> f64 {
    if one == f64::INFINITY || other == f64::INFINITY {
        return f64::INFINITY;
    }
    if one.is_nan() || other.is_nan() { f64::NAN } else { one.max(other) }
}

/// As Go's `math.Min`: -Inf wins, then NaN.
pub(super) fn go_min(one: f64, other: f64) -> f64 {
    if one == f64::NEG_INFINITY || other == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if one.is_nan() || other.is_nan() { f64::NAN } else { one.min(other) }
}

/// Whether the expression is the same at every step, and whether it then wants to be wrapped. Parts are wrapped on the
/// way; parentheses around arguments go.
fn mark(expr: &mut Expr) -> (bool, bool) {
    match expr {
        Expr::Vector(selector) => (selector.at.is_some(), selector.at.is_some()),
        Expr::Matrix(matrix) => (matrix.selector.at.is_some(), false),
        Expr::Aggregate(aggregate) => {
            unwrap_parens(&mut aggregate.expr);
            if let Some(param) = &mut aggregate.param {
                unwrap_parens(param);
            }
            mark(&mut aggregate.expr)
        }
        Expr::Binary(binary) => {
            let (left, wrap_left) = mark(&mut binary.lhs);
            let (right, wrap_right) = mark(&mut binary.rhs);
            if left && right {
                return (true, true);
            }
            wrap_if(&mut binary.lhs, wrap_left);
            wrap_if(&mut binary.rhs, wrap_right);
            (false, false)
        }
        Expr::Call(call) => {
            let is_timestamp = call.function.name == "timestamp";
            let mut invariant = !TIME_DEPENDENT.contains(&call.function.name) && !is_timestamp;
            let mut timestamp_of_fixed = is_timestamp;
            let mut wraps = Vec::with_capacity(call.args.len());
            for arg in &mut call.args {
                unwrap_parens(arg);
                let (is_invariant, wrap) = mark(arg);
                invariant &= is_invariant;
                timestamp_of_fixed &= is_invariant && matches!(arg, Expr::Vector(_));
                wraps.push(wrap);
            }
            if invariant || timestamp_of_fixed {
                return (true, true);
            }
            for (arg, wrap) in call.args.iter_mut().zip(wraps) {
                wrap_if(arg, wrap);
            }
            (false, false)
        }
        Expr::Subquery(subquery) => {
            let (invariant, _) = mark(&mut subquery.expr);
            wrap_if(&mut subquery.expr, invariant);
            (subquery.at.is_some(), subquery.at.is_some())
        }
        Expr::Paren(paren) => mark(&mut paren.expr),
        Expr::Unary(unary) => mark(&mut unary.expr),
        Expr::String(_) | Expr::Number(_) => (true, false),
        Expr::StepInvariant(_) => (true, false),
    }
}

fn placeholder() -> Expr {
    Expr::Number(Number { value: 0.0, duration: false, span: Span::default() })
}

fn wrap_if(expr: &mut Expr, wrap: bool) {
    if wrap {
        let inner = std::mem::replace(expr, placeholder());
        *expr = Expr::StepInvariant(Box::new(inner));
    }
}

fn unwrap_parens(expr: &mut Expr) {
    while let Expr::Paren(paren) = expr {
        let inner = std::mem::replace(&mut paren.expr, placeholder());
        *expr = inner;
    }
}
