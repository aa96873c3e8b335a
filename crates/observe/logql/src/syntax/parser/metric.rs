//! Aggregations, binary operations, literals.

use super::{Parser, Result, fold};
use crate::{
    go, regexp,
    syntax::{
        ast::{
            Binary, BinaryOp, Cardinality, Conversion, Expr, Grouping, LabelReplace, LogExpr, LogRange, MetricExpr,
            RangeAggregation, RangeOp, Replacement, Unwrap, VectorAggregation, VectorMatching, VectorOp,
        },
        lexer::Token,
    },
};

/// A log range under construction: its parts may come in several orders and inside parentheses.
struct RangeParts {
    selector: LogExpr,
    unwrap: Option<Unwrap>,
    interval_ns: Option<i64>,
    offset_ns: i64,
}

impl Parser {
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.nested(|parser| parser.binary(0))
    }

    /// Operators that bind at least as strongly as `least`.
    fn binary(&mut self, least: u8) -> Result<Expr> {
        let mut left = self.operand()?;
        while let Some((op, strength)) = self.operator() {
            if strength < least {
                break;
            }
            self.advance();
            let (return_bool, matching) = self.modifiers()?;
            // `^` binds to the right, everything else to the left.
            let next = if op == BinaryOp::Pow { strength } else { strength + 1 };
            let right = self.nested(|parser| parser.binary(next))?;
            left = self.operation(op, return_bool, matching, left, right);
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(BinaryOp, u8)> {
        let Token::Word(word) = self.peek() else { return None };
        let op = BinaryOp::by_name(word)?;
        let strength = match op {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
            BinaryOp::Pow => 6,
            _ => 3,
        };
        Some((op, strength))
    }

    fn modifiers(&mut self) -> Result<(bool, VectorMatching)> {
        let return_bool = self.take("bool");
        let mut matching = VectorMatching::default();
        if self.is("on") || self.is("ignoring") {
            matching.on = self.is("on");
            self.advance();
            // `ignoring ()` says nothing, and is not written again.
            matching.labels = Some(self.label_list()?).filter(|labels| matching.on || !labels.is_empty());
            matching.card = match self.peek() {
                Token::Word("group_left") => Cardinality::ManyToOne,
                Token::Word("group_right") => Cardinality::OneToMany,
                _ => return Ok((return_bool, matching)),
            };
            self.advance();
            if self.is("(") && self.include_list_follows() {
                matching.include = Some(self.label_list()?).filter(|labels| !labels.is_empty());
            }
        }
        Ok((return_bool, matching))
    }

    /// `group_left (a, b) …` or the parenthesis of the right side?
    fn include_list_follows(&self) -> bool {
        matches!(self.peek_second(), Token::Word(")") | Token::Identifier(_))
    }

    fn label_list(&mut self) -> Result<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        if self.take(")") {
            return Ok(labels);
        }
        let mut expecting: &[&str] = &["IDENTIFIER", ")"];
        loop {
            labels.push(self.identifier(expecting)?);
            if self.take(")") {
                return Ok(labels);
            }
            if !self.take(",") {
                return Err(self.unexpected(&[",", ")"]));
            }
            expecting = &["IDENTIFIER"];
        }
    }

    fn operation(
        &mut self,
        op: BinaryOp,
        return_bool: bool,
        matching: VectorMatching,
        left: Expr,
        right: Expr,
    ) -> Expr {
        let nothing = Expr::Metric(MetricExpr::Literal(0.0));
        let mut sides = Vec::new();
        for (side, expr) in [("left", left), ("right", right)] {
            match expr {
                Expr::Metric(metric) => sides.push(metric),
                Expr::Log(log) => {
                    let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
                    let name = op.name();
                    self.defer(format!("unexpected type for {side} leg of binary operation ({name}): *syntax.{kind}"));
                    return nothing;
                }
            }
        }
        let (right, left) = (sides.pop().expect("two sides"), sides.pop().expect("two sides"));
        if op.is_set() {
            for (side, leg) in [("left", &left), ("right", &right)] {
                if let MetricExpr::Literal(value) = leg {
                    let name = op.name();
                    self.defer(format!(
                        "unexpected literal for {side} leg of logical/set binary operation ({name}): {value:.6}"
                    ));
                    return nothing;
                }
            }
        }
        if let (MetricExpr::Literal(left), MetricExpr::Literal(right)) = (&left, &right) {
            return Expr::Metric(MetricExpr::Literal(fold::literals(op, *left, *right)));
        }
        Expr::Metric(MetricExpr::Binary(Box::new(Binary { op, left, right, return_bool, matching })))
    }

    fn operand(&mut self) -> Result<Expr> {
        match self.peek() {
            Token::Word("{") => Ok(Expr::Log(self.log_expr()?)),
            Token::Word("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect_closing()?;
                Ok(inner)
            }
            Token::Word("variants") => {
                Err(super::ParseError::new("multi variant queries are disabled for this instance"))
            }
            Token::Number(_) | Token::Word("+" | "-") => Ok(Expr::Metric(MetricExpr::Literal(self.signed_number()?))),
            Token::Function("vector") => self.vector_literal(),
            Token::Function("label_replace") => self.label_replace(),
            Token::Function(name) => {
                let (range, vector) = (RangeOp::by_name(name), VectorOp::by_name(name));
                match (range, vector) {
                    (Some(op), _) => self.range_aggregation(op),
                    (_, Some(op)) => self.vector_aggregation(op),
                    _ => Err(self.unexpected(&[])),
                }
            }
            _ => Err(self.unexpected(&[])),
        }
    }

    /// After an expression almost anything could follow, so nothing is listed.
    fn expect_closing(&mut self) -> Result<()> {
        if self.take(")") { Ok(()) } else { Err(self.unexpected(&[])) }
    }

    /// An expression of numbers; a log query here lacks its operator.
    fn metric_expr(&mut self) -> Result<MetricExpr> {
        match self.expr()? {
            Expr::Metric(metric) => Ok(metric),
            Expr::Log(_) => Err(self.unexpected(&[])),
        }
    }

    fn number_text(&mut self) -> Option<String> {
        match self.peek() {
            Token::Number(text) => {
                let text = text.clone();
                self.advance();
                Some(text)
            }
            _ => None,
        }
    }

    fn vector_literal(&mut self) -> Result<Expr> {
        self.advance();
        self.expect("(")?;
        let Some(text) = self.number_text() else { return Err(self.unexpected(&["NUMBER"])) };
        self.expect(")")?;
        let value = fold::number(&text).unwrap_or_else(|message| {
            self.defer(format!("unable to parse vectorExpr as a float: {message}"));
            0.0
        });
        Ok(Expr::Metric(MetricExpr::VectorLiteral(value)))
    }

    fn label_replace(&mut self) -> Result<Expr> {
        self.advance();
        self.expect("(")?;
        let of = self.metric_expr()?;
        let mut texts = Vec::with_capacity(4);
        for _ in 0..4 {
            if !self.take(",") {
                return Err(self.unexpected(if texts.is_empty() { &[] } else { &[","] }));
            }
            texts.push(self.text(&["STRING"])?);
        }
        self.expect(")")?;
        let mut texts = texts.into_iter();
        let mut next = || texts.next().expect("four were read");
        let how = Replacement { destination: next(), replacement: next(), source: next(), regex: next() };
        if let Err(error) = regexp::whole(&how.regex) {
            self.defer(format!("invalid regex in label_replace: {error}"));
        }
        Ok(Expr::Metric(MetricExpr::LabelReplace(Box::new(LabelReplace { of, how }))))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>> {
        let without = self.is("without");
        if !without && !self.is("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn vector_aggregation(&mut self, op: VectorOp) -> Result<Expr> {
        self.advance();
        let before = self.grouping()?;
        self.expect("(")?;
        let parameter = match (self.peek(), self.peek_second()) {
            (Token::Number(_), Token::Word(",")) => {
                let text = self.number_text();
                self.advance();
                text
            }
            _ => None,
        };
        let of = self.metric_expr()?;
        self.expect_closing()?;
        let grouping = if before.is_some() { before } else { self.grouping()? };
        let parameter = self.vector_parameter(op, parameter, grouping.is_some());
        let grouping = grouping.unwrap_or_default();
        Ok(Expr::Metric(MetricExpr::Vector(Box::new(VectorAggregation { op, of, grouping, parameter }))))
    }

    fn vector_parameter(&mut self, op: VectorOp, text: Option<String>, grouped: bool) -> usize {
        let name = op.name();
        if !matches!(op, VectorOp::BottomK | VectorOp::TopK | VectorOp::ApproxTopK) {
            if let Some(text) = text {
                self.defer(format!("unsupported parameter for operation {name}({text},"));
            }
            return 0;
        }
        let Some(text) = text else {
            self.defer(format!("parameter required for operation {name}"));
            return 0;
        };
        match text.parse::<i64>() {
            Err(_) => self.defer(format!("invalid parameter {name}({text},")),
            Ok(number) if number <= 0 => {
                self.defer(format!("invalid parameter (must be greater than 0) {name}({text}"));
            }
            Ok(_) if op == VectorOp::ApproxTopK && grouped => {
                self.defer(format!("grouping not allowed for {name} aggregation"));
            }
            Ok(number) => return usize::try_from(number).unwrap_or(usize::MAX),
        }
        0
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Result<Expr> {
        self.advance();
        self.expect("(")?;
        let expecting: &[&str] = &["NUMBER", "{", "("];
        let parameter = self.number_text();
        if parameter.is_some() {
            self.expect(",")?;
        }
        let range = self.log_range(if parameter.is_some() { &expecting[1..] } else { expecting })?;
        self.expect_closing()?;
        let grouping = self.grouping()?;
        let parameter = self.range_parameter(op, parameter);
        if let Err(message) = check_range(op, range.unwrap.is_some(), grouping.is_some()) {
            self.defer(message);
        }
        Ok(Expr::Metric(MetricExpr::Range(Box::new(RangeAggregation { op, range, parameter, grouping }))))
    }

    fn range_parameter(&mut self, op: RangeOp, text: Option<String>) -> Option<f64> {
        let name = op.name();
        match (op, text) {
            (RangeOp::Quantile, Some(text)) => match go::parse_float(&text) {
                Ok(number) => return Some(number),
                Err(message) => self.defer(format!("invalid parameter for operation {name}: {message}")),
            },
            (RangeOp::Quantile, None) => self.defer(format!("parameter required for operation {name}")),
            (_, Some(text)) => self.defer(format!("parameter {text} not supported for operation {name}")),
            (_, None) => {}
        }
        None
    }

    fn log_range(&mut self, expecting: &[&str]) -> Result<LogRange> {
        let parts = self.nested(|parser| parser.range_parts(expecting))?;
        let Some(interval_ns) = parts.interval_ns else { return Err(self.unexpected(&[])) };
        Ok(LogRange { selector: parts.selector, interval_ns, offset_ns: parts.offset_ns, unwrap: parts.unwrap })
    }

    fn range_parts(&mut self, expecting: &[&str]) -> Result<RangeParts> {
        let mut parts = if self.take("(") {
            let inner = self.nested(|parser| parser.range_parts(&["{", "("]))?;
            self.expect_closing()?;
            inner
        } else if self.is("{") {
            let selector = self.log_expr()?;
            let unwrap = self.unwrap()?;
            RangeParts { selector, unwrap, interval_ns: None, offset_ns: 0 }
        } else {
            return Err(self.unexpected(expecting));
        };
        if parts.interval_ns.is_none()
            && let Token::Range(interval) = *self.peek()
        {
            self.advance();
            parts.interval_ns = Some(interval);
            if self.take("offset") {
                let Token::Duration(offset) = *self.peek() else { return Err(self.unexpected(&["DURATION"])) };
                self.advance();
                parts.offset_ns = offset;
            }
            if parts.unwrap.is_none() {
                if parts.selector.stages.is_empty() {
                    parts.selector.stages = self.pipeline()?;
                }
                parts.unwrap = self.unwrap()?;
            }
        }
        Ok(parts)
    }

    fn unwrap(&mut self) -> Result<Option<Unwrap>> {
        if !(self.is("|") && *self.peek_second() == Token::Word("unwrap")) {
            return Ok(None);
        }
        self.advance();
        self.advance();
        let conversion = match self.peek() {
            Token::Function("bytes") => Some(Conversion::Bytes),
            Token::Function("duration") => Some(Conversion::Duration),
            Token::Function("duration_seconds") => Some(Conversion::DurationSeconds),
            _ => None,
        };
        let expecting = ["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"];
        let label = if conversion.is_some() {
            self.advance();
            self.expect("(")?;
            let label = self.identifier(&expecting[..1])?;
            self.expect(")")?;
            label
        } else {
            self.identifier(&expecting)?
        };
        let mut filters = Vec::new();
        while self.take("|") {
            filters.push(self.label_filter()?);
        }
        Ok(Some(Unwrap { label, conversion, filters }))
    }
}

/// What goes with what.
fn check_range(op: RangeOp, unwrapped: bool, grouped: bool) -> Result<(), String> {
    use RangeOp::{Absent, Avg, Bytes, BytesRate, Count, First, Last, Max, Min, Quantile, Rate, Stddev, Stdvar};
    let name = op.name();
    if grouped && !matches!(op, Avg | Stddev | Stdvar | Quantile | Max | Min | First | Last) {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    if unwrapped && matches!(op, Count | Bytes | BytesRate) {
        return Err(format!("invalid aggregation {name} with unwrap"));
    }
    if !unwrapped && !matches!(op, Bytes | BytesRate | Count | Rate | Absent) {
        return Err(format!("invalid aggregation {name} without unwrap"));
    }
    Ok(())
}
