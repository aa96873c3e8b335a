//! What stands in braces and in the parentheses of groupings.

use super::{
    ast::{BinaryOp, Offset, Span, VectorSelector},
    grammar::{Parsed, Parser},
    token::{Kind, Word},
};
use crate::{
    labels::{Labels, LabelsBuilder, METRIC_NAME},
    matcher::{MatchOp, Matcher},
    quote::quote,
};

const MATCHING: &str = "label matching";
const GROUPING: &str = "grouping opts";
const LABEL_SET: &str = "label set";

impl Parser<'_> {
    /// A selector whose name was read already (or has none): the braces, if there are any.
    pub(super) fn selector(&mut self, name: String, start: Span) -> Parsed<VectorSelector> {
        let mut matchers = Vec::new();
        let mut span = start;
        if self.token.kind == Kind::LeftBrace {
            self.advance();
            self.matchers(&mut matchers)?;
            span = start.to(self.advance().span());
        }
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, &name));
        }
        Ok(VectorSelector {
            name,
            matchers,
            offset: Offset::None,
            at: None,
            anchored: false,
            smoothed: false,
            may_be_empty: false,
            span,
        })
    }

    /// Up to the closing brace, which stays.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<()> {
        while self.token.kind != Kind::RightBrace {
            matchers.extend(self.matcher()?);
            match self.token.kind {
                Kind::Comma => {
                    self.advance();
                }
                Kind::RightBrace => {}
                _ => return self.unexpected_in(MATCHING, "\",\" or \"}\""),
            }
        }
        Ok(())
    }

    fn matcher(&mut self) -> Parsed<Option<Matcher>> {
        let quoted = self.token.kind == Kind::String;
        if !quoted && self.token.kind != Kind::Identifier {
            return self.unexpected_in(MATCHING, "identifier or \"}\"");
        }
        let name = self.advance();
        let name_text = if quoted { self.unquoted(&name) } else { name.text.clone() };
        let op = match self.token.kind {
            Kind::Equal => MatchOp::Equal,
            Kind::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::EqualRegex => MatchOp::Regex,
            Kind::NotRegex => MatchOp::NotRegex,
            _ if quoted => return Ok(Some(Matcher::equal(METRIC_NAME, &name_text))),
            _ => return self.unexpected_in(MATCHING, "label matching operator"),
        };
        self.advance();
        if self.token.kind != Kind::String {
            return self.unexpected_in(MATCHING, "string");
        }
        let value = self.advance();
        let value_text = self.unquoted(&value);
        match Matcher::new(op, &name_text, &value_text) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(error) => {
                self.error(name.span().to(value.span()), error.to_string());
                Ok(None)
            }
        }
    }

    /// Label names in parentheses.
    pub(super) fn grouping(&mut self) -> Parsed<Vec<String>> {
        if self.token.kind != Kind::LeftParen {
            return self.unexpected_in(GROUPING, "\"(\"");
        }
        self.advance();
        let mut labels = Vec::new();
        while self.token.kind != Kind::RightParen {
            labels.push(self.grouping_label()?);
            match self.token.kind {
                Kind::Comma => {
                    self.advance();
                }
                Kind::RightParen => {}
                _ => return self.unexpected_in(GROUPING, "\",\" or \")\""),
            }
        }
        self.advance();
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let is_label = match self.token.kind {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::String => true,
            Kind::Op(op) => op.is_set() || op == BinaryOp::Atan2,
            Kind::Word(word) => word != Word::Without,
            _ => false,
        };
        if !is_label {
            return self.unexpected_in(GROUPING, "label");
        }
        let token = self.advance();
        let label = if token.kind == Kind::String { self.unquoted(&token) } else { token.text.clone() };
        if label.is_empty() {
            self.error(token.span(), format!("invalid label name for grouping: {}", quote(&label)));
        }
        Ok(label)
    }

    pub(super) fn whole_metric(&mut self) -> Parsed<Labels> {
        let labels = self.metric()?;
        self.end(labels)
    }

    /// `name{label="value"}`, either part alone too.
    pub(super) fn metric(&mut self) -> Parsed<Labels> {
        let name = self.metric_identifier();
        let mut pairs: Vec<(String, String)> = Vec::new();
        if self.token.kind == Kind::LeftBrace {
            self.advance();
            while self.token.kind != Kind::RightBrace {
                pairs.push(self.label_pair()?);
                match self.token.kind {
                    Kind::Comma => {
                        self.advance();
                    }
                    Kind::RightBrace => {}
                    _ => return self.unexpected_in(LABEL_SET, "\",\" or \"}\""),
                }
            }
            self.advance();
        }
        let labels = Labels::new(pairs);
        Ok(match name {
            Some(name) => LabelsBuilder::new(&labels).set(METRIC_NAME, &name).build(),
            None => labels,
        })
    }

    fn label_pair(&mut self) -> Parsed<(String, String)> {
        let quoted = self.token.kind == Kind::String;
        if !quoted && self.token.kind != Kind::Identifier {
            return self.unexpected_in(LABEL_SET, "identifier or \"}\"");
        }
        let token = self.advance();
        let name = if quoted { self.unquoted(&token) } else { token.text.clone() };
        if self.token.kind != Kind::Equal {
            return if quoted { Ok((METRIC_NAME.to_owned(), name)) } else { self.unexpected_in(LABEL_SET, "\"=\"") };
        }
        self.advance();
        if self.token.kind != Kind::String {
            return self.unexpected_in(LABEL_SET, "string");
        }
        let value = self.advance();
        Ok((name, self.unquoted(&value)))
    }
}
