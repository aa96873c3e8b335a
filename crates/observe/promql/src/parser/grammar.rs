//! The grammar of expressions, by recursive descent and precedence climbing.

use std::sync::Arc;

use super::{
    Options, ParseError,
    ast::{
        Aggregate, Aggregator, At, Binary, BinaryOp, Call, Cardinality, Expr, Length, MatrixSelector, Number, Offset,
        Paren, Span, Subquery, Text, Unary, VectorMatching, VectorSelector,
    },
    lexer::Lexer,
    token::{Kind, Token, Word},
};
use crate::{
    functions::Function,
    number::{parse_duration_ms, parse_number},
    quote::{quote, unquote, unquote_bytes},
};

/// How high the tree of an expression may grow, by chains of operators too: evaluation recurses as deeply.
const MAX_HEIGHT: usize = 250;
/// How deeply parentheses, calls and signs may be nested: the parser recurses, with larger frames.
const MAX_NESTING: usize = 100;

/// Nothing more can be read; why stands in the parser's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop;

pub(super) type Parsed<T> = Result<T, Stop>;

/// Where the text is, in the words of an error, and what may stand there.
type Context = (&'static str, &'static str);

pub(super) struct Parser<'a> {
    query: &'a str,
    lexer: Lexer<'a>,
    /// The one that comes next.
    pub(super) token: Token,
    /// Where the last token ended that can end an expression.
    last_end: usize,
    pub(super) options: Options,
    context: Vec<Context>,
    errors: Vec<ParseError>,
    height: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(query: &'a str, options: Options, series: bool) -> Self {
        let mut lexer = Lexer::new(query, series);
        let token = lexer.next();
        Self {
            query,
            lexer,
            token,
            last_end: 0,
            options,
            context: Vec::new(),
            errors: Vec::new(),
            height: 0,
            nesting: 0,
        }
    }

    /// What was read, or the first thing that was wrong with it.
    pub(super) fn finish<T>(self, parsed: Parsed<T>) -> Result<T, ParseError> {
        match (self.errors.into_iter().next(), parsed) {
            (Some(error), _) => Err(error),
            (None, Ok(value)) => Ok(value),
            (None, Err(Stop)) => unreachable!("every stop leaves an error"),
        }
    }

    pub(super) fn whole_expression(&mut self) -> Parsed<Expr> {
        if self.token.kind == Kind::Eof {
            return self.stop(Span::default(), "no expression found in input");
        }
        let expr = self.expr(0)?;
        self.end(expr)
    }

    pub(super) fn whole_selector(&mut self) -> Parsed<VectorSelector> {
        let start = self.token.span();
        let name = match self.metric_identifier() {
            Some(name) => name,
            None if self.token.kind == Kind::LeftBrace => String::new(),
            None => return self.unexpected(),
        };
        let selector = self.selector(name, start)?;
        self.end(selector)
    }

    pub(super) fn end<T>(&mut self, value: T) -> Parsed<T> {
        if self.token.kind == Kind::Eof { Ok(value) } else { self.unexpected() }
    }

    pub(super) fn advance(&mut self) -> Token {
        self.last_end = self.token.span().end;
        std::mem::replace(&mut self.token, self.lexer.next())
    }

    pub(super) fn accept(&mut self, kind: Kind) -> bool {
        let found = self.token.kind == kind;
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, kind: Kind) -> Parsed<Token> {
        if self.token.kind == kind { Ok(self.advance()) } else { self.unexpected() }
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into(), query: Arc::from(self.query) });
    }

    pub(super) fn stop<T>(&mut self, span: Span, message: impl Into<String>) -> Parsed<T> {
        self.error(span, message);
        Err(Stop)
    }

    /// The next token is not what can stand here.
    pub(super) fn unexpected<T>(&mut self) -> Parsed<T> {
        let (place, expected) = self.context.last().copied().unwrap_or_default();
        self.unexpected_in(place, expected)
    }

    pub(super) fn unexpected_in<T>(&mut self, place: &str, expected: &str) -> Parsed<T> {
        if self.token.kind == Kind::Error {
            let span = Span { start: self.token.start, end: self.query.len() };
            let message = self.token.text.clone();
            return self.stop(span, message);
        }
        let mut message = format!("unexpected {}", self.token.description());
        if !place.is_empty() {
            message.push_str(&format!(" in {place}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        self.stop(self.token.span(), message)
    }

    pub(super) fn within<T>(&mut self, context: Context, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.context.push(context);
        let parsed = parse(self);
        self.context.pop();
        parsed
    }

    /// The tree grows by one.
    fn grow(&mut self) -> Parsed<()> {
        self.height += 1;
        if self.height > MAX_HEIGHT {
            return self.stop(self.token.span(), format!("expression is more than {MAX_HEIGHT} levels high"));
        }
        Ok(())
    }

    /// Parses one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let (height, nesting) = (self.height, self.nesting);
        self.grow()?;
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.stop(self.token.span(), format!("expression is nested more than {MAX_NESTING} levels deep"));
        }
        let parsed = parse(self)?;
        (self.height, self.nesting) = (height, nesting);
        Ok(parsed)
    }

    pub(super) fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.nested(|parser| parser.operators(least))
    }

    fn operators(&mut self, least: u8) -> Parsed<Expr> {
        let mut lhs = self.unary()?;
        while let Kind::Op(op) = self.token.kind
            && op.precedence() >= least
        {
            self.grow()?;
            self.advance();
            let mut binary = self.modifiers(op, lhs)?;
            binary.rhs = self.expr(if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 })?;
            let fills = binary.matching.as_ref().is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some());
            lhs = Expr::Binary(binary);
            if fills && !self.options.fill_modifiers {
                self.error(lhs.span(), "binop fill modifiers are experimental and not enabled");
            }
        }
        Ok(lhs)
    }

    /// What stands between an operator and its right side. The right side is still missing in the answer.
    fn modifiers(&mut self, op: BinaryOp, lhs: Expr) -> Parsed<Box<Binary>> {
        let return_bool = self.accept(Kind::Word(Word::Bool));
        let mut matching = VectorMatching::default();
        if matches!(self.token.kind, Kind::Word(Word::On | Word::Ignoring)) {
            matching.on = self.advance().kind == Kind::Word(Word::On);
            matching.labels = self.grouping()?;
            matching.cardinality = match self.token.kind {
                Kind::Word(Word::GroupLeft) => Cardinality::ManyToOne,
                Kind::Word(Word::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if matching.cardinality != Cardinality::OneToOne {
                self.advance();
                if self.token.kind == Kind::LeftParen {
                    matching.include = self.grouping()?;
                }
            }
        }
        self.fills(&mut matching)?;
        let nothing = Expr::Number(Number { value: 0.0, duration: false, span: Span::default() });
        Ok(Box::new(Binary { op, lhs, rhs: nothing, matching: Some(matching), return_bool }))
    }

    fn fills(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        if self.accept(Kind::Word(Word::Fill)) {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok(());
        }
        for _ in 0..2 {
            if matching.fill_left.is_none() && self.accept(Kind::Word(Word::FillLeft)) {
                matching.fill_left = Some(self.fill_value()?);
            } else if matching.fill_right.is_none() && self.accept(Kind::Word(Word::FillRight)) {
                matching.fill_right = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let sign = match self.token.kind {
            Kind::Op(BinaryOp::Sub) => -1.0,
            Kind::Op(BinaryOp::Add) => 1.0,
            _ => 0.0,
        };
        if sign != 0.0 {
            self.advance();
        }
        let number = self.number()?;
        self.expect(Kind::RightParen)?;
        Ok(if sign < 0.0 { -number.value } else { number.value })
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token.kind else { return self.postfixed() };
        let start = self.advance().start;
        let negative = op == BinaryOp::Sub;
        Ok(match self.expr(BinaryOp::Pow.precedence())? {
            Expr::Number(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                number.span.start = start;
                Expr::Number(number)
            }
            expr => Expr::Unary(Box::new(Unary { negative, expr, start })),
        })
    }

    /// A primary expression with its brackets, offsets and moments.
    fn postfixed(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            expr = match self.token.kind {
                Kind::LeftBracket => self.bracketed(expr)?,
                Kind::Word(Word::Offset) => self.offset(expr)?,
                Kind::At => self.at(expr)?,
                Kind::Word(Word::Anchored) => self.extended(expr, "anchored")?,
                Kind::Word(Word::Smoothed) => self.extended(expr, "smoothed")?,
                _ => break,
            };
            self.grow()?;
        }
        Ok(expr)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.token.kind {
            Kind::Number | Kind::Duration => self.number().map(Expr::Number),
            Kind::String => {
                let token = self.advance();
                let value = self.unquoted(&token);
                let bytes = unquote_bytes(&token.text).unwrap_or_default();
                let invalid_utf8 = (bytes != value.as_bytes()).then_some(bytes);
                Ok(Expr::String(Text { value, invalid_utf8, span: token.span() }))
            }
            Kind::LeftParen => {
                let start = self.advance().span();
                let expr = self.expr(0)?;
                let end = self.expect(Kind::RightParen)?.span();
                Ok(Expr::Paren(Box::new(Paren { expr, span: start.to(end) })))
            }
            Kind::LeftBrace => {
                let start = self.token.span();
                self.selector(String::new(), start).map(Expr::Vector)
            }
            Kind::Aggregator(op) => {
                let token = self.advance();
                match self.token.kind {
                    Kind::LeftParen | Kind::Word(Word::By | Word::Without) => self.aggregate(op, &token),
                    _ => self.selector(token.text.clone(), token.span()).map(Expr::Vector),
                }
            }
            _ => {
                let token = self.token.clone();
                let Some(name) = self.metric_identifier() else { return self.unexpected() };
                let callable = matches!(
                    token.kind,
                    Kind::Identifier
                        | Kind::Word(Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf)
                );
                if callable && self.token.kind == Kind::LeftParen {
                    self.call(&token)
                } else {
                    self.selector(name, token.span()).map(Expr::Vector)
                }
            }
        }
    }

    /// A word that may name a metric.
    pub(super) fn metric_identifier(&mut self) -> Option<String> {
        let named = match self.token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) => true,
            Kind::Op(op) => op.is_set(),
            Kind::Word(word) => {
                !matches!(word, Word::Bool | Word::On | Word::Ignoring | Word::GroupLeft | Word::GroupRight)
            }
            _ => false,
        };
        named.then(|| self.advance().text)
    }

    pub(super) fn unquoted(&mut self, token: &Token) -> String {
        match unquote(&token.text) {
            Some(text) => text,
            None => {
                self.error(token.span(), format!("error unquoting string {}: invalid syntax", quote(&token.text)));
                String::new()
            }
        }
    }

    /// A number, or a duration in seconds.
    pub(super) fn number(&mut self) -> Parsed<Number> {
        let token = match self.token.kind {
            Kind::Number | Kind::Duration => self.advance(),
            _ => return self.unexpected(),
        };
        let span = token.span();
        let duration = token.kind == Kind::Duration;
        let value = if duration {
            match parse_duration_ms(&token.text) {
                Ok(ms) => ms as f64 / 1000.0,
                Err(message) => return self.stop(span, message),
            }
        } else {
            match parse_number(&token.text) {
                Ok(value) => value,
                Err(message) => return self.stop(span, format!("error parsing number: {message}")),
            }
        };
        Ok(Number { value, duration, span })
    }

    fn call(&mut self, name: &Token) -> Parsed<Expr> {
        let args = self.arguments()?;
        let span = Span { start: name.start, end: self.last_end };
        let Some(function) = Function::find(&name.text) else {
            return self.stop(name.span(), format!("unknown function with name {}", quote(&name.text)));
        };
        if function.experimental && !self.options.experimental_functions {
            self.error(name.span(), format!("function {} is not enabled", quote(&name.text)));
        }
        Ok(Expr::Call(Call { function, args, span }))
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        if self.accept(Kind::RightParen) {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            let comma = self.token.span();
            if !self.accept(Kind::Comma) {
                break;
            }
            if matches!(self.token.kind, Kind::RightParen | Kind::Comma) {
                self.error(comma, "trailing commas not allowed in function call args");
                break;
            }
        }
        self.expect(Kind::RightParen)?;
        Ok(args)
    }

    fn aggregate(&mut self, op: Aggregator, name: &Token) -> Parsed<Expr> {
        self.within(("aggregation", ""), |parser| {
            let mut modifier = parser.aggregate_modifier()?;
            let args = parser.arguments()?;
            if modifier.is_none() {
                modifier = parser.aggregate_modifier()?;
            }
            let span = Span { start: name.start, end: parser.last_end };
            let (without, grouping) = modifier.unwrap_or_default();
            parser.new_aggregate(op, args, Grouping { without, labels: grouping }, span)
        })
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = match self.token.kind {
            Kind::Word(Word::By) => false,
            Kind::Word(Word::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.grouping()?)))
    }

    fn new_aggregate(&mut self, op: Aggregator, args: Vec<Expr>, grouping: Grouping, span: Span) -> Parsed<Expr> {
        if args.is_empty() {
            return self.stop(span, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let name = op.name();
            let switch = "--enable-feature=promql-experimental-functions";
            return self.stop(span, format!("{name}() is experimental and must be enabled with {switch}"));
        }
        let wanted = if op.takes_parameter() { 2 } else { 1 };
        if args.len() != wanted {
            let problem = "wrong number of arguments for aggregate expression provided";
            return self.stop(span, format!("{problem}, expected {wanted}, got {}", args.len()));
        }
        let mut args = args.into_iter();
        let param = if wanted == 2 { args.next() } else { None };
        let expr = args.next().expect("the number of arguments was just checked");
        let Grouping { without, labels: grouping } = grouping;
        Ok(Expr::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without, span })))
    }

    fn bracketed(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance().span();
        let range =
            self.within(("subquery or range selector", "number, duration, step(), or range()"), Self::length)?;
        if self.token.kind == Kind::RightBracket {
            let close = self.advance().span();
            return self.matrix(expr, range, open.to(close));
        }
        if self.token.kind != Kind::Colon {
            return self.unexpected_in("subquery or range", "\":\" or \"]\"");
        }
        self.advance();
        let mut step = None;
        if self.token.kind != Kind::RightBracket {
            let expected = "number, duration, step(), range(), or \"]\"";
            step = Some(self.within(("subquery selector", expected), Self::length)?);
            if self.token.kind != Kind::RightBracket {
                return self.unexpected_in("subquery selector", "\"]\"");
            }
        }
        let end = self.advance().span().end;
        Ok(Expr::Subquery(Box::new(Subquery { expr, range, step, offset: Offset::None, at: None, end })))
    }

    fn matrix(&mut self, expr: Expr, range: Length, brackets: Span) -> Parsed<Expr> {
        match expr {
            Expr::Vector(selector) => {
                if matches!(selector.offset, Offset::Ns(ns) if ns != 0) {
                    return self.stop(brackets, "no offset modifiers allowed before range");
                }
                if matches!(selector.at, Some(At::TimeMs(_))) {
                    return self.stop(brackets, "no @ modifiers allowed before range");
                }
                Ok(Expr::Matrix(MatrixSelector { selector, range, end: brackets.end }))
            }
            _ => self.stop(brackets, "ranges only allowed for vector selectors"),
        }
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let offset = self.within(("offset", "number, duration, step(), or range()"), Self::offset_length)?;
        let span = expr.span();
        let (place, end) = match &mut expr {
            Expr::Vector(selector) => (&mut selector.offset, &mut selector.span.end),
            Expr::Matrix(matrix) => (&mut matrix.selector.offset, &mut matrix.end),
            Expr::Subquery(subquery) => (&mut subquery.offset, &mut subquery.end),
            _ => {
                let wanted = "an instant vector selector or range vector selector or a subquery";
                return self.stop(span, format!("offset modifier must be preceded by {wanted}"));
            }
        };
        if !matches!(place, Offset::None | Offset::Ns(0)) {
            return self.stop(span, "offset may not be set multiple times");
        }
        *place = match offset {
            Length::Ns(ns) => Offset::Ns(ns),
            Length::Computed(expr) => Offset::Computed(expr),
        };
        *end = self.last_end;
        Ok(expr)
    }

    fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let span = expr.span();
        let at = self.within(("@", "timestamp"), Self::moment)?;
        let (place, end) = match &mut expr {
            Expr::Vector(selector) => (&mut selector.at, &mut selector.span.end),
            Expr::Matrix(matrix) => (&mut matrix.selector.at, &mut matrix.end),
            Expr::Subquery(subquery) => (&mut subquery.at, &mut subquery.end),
            _ => {
                let wanted = "an instant vector selector or range vector selector or a subquery";
                return self.stop(span, format!("@ modifier must be preceded by {wanted}"));
            }
        };
        if place.is_some() {
            return self.stop(span, "@ <timestamp> may not be set multiple times");
        }
        *end = self.last_end;
        *place = match at {
            Moment::At(at) => Some(at),
            Moment::Seconds(seconds) => {
                if !(seconds.is_finite() && seconds < i64::MAX as f64 && seconds > i64::MIN as f64) {
                    let shown = go_fixed(seconds);
                    return self.stop(span, format!("timestamp out of bounds for @ modifier: {shown}"));
                }
                Some(At::TimeMs((seconds * 1000.0).round() as i64))
            }
        };
        Ok(expr)
    }

    fn moment(&mut self) -> Parsed<Moment> {
        match self.token.kind {
            Kind::Word(word @ (Word::Start | Word::End)) => {
                self.advance();
                self.expect(Kind::LeftParen)?;
                self.expect(Kind::RightParen)?;
                Ok(Moment::At(if word == Word::Start { At::Start } else { At::End }))
            }
            Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.advance();
                let value = self.number()?.value;
                Ok(Moment::Seconds(if op == BinaryOp::Sub { -value } else { value }))
            }
            _ => self.number().map(|number| Moment::Seconds(number.value)),
        }
    }

    fn extended(&mut self, mut expr: Expr, word: &str) -> Parsed<Expr> {
        self.advance();
        let span = expr.span();
        if !self.options.extended_range_selectors {
            return self.stop(span, format!("{word} modifier is experimental and not enabled"));
        }
        let selector = match &mut expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => return self.stop(span, format!("{word} modifier is not supported for subqueries")),
            _ => return self.stop(span, format!("{word} modifier not implemented")),
        };
        if word == "anchored" {
            selector.anchored = true;
        } else {
            selector.smoothed = true;
        }
        if selector.anchored && selector.smoothed {
            self.error(span, "anchored and smoothed modifiers cannot be used together");
        }
        Ok(expr)
    }
}

struct Grouping {
    without: bool,
    labels: Vec<String>,
}

enum Moment {
    At(At),
    Seconds(f64),
}

/// Go's `%f`.
fn go_fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { crate::number::plain_float(value) }
}
