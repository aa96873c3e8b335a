//! Whether the types fit, in the order and the words of Prometheus.

use std::sync::Arc;

use super::{
    ParseError,
    ast::{Aggregator, Binary, Call, Cardinality, Expr, Span, ValueType, VectorSelector},
};
use crate::{labels::METRIC_NAME, quote::quote};

type Checked = Result<(), ParseError>;

/// The first thing that does not fit. Matching is taken away where a side is a scalar.
pub(super) fn check(expr: &mut Expr, query: &str) -> Checked {
    Checker { query }.expr(expr).map(|_| ())
}

struct Checker<'a> {
    query: &'a str,
}

impl Checker<'_> {
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { span, message: message.into(), query: Arc::from(self.query) })
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, place: &str) -> Checked {
        let found = self.expr(expr)?;
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.documented(), found.documented());
        self.fail(expr.span(), format!("expected type {wanted} in {place}, got {found}"))
    }

    fn expr(&self, expr: &mut Expr) -> Result<ValueType, ParseError> {
        let span = expr.span();
        match expr {
            Expr::Aggregate(aggregate) => {
                self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
                if let Some(param) = &mut aggregate.param {
                    let wanted = match aggregate.op {
                        Aggregator::CountValues => ValueType::String,
                        _ => ValueType::Scalar,
                    };
                    self.expect(param, wanted, "aggregation parameter")?;
                }
            }
            Expr::Binary(binary) => self.binary(binary, span)?,
            Expr::Call(call) => self.call(call)?,
            Expr::Paren(paren) => {
                self.expr(&mut paren.expr)?;
            }
            Expr::Unary(unary) => {
                let found = self.expr(&mut unary.expr)?;
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    let allowed = "unary expression only allowed on expressions of type scalar or instant vector";
                    return self.fail(span, format!("{allowed}, got {}", quote(found.documented())));
                }
            }
            Expr::Subquery(subquery) => {
                let found = self.expr(&mut subquery.expr)?;
                if found != ValueType::Vector {
                    let found = found.name();
                    return self.fail(span, format!("subquery is only allowed on instant vector, got {found} instead"));
                }
            }
            Expr::Matrix(matrix) => self.selector(&matrix.selector)?,
            Expr::Vector(selector) => self.selector(selector)?,
            Expr::Number(_) | Expr::String(_) | Expr::StepInvariant(_) => {}
        }
        Ok(expr.value_type())
    }

    fn selector(&self, selector: &VectorSelector) -> Checked {
        let name = &selector.name;
        if !name.is_empty() {
            let written = &selector.matchers[..selector.matchers.len() - 1];
            return match written.iter().find(|matcher| &*matcher.name == METRIC_NAME) {
                Some(twice) => {
                    let (first, second) = (quote(name), quote(&twice.value));
                    self.fail(selector.span, format!("metric name must not be set twice: {first} or {second}"))
                }
                None => Ok(()),
            };
        }
        if !selector.may_be_empty && selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            return self.fail(selector.span, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }

    /// Where the operator stands, with its modifiers.
    fn operator_span(&self, binary: &Binary) -> Span {
        let (start, end) = (binary.lhs.span().end, binary.rhs.span().start);
        let text = self.query.get(start..end).unwrap_or_default();
        Span { start: start + (text.len() - text.trim_start().len()), end: start + text.trim_end().len() }
    }

    fn binary(&self, binary: &mut Binary, span: Span) -> Checked {
        let left = self.expr(&mut binary.lhs)?;
        let right = self.expr(&mut binary.rhs)?;
        let op = binary.op;
        let scalars = (left == ValueType::Scalar, right == ValueType::Scalar);
        if binary.return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return self.fail(self.operator_span(binary), message);
        }
        if op.is_comparison() && !binary.return_bool && scalars == (true, true) {
            return self.fail(self.operator_span(binary), "comparisons between scalars must use BOOL modifier");
        }
        if let Some(matching) = &mut binary.matching {
            if op.is_set() && matching.cardinality == Cardinality::OneToOne {
                matching.cardinality = Cardinality::ManyToMany;
            }
            let twice = matching.labels.iter().find(|label| matching.on && matching.include.contains(label)).cloned();
            if let Some(label) = twice {
                let message = format!("label {} must not occur in ON and GROUP clause at once", quote(&label));
                return self.fail(self.operator_span(binary), message);
            }
        }
        for (side, found) in [(&binary.lhs, left), (&binary.rhs, right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fail(side.span(), message);
            }
        }
        self.matching(binary, span, scalars)?;
        if scalars != (false, false) && op.is_set() {
            return self
                .fail(span, format!("set operator {} not allowed in binary scalar expression", quote(op.name())));
        }
        Ok(())
    }

    fn matching(&self, binary: &mut Binary, span: Span, scalars: (bool, bool)) -> Checked {
        let Some(matching) = &binary.matching else { return Ok(()) };
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if scalars != (false, false) {
            if !matching.labels.is_empty() {
                return self.fail(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                return self.fail(span, "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
            return Ok(());
        }
        if !binary.op.is_set() {
            return Ok(());
        }
        match matching.cardinality {
            Cardinality::OneToMany | Cardinality::ManyToOne => {
                self.fail(span, format!("no grouping allowed for {} operation", quote(binary.op.name())))
            }
            _ if fills => self.fail(span, "filling in missing series not allowed for set operators"),
            _ => Ok(()),
        }
    }

    fn call(&self, call: &mut Call) -> Checked {
        let function = call.function;
        let name = quote(function.name);
        let (wanted, given) = (function.args.len(), call.args.len());
        let span = call.span;
        if function.variadic == 0 {
            if wanted != given {
                return self.fail(span, format!("expected {wanted} argument(s) in call to {name}, got {given}"));
            }
        } else {
            let least = wanted - 1;
            if least > given {
                return self
                    .fail(span, format!("expected at least {least} argument(s) in call to {name}, got {given}"));
            }
            let most = least + usize::try_from(function.variadic).unwrap_or(usize::MAX - least);
            if given > most {
                return self.fail(span, format!("expected at most {most} argument(s) in call to {name}, got {given}"));
            }
        }
        if function.name == "info" && given > 1 {
            self.info_selector(&mut call.args[1], span)?;
        }
        for (index, arg) in call.args.iter_mut().enumerate() {
            let wanted = function.args[index.min(function.args.len() - 1)];
            self.expect(arg, wanted, &format!("call to function {name}"))?;
        }
        Ok(())
    }

    fn info_selector(&self, arg: &mut Expr, call: Span) -> Checked {
        let found = arg.value_type();
        if found != ValueType::Vector {
            let (wanted, found) = (ValueType::Vector.documented(), found.documented());
            return self.fail(call, format!("expected type {wanted} in call to function \"info\", got {found}"));
        }
        match arg {
            Expr::Vector(selector) if selector.name.is_empty() => {
                selector.may_be_empty = true;
                Ok(())
            }
            Expr::Vector(selector) => {
                self.fail(selector.span, "expected label selectors only, got vector selector instead")
            }
            other => self.fail(other.span(), "expected label selectors only"),
        }
    }
}
