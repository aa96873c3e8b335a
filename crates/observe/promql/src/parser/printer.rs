//! Expressions back to text, on one line (`Display`) and laid out over several (`prettify`).

use std::fmt::{self, Display, Formatter};

use super::ast::{
    Aggregate, At, Binary, Call, Cardinality, DurationExpr, Expr, Length, MatrixSelector, Number, Offset, Subquery,
    Text, VectorSelector,
};
use crate::{
    labels::{METRIC_NAME, is_plain_label_name},
    matcher::MatchOp,
    number::{duration_text, plain_float, short_float},
    quote::{quote, quote_bytes},
};

/// Longer expressions are laid out over several lines.
const MAX_LINE: usize = 100;

fn label_list(labels: &[String]) -> String {
    let written = labels.iter().map(|label| if is_plain_label_name(label) { label.clone() } else { quote(label) });
    written.collect::<Vec<_>>().join(", ")
}

fn ns_text(ns: i64) -> String {
    let ms = ns / 1_000_000;
    if ms < 0 { format!("-{}", duration_text(-ms)) } else { duration_text(ms) }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Aggregate(aggregate) => {
                write!(f, "{}(", aggregate.head())?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Expr::Binary(binary) => write!(f, "{} {} {}", binary.lhs, binary.head(), binary.rhs),
            Expr::Call(call) => {
                let args = call.args.iter().map(Expr::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "{}({args})", call.function.name)
            }
            Expr::Matrix(matrix) => matrix.fmt(f),
            Expr::Number(number) => number.fmt(f),
            Expr::Paren(paren) => write!(f, "({})", paren.expr),
            Expr::String(text) => f.write_str(&text.quoted()),
            Expr::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery.suffix()),
            Expr::Unary(unary) => write!(f, "{}{}", if unary.negative { '-' } else { '+' }, unary.expr),
            Expr::Vector(selector) => selector.fmt(f),
            Expr::StepInvariant(inner) => inner.fmt(f),
        }
    }
}

impl Text {
    fn quoted(&self) -> String {
        self.invalid_utf8.as_ref().map_or_else(|| quote(&self.value), |bytes| quote_bytes(bytes))
    }
}

impl Aggregate {
    fn head(&self) -> String {
        let labels = label_list(&self.grouping);
        match self.without {
            true => format!("{} without ({labels}) ", self.op.name()),
            false if !self.grouping.is_empty() => format!("{} by ({labels}) ", self.op.name()),
            false => self.op.name().to_owned(),
        }
    }
}

impl Binary {
    fn head(&self) -> String {
        let mut text = self.op.name().to_owned();
        if self.return_bool {
            text.push_str(" bool");
        }
        let Some(matching) = &self.matching else { return text };
        let side = match matching.cardinality {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            _ => None,
        };
        if !matching.labels.is_empty() || matching.on || side.is_some() {
            let word = if matching.on { "on" } else { "ignoring" };
            text.push_str(&format!(" {word} ({})", label_list(&matching.labels)));
        }
        if let Some(side) = side {
            text.push_str(&format!(" group_{side} ({})", label_list(&matching.include)));
        }
        match (matching.fill_left, matching.fill_right) {
            (Some(left), Some(right)) if left == right => text.push_str(&format!(" fill ({})", short_float(left))),
            (left, right) => {
                for (word, value) in [("fill_left", left), ("fill_right", right)] {
                    if let Some(value) = value {
                        text.push_str(&format!(" {word} ({})", short_float(value)));
                    }
                }
            }
        }
        text
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.duration {
            return f.write_str(&plain_float(self.value));
        }
        f.write_str(&ns_text((self.value * 1e9) as i64))
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Literal(number) => number.fmt(f),
            DurationExpr::Step(_) => f.write_str("step()"),
            DurationExpr::Range(_) => f.write_str("range()"),
            DurationExpr::Extreme { most, lhs, rhs, .. } => {
                write!(f, "{}({lhs}, {rhs})", if *most { "max_of" } else { "min_of" })
            }
            DurationExpr::Negated { expr, .. } => write!(f, "-{expr}"),
            DurationExpr::Binary { op, lhs, rhs } => write!(f, "{lhs} {} {rhs}", op.name()),
            DurationExpr::Wrapped(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Length::Ns(ns) => f.write_str(&ns_text(*ns)),
            Length::Computed(expr) => expr.fmt(f),
        }
    }
}

impl Display for Offset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Offset::None | Offset::Ns(0) => Ok(()),
            Offset::Ns(ns) => write!(f, " offset {}", ns_text(*ns)),
            Offset::Computed(expr) => write!(f, " offset {expr}"),
        }
    }
}

struct Moment(Option<At>);

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(At::TimeMs(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }
}

impl VectorSelector {
    fn bare(&self) -> String {
        let is_name = |matcher: &&crate::matcher::Matcher| {
            &*matcher.name == METRIC_NAME
                && matcher.op == MatchOp::Equal
                && *matcher.value == *self.name
                && !matcher.value.is_empty()
        };
        let mut matchers: Vec<String> =
            self.matchers.iter().filter(|matcher| !is_name(matcher)).map(|matcher| matcher.to_string()).collect();
        if matchers.is_empty() {
            return self.name.clone();
        }
        matchers.sort();
        format!("{}{{{}}}", self.name, matchers.join(","))
    }

    fn extended(&self) -> &'static str {
        match (self.anchored, self.smoothed) {
            (true, _) => " anchored",
            (_, true) => " smoothed",
            _ => "",
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}{}", self.bare(), Moment(self.at), self.extended(), self.offset)
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let selector = &self.selector;
        let (bare, extended) = (selector.bare(), selector.extended());
        write!(f, "{bare}[{}]{extended}{}{}", self.range, Moment(selector.at), selector.offset)
    }
}

impl Subquery {
    fn suffix(&self) -> String {
        let step = self.step.as_ref().map(Length::to_string).unwrap_or_default();
        format!("[{}:{step}]{}{}", self.range, Moment(self.at), self.offset)
    }
}

/// Laid out over several lines when it is long.
pub fn prettify(expr: &Expr) -> String {
    pretty(expr, 0)
}

fn pretty(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    let fits = line.len() <= MAX_LINE;
    match expr {
        Expr::Subquery(_) if fits => line,
        Expr::Subquery(subquery) => format!("{}{}", pretty(&subquery.expr, level), subquery.suffix()),
        Expr::Unary(unary) => {
            let inner = pretty(&unary.expr, level);
            format!("{indent}{}{}", if unary.negative { '-' } else { '+' }, inner.trim())
        }
        Expr::StepInvariant(inner) => pretty(inner, level),
        _ if fits => format!("{indent}{line}"),
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref().map(|param| format!("{},\n", pretty(param, level + 1)));
            let inner = pretty(&aggregate.expr, level + 1);
            format!("{indent}{}(\n{}{inner}\n{indent})", aggregate.head(), param.unwrap_or_default())
        }
        Expr::Binary(binary) => {
            let (lhs, rhs) = (pretty(&binary.lhs, level + 1), pretty(&binary.rhs, level + 1));
            format!("{lhs}\n{indent}{}\n{rhs}", binary.head())
        }
        Expr::Call(Call { function, args, .. }) => {
            let args = args.iter().map(|arg| pretty(arg, level + 1)).collect::<Vec<_>>().join(",\n");
            format!("{indent}{}(\n{args}\n{indent})", function.name)
        }
        Expr::Paren(paren) => format!("{indent}(\n{}\n{indent})", pretty(&paren.expr, level + 1)),
        _ => format!("{indent}{line}"),
    }
}
