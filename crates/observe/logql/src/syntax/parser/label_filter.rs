//! Conditions on labels, with the binding that Loki's grammar gives `and`, `or`, the comma and mere adjacency.

use super::{Parser, Result, fold};
use crate::syntax::{
    ast::{Comparison, LabelFilter},
    lexer::Token,
};

#[derive(Clone, Copy, PartialEq)]
enum Join {
    And,
    Or,
    /// A comma or nothing: joins like `and`, and takes everything to its right.
    Loose {
        comma: bool,
    },
}

impl Parser {
    pub(super) fn label_filter(&mut self) -> Result<LabelFilter> {
        self.nested(|parser| parser.joined(None))
    }

    fn joined(&mut self, before: Option<Join>) -> Result<LabelFilter> {
        let mut left = self.single_filter()?;
        while let Some(join) = self.join() {
            // Equal or stronger on the left: that comes first.
            let closes = matches!((before, join), (Some(Join::And), Join::And | Join::Or) | (Some(Join::Or), Join::Or));
            if closes {
                break;
            }
            if !matches!(join, Join::Loose { comma: false }) {
                self.advance();
            }
            let right = self.nested(|parser| parser.joined(Some(join)))?;
            left = match join {
                Join::Or => LabelFilter::Or(Box::new(left), Box::new(right)),
                Join::And | Join::Loose { .. } => LabelFilter::And(Box::new(left), Box::new(right)),
            };
        }
        Ok(left)
    }

    fn join(&self) -> Option<Join> {
        match self.peek() {
            Token::Word("and") => Some(Join::And),
            Token::Word("or") => Some(Join::Or),
            Token::Word(",") => Some(Join::Loose { comma: true }),
            Token::Word("(") | Token::Identifier(_) => Some(Join::Loose { comma: false }),
            _ => None,
        }
    }

    fn single_filter(&mut self) -> Result<LabelFilter> {
        if self.take("(") {
            let inner = self.nested(|parser| parser.joined(None))?;
            self.expect(")")?;
            return Ok(inner);
        }
        let label = self.identifier(&["IDENTIFIER", "("])?;
        let comparison = match self.peek() {
            Token::Word("=") | Token::Word("==") => Comparison::Equal,
            Token::Word("!=") => Comparison::NotEqual,
            Token::Word(">") => Comparison::Greater,
            Token::Word(">=") => Comparison::GreaterOrEqual,
            Token::Word("<") => Comparison::Less,
            Token::Word("<=") => Comparison::LessOrEqual,
            _ => return Ok(LabelFilter::Matcher(self.matcher(&label, &[])?)),
        };
        let is_matcher = self.is("=") || self.is("!=");
        if is_matcher && matches!(self.peek_second(), Token::Text(_)) {
            return Ok(LabelFilter::Matcher(self.matcher(&label, &[])?));
        }
        self.advance();
        match self.peek() {
            Token::Function("ip") if is_matcher => {
                let negated = comparison == Comparison::NotEqual;
                Ok(LabelFilter::Ip { label, negated, pattern: self.ip_pattern()? })
            }
            Token::Duration(duration) => {
                let filter = LabelFilter::Duration(label, comparison, *duration);
                self.advance();
                Ok(filter)
            }
            Token::Bytes(bytes) => {
                let filter = LabelFilter::Bytes(label, comparison, *bytes);
                self.advance();
                Ok(filter)
            }
            _ => {
                let number = self.signed_number()?;
                Ok(LabelFilter::Number(label, comparison, number))
            }
        }
    }

    /// A number with a sign or without.
    pub(super) fn signed_number(&mut self) -> Result<f64> {
        let signed = self.is("+") || self.is("-");
        let sign = if self.take("-") { -1.0 } else { 1.0 };
        self.take("+");
        match self.peek() {
            Token::Number(text) => {
                let number = fold::number(text);
                self.advance();
                match number {
                    Ok(number) => Ok(sign * number),
                    Err(message) => {
                        self.defer(format!("unable to parse literal as a float: {message}"));
                        Ok(0.0)
                    }
                }
            }
            _ if signed => Err(self.unexpected(&["NUMBER"])),
            _ => Err(self.unexpected(&[])),
        }
    }
}
