//! Selectors and pipelines.

use super::{ParseError, Parser, Result};
use crate::{
    matcher::{MatchOp, Matcher},
    pipeline,
    syntax::{
        ast::{Extraction, LabelFormat, LineFilter, LineMatch, LineOp, LogExpr, NamedMatcher, Stage},
        lexer::Token,
    },
};

impl Parser {
    pub(super) fn log_expr(&mut self) -> Result<LogExpr> {
        let matchers = self.selector()?;
        let stages = self.pipeline()?;
        Ok(LogExpr { matchers, stages })
    }

    pub(super) fn selector(&mut self) -> Result<Vec<Matcher>> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        if self.take("}") {
            return Ok(matchers);
        }
        let mut expecting: &[&str] = &["IDENTIFIER", "}"];
        loop {
            let name = self.identifier(expecting)?;
            matchers.push(self.matcher(&name, &["=", "=~", "!~", "!="])?);
            if self.take("}") {
                return Ok(matchers);
            }
            if !self.take(",") {
                return Err(self.unexpected(&["}", ","]));
            }
            expecting = &["IDENTIFIER"];
        }
    }

    /// What follows the name of a label in a matcher.
    pub(super) fn matcher(&mut self, name: &str, expecting: &[&str]) -> Result<Matcher> {
        let op = match self.peek() {
            Token::Word("=") => MatchOp::Equal,
            Token::Word("!=") => MatchOp::NotEqual,
            Token::Word("=~") => MatchOp::Regexp,
            Token::Word("!~") => MatchOp::NotRegexp,
            _ => return Err(self.unexpected(expecting)),
        };
        self.advance();
        let value = self.text(&["STRING"])?;
        Matcher::new(name, op, &value).map_err(|error| ParseError::new(error.to_string()))
    }

    /// Stages, up to `| unwrap` or what is none.
    pub(super) fn pipeline(&mut self) -> Result<Vec<Stage>> {
        let mut stages = Vec::new();
        loop {
            if line_op(self.peek()).is_some() {
                stages.push(Stage::Lines(self.line_filters()?));
            } else if self.is("|") && *self.peek_second() != Token::Word("unwrap") {
                self.advance();
                stages.push(self.stage()?);
            } else {
                return Ok(stages);
            }
        }
    }

    fn line_filters(&mut self) -> Result<Vec<LineFilter>> {
        let mut filters = Vec::new();
        while let Some(op) = line_op(self.peek()) {
            self.advance();
            let mut any = vec![self.line_match()?];
            while self.take("or") {
                any.push(self.line_match()?);
            }
            if op.is_positive() {
                filters.push(LineFilter { op, any });
            } else {
                // None of them is each of them not.
                filters.extend(any.into_iter().map(|one| LineFilter { op, any: vec![one] }));
            }
        }
        Ok(filters)
    }

    fn line_match(&mut self) -> Result<LineMatch> {
        if *self.peek() != Token::Function("ip") {
            return Ok(LineMatch::Text(self.text(&["STRING", "ip"])?));
        }
        Ok(LineMatch::Ip(self.ip_pattern()?))
    }

    /// `ip("…")`
    pub(super) fn ip_pattern(&mut self) -> Result<String> {
        self.advance();
        self.expect("(")?;
        let pattern = self.text(&["STRING"])?;
        self.expect(")")?;
        Ok(pattern)
    }

    fn stage(&mut self) -> Result<Stage> {
        let word = match self.peek() {
            Token::Word(word) => *word,
            Token::Identifier(_) => return Ok(Stage::Labels(self.label_filter()?)),
            _ => return Err(self.unexpected(&[])),
        };
        if word == "(" {
            return Ok(Stage::Labels(self.label_filter()?));
        }
        let known = [
            "json",
            "logfmt",
            "regexp",
            "pattern",
            "unpack",
            "line_format",
            "label_format",
            "decolorize",
            "drop",
            "keep",
        ];
        if !known.contains(&word) {
            return Err(self.unexpected(&[]));
        }
        self.advance();
        match word {
            "json" => Ok(match self.extractions()? {
                expressions if expressions.is_empty() => Stage::Json,
                expressions => Stage::JsonExpressions(expressions),
            }),
            "logfmt" => self.logfmt(),
            "regexp" => {
                let expression = self.text(&["STRING"])?;
                pipeline::check_regexp_parser(&expression)
                    .map_err(|error| ParseError::new(format!("invalid regexp parser: {error}")))?;
                Ok(Stage::Regexp(expression))
            }
            "pattern" => {
                let pattern = self.text(&["STRING"])?;
                pipeline::check_pattern_parser(&pattern)
                    .map_err(|error| ParseError::new(format!("invalid pattern parser: {error}")))?;
                Ok(Stage::Pattern(pattern))
            }
            "unpack" => Ok(Stage::Unpack),
            "line_format" => Ok(Stage::LineFormat(self.text(&["STRING"])?)),
            "label_format" => self.label_format(),
            "decolorize" => Ok(Stage::Decolorize),
            "drop" => Ok(Stage::Drop(self.named_matchers()?)),
            _ => Ok(Stage::Keep(self.named_matchers()?)),
        }
    }

    fn logfmt(&mut self) -> Result<Stage> {
        let (mut strict, mut keep_empty) = (false, false);
        while let Token::Flag(flag) = self.peek() {
            match flag.as_str() {
                "--strict" => strict = true,
                _ => keep_empty = true,
            }
            self.advance();
        }
        Ok(Stage::Logfmt { strict, keep_empty, expressions: self.extractions()? })
    }

    fn extractions(&mut self) -> Result<Vec<Extraction>> {
        let mut extractions = Vec::new();
        if !matches!(self.peek(), Token::Identifier(_)) {
            return Ok(extractions);
        }
        loop {
            let label = self.identifier(&["IDENTIFIER"])?;
            let expression = if self.take("=") { self.text(&["STRING"])? } else { label.clone() };
            extractions.push(Extraction { label, expression });
            if !self.take(",") {
                return Ok(extractions);
            }
        }
    }

    fn label_format(&mut self) -> Result<Stage> {
        let mut formats = Vec::new();
        loop {
            let label = self.identifier(&["IDENTIFIER"])?;
            self.expect("=")?;
            formats.push(match self.peek() {
                Token::Identifier(_) => LabelFormat::Rename { to: label, from: self.identifier(&[])? },
                _ => LabelFormat::Template { label, template: self.text(&["IDENTIFIER", "STRING"])? },
            });
            if !self.take(",") {
                return Ok(Stage::LabelFormat(formats));
            }
        }
    }

    fn named_matchers(&mut self) -> Result<Vec<NamedMatcher>> {
        let mut named = Vec::new();
        loop {
            let name = self.identifier(&["IDENTIFIER"])?;
            named.push(match self.peek() {
                Token::Word("=" | "!=" | "=~" | "!~") => {
                    // A line filter may follow a name: `| drop a != "x"` is a matcher all the same.
                    NamedMatcher::Matcher(self.matcher(&name, &[])?)
                }
                _ => NamedMatcher::Name(name),
            });
            if !self.take(",") {
                return Ok(named);
            }
        }
    }
}

fn line_op(token: &Token) -> Option<LineOp> {
    Some(match token {
        Token::Word("|=") => LineOp::Contains,
        Token::Word("!=") => LineOp::NotContains,
        Token::Word("|~") => LineOp::Regexp,
        Token::Word("!~") => LineOp::NotRegexp,
        Token::Word("|>") => LineOp::Pattern,
        Token::Word("!>") => LineOp::NotPattern,
        _ => return None,
    })
}
