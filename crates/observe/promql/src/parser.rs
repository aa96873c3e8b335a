//! Text to expressions: the lexer, the grammar, the checks of types, and the way back to text.

pub mod ast;
mod check;
mod duration;
mod errors;
mod grammar;
mod json;
mod lexer;
mod matchers;
mod printer;
mod series;
mod token;

pub use errors::ParseError;
pub use json::to_json;
pub use printer::prettify;
pub use series::{SequenceValue, SeriesDescription};

use crate::{labels::Labels, matcher::Matcher};
use ast::Expr;

/// What of the language is switched on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub experimental_functions: bool,
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
}

impl Options {
    pub const EVERYTHING: Options = Options {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
    };
}

/// A whole expression, its types checked.
pub fn parse(query: &str, options: Options) -> Result<Expr, ParseError> {
    let mut parser = grammar::Parser::new(query, options, false);
    let expr = parser.whole_expression();
    parser.finish(expr).and_then(|mut expr| {
        check::check(&mut expr, query)?;
        Ok(expr)
    })
}

/// Only a selector, as in `match[]`: its matchers.
pub fn parse_selector(query: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = grammar::Parser::new(query, Options::default(), false);
    let selector = parser.whole_selector();
    parser.finish(selector).map(|selector| selector.matchers)
}

/// A metric with its labels, as `{a="b"}` or `name{a="b"}`.
pub fn parse_metric(text: &str) -> Result<Labels, ParseError> {
    let mut parser = grammar::Parser::new(text, Options::default(), false);
    let labels = parser.whole_metric();
    parser.finish(labels)
}

/// A series with values, as test scripts write it.
pub fn parse_series(text: &str) -> Result<SeriesDescription, ParseError> {
    let mut parser = grammar::Parser::new(text, Options::EVERYTHING, true);
    let series = parser.whole_series();
    parser.finish(series)
}
