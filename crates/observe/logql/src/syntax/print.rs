//! Queries as text, in the form that Loki writes.

use std::fmt;

use super::ast::{
    Binary, Cardinality, Comparison, Conversion, Expr, Extraction, Grouping, LabelFilter, LabelFormat, LineFilter,
    LineMatch, LineOp, LogExpr, LogRange, MetricExpr, NamedMatcher, RangeAggregation, Stage, Unwrap, VectorAggregation,
    VectorOp,
};
use crate::{
    go,
    matcher::{MatchOp, Matcher},
};

/// Things with something between them.
pub(super) struct Joined<'a, T>(pub(super) &'a [T], pub(super) &'static str);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => log.fmt(f),
            Self::Metric(metric) => metric.fmt(f),
        }
    }
}

impl fmt::Display for LogExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", Joined(&self.matchers, ", "))?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(filters) => Joined(filters, " ").fmt(f),
            Self::Json => f.write_str("| json"),
            Self::JsonExpressions(expressions) => write!(f, "| json {}", Joined(expressions, ",")),
            Self::Logfmt { strict, keep_empty, expressions } => {
                f.write_str("| logfmt")?;
                for (set, flag) in [(strict, " --strict"), (keep_empty, " --keep-empty")] {
                    f.write_str(if *set { flag } else { "" })?;
                }
                if expressions.is_empty() { Ok(()) } else { write!(f, " {}", Joined(expressions, ",")) }
            }
            Self::Regexp(expression) => write!(f, "| regexp {}", go::quote(expression)),
            Self::Pattern(pattern) => write!(f, "| pattern {}", go::quote(pattern)),
            Self::Unpack => f.write_str("| unpack"),
            Self::Labels(filter) => write!(f, "| {filter}"),
            Self::LineFormat(template) => write!(f, "| line_format {}", go::quote(template)),
            Self::LabelFormat(formats) => write!(f, "| label_format {}", Joined(formats, ",")),
            Self::Decolorize => f.write_str("| decolorize"),
            Self::Drop(named) => write!(f, "| drop {}", Joined(named, ",")),
            Self::Keep(named) => write!(f, "| keep {}", Joined(named, ",")),
        }
    }
}

impl fmt::Display for Extraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.label, go::quote(&self.expression))
    }
}

impl fmt::Display for LineOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contains => "|=",
            Self::NotContains => "!=",
            Self::Regexp => "|~",
            Self::NotRegexp => "!~",
            Self::Pattern => "|>",
            Self::NotPattern => "!>",
        })
    }
}

impl fmt::Display for LineFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, Joined(&self.any, " or "))
    }
}

impl fmt::Display for LineMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&go::quote(text)),
            Self::Ip(pattern) => write!(f, "ip({})", go::quote(pattern)),
        }
    }
}

impl fmt::Display for LabelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rename { to, from } => write!(f, "{to}={from}"),
            Self::Template { label, template } => write!(f, "{label}={}", go::quote(template)),
        }
    }
}

impl fmt::Display for NamedMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Matcher(matcher) => matcher.fmt(f),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        })
    }
}

impl fmt::Display for LabelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matcher(matcher) => label_matcher(matcher, f),
            Self::Number(label, comparison, number) => write!(f, "{label}{comparison}{}", go::plain_float(*number)),
            Self::Duration(label, comparison, duration) => {
                write!(f, "{label}{comparison}{}", go::format_duration(*duration))
            }
            Self::Bytes(label, comparison, bytes) => write!(f, "{label}{comparison}{}", go::format_bytes(*bytes)),
            Self::Ip { label, negated, pattern } => {
                write!(f, "{label}{}ip({})", if *negated { "!=" } else { "=" }, go::quote(pattern))
            }
            Self::And(left, right) => write!(f, "( {left} , {right} )"),
            Self::Or(left, right) => write!(f, "( {left} or {right} )"),
        }
    }
}

/// Expressions that are more than literals stand in backticks.
fn label_matcher(matcher: &Matcher, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_regexp = matches!(matcher.op, MatchOp::Regexp | MatchOp::NotRegexp);
    let literal = matcher.value.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '|' | '.' | '*'));
    if is_regexp && !literal && !matcher.value.contains('`') {
        return write!(f, "{}{}`{}`", matcher.name, matcher.op, matcher.value);
    }
    write!(f, "{matcher}")
}

impl fmt::Display for MetricExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => range.fmt(f),
            Self::Vector(vector) => vector.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::Literal(value) => f.write_str(&go::shortest_float(*value)),
            Self::VectorLiteral(value) => write!(f, "vector({value:.6})"),
            Self::LabelReplace(replace) => {
                let how = &replace.how;
                let texts = [&how.destination, &how.replacement, &how.source, &how.regex].map(|text| go::quote(text));
                write!(f, "label_replace({},{})", replace.of, Joined(&texts, ","))
            }
        }
    }
}

impl fmt::Display for RangeAggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op.name())?;
        if let Some(parameter) = self.parameter {
            write!(f, "{},", go::plain_float(parameter))?;
        }
        write!(f, "{})", self.range)?;
        self.grouping.as_ref().map_or(Ok(()), |grouping| grouping.fmt(f))
    }
}

impl fmt::Display for LogRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.selector)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {unwrap}")?;
        }
        write!(f, "[{}]", go::format_prometheus_duration(self.interval_ns))?;
        match self.offset_ns {
            0 => Ok(()),
            offset => write!(f, " offset {}", go::format_duration(offset)),
        }
    }
}

impl fmt::Display for Unwrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conversion = self.conversion.map(|conversion| match conversion {
            Conversion::Bytes => "bytes",
            Conversion::Duration => "duration",
            Conversion::DurationSeconds => "duration_seconds",
        });
        match conversion {
            Some(conversion) => write!(f, "| unwrap {conversion}({})", self.label)?,
            None => write!(f, "| unwrap {}", self.label)?,
        }
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} ({})", if self.without { "without" } else { "by" }, self.labels.join(","))
    }
}

impl fmt::Display for VectorAggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        if !self.grouping.is_singleton() {
            self.grouping.fmt(f)?;
        }
        match self.op {
            VectorOp::BottomK | VectorOp::TopK | VectorOp::ApproxTopK => write!(f, "({},{})", self.parameter, self.of),
            _ => write!(f, "({})", self.of),
        }
    }
}

impl Binary {
    /// The operator with what modifies it.
    pub(super) fn operator(&self) -> String {
        let mut text = self.op.name().to_owned();
        if self.return_bool {
            text += " bool";
        }
        let mut group = match self.matching.card {
            Cardinality::OneToOne => String::new(),
            Cardinality::ManyToOne => "group_left".to_owned(),
            Cardinality::OneToMany => "group_right".to_owned(),
        };
        if let Some(include) = &self.matching.include {
            group += &format!(" ({})", include.join(","));
        }
        if self.matching.on || self.matching.labels.is_some() {
            let on = if self.matching.on { "on" } else { "ignoring" };
            let labels = self.matching.labels.as_deref().unwrap_or_default().join(",");
            text += &format!(" {on} ({labels}) {group}");
        }
        text
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, self.operator(), self.right)
    }
}
