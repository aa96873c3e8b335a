//! Tokens to trees, with the messages that people know from Loki.

mod fold;
mod label_filter;
mod log;
mod metric;

use std::fmt;

use super::{
    ast::{Expr, LogExpr, MetricExpr},
    lexer::{Position, Token, tokens},
};
use crate::matcher::Matcher;

/// Longer queries are refused.
const MAX_QUERY_BYTES: usize = 131_072;
/// Deeper nesting is refused: the parser calls itself.
const MAX_DEPTH: usize = 200;

/// Why a query is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    message: String,
    line: usize,
    column: usize,
}

impl ParseError {
    /// One that has no place in the text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: 0, column: 0 }
    }

    fn at(message: String, position: Position) -> Self {
        Self { message, line: position.line, column: position.column }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, 0) => write!(f, "parse error : {}", self.message),
            (line, column) => write!(f, "parse error at line {line}, col {column}: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads and checks a query.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let expr = parse_unchecked(query)?;
    match &expr {
        Expr::Log(log) => check_matchers(log)?,
        Expr::Metric(metric) => check_metric(metric)?,
    }
    Ok(expr)
}

/// Reads a bare selector, such as `{app="shop"}`; it may select everything.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    match parse_unchecked(text)? {
        Expr::Log(log) if log.stages.is_empty() => Ok(log.matchers),
        _ => Err(ParseError::new("only label matchers are supported")),
    }
}

fn parse_unchecked(query: &str) -> Result<Expr, ParseError> {
    if query.len() >= MAX_QUERY_BYTES {
        let message = format!("input size too long ({} > {MAX_QUERY_BYTES})", query.len());
        return Err(ParseError::new(message));
    }
    let mut parser = Parser { tokens: tokens(query), at: 0, depth: 0, deferred: None };
    let expr = parser.expr()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected(&[]));
    }
    parser.deferred.map_or(Ok(expr), Err)
}

struct Parser {
    tokens: Vec<(Token, Position)>,
    at: usize,
    depth: usize,
    /// The first thing that reads well and means nothing; what does not read well is told before it.
    deferred: Option<ParseError>,
}

type Result<T, E = ParseError> = std::result::Result<T, E>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    fn is(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if *found == word)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Goes past a word if it is there.
    fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(self.unexpected(&[word])) }
    }

    fn identifier(&mut self, expecting: &[&str]) -> Result<String> {
        match self.peek() {
            Token::Identifier(_) => match self.advance() {
                Token::Identifier(name) => Ok(name),
                _ => unreachable!("the token was looked at"),
            },
            _ => Err(self.unexpected(expecting)),
        }
    }

    fn text(&mut self, expecting: &[&str]) -> Result<String> {
        match self.peek() {
            Token::Text(_) => match self.advance() {
                Token::Text(text) => Ok(text),
                _ => unreachable!("the token was looked at"),
            },
            _ => Err(self.unexpected(expecting)),
        }
    }

    /// The error of the token that is next. What would have been right is listed only where it is little.
    fn unexpected(&self, expecting: &[&str]) -> ParseError {
        let (token, position) = &self.tokens[self.at];
        if let Token::Error(message) = token {
            return ParseError::at(message.clone(), *position);
        }
        let mut message = format!("syntax error: unexpected {}", token.describe());
        for (index, expected) in expecting.iter().enumerate() {
            message += if index == 0 { ", expecting " } else { " or " };
            message += expected;
        }
        ParseError::at(message, *position)
    }

    fn defer(&mut self, message: String) {
        self.deferred.get_or_insert(ParseError::new(message));
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::new(format!("the query is nested more than {MAX_DEPTH} levels deep")));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}

/// A query must name its streams by something.
fn check_matchers(log: &LogExpr) -> Result<()> {
    if log.matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(ParseError::new(
            "queries require at least one regexp or equality matcher that does not have an empty-compatible value. \
             For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will",
        ));
    }
    Ok(())
}

fn check_metric(metric: &MetricExpr) -> Result<()> {
    use super::ast::VectorOp::{Sort, SortDesc};
    match metric {
        MetricExpr::Range(range) => check_matchers(&range.range.selector),
        MetricExpr::Vector(vector) => {
            if matches!(vector.op, Sort | SortDesc) && !vector.grouping.labels.is_empty() {
                return Err(ParseError::new("sort and sort_desc doesn't allow grouping by "));
            }
            check_metric(&vector.of)
        }
        MetricExpr::Binary(binary) => {
            check_metric(&binary.left)?;
            check_metric(&binary.right)
        }
        MetricExpr::LabelReplace(replace) => check_metric(&replace.of),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => Ok(()),
    }
}
