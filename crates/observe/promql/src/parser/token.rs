//! The words of the language.

use super::ast::{Aggregator, BinaryOp, Span};
use crate::quote::{quote, quote_char};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Eof,
    /// The message is the token's text.
    Error,
    Comment,
    Identifier,
    MetricIdentifier,
    String,
    Number,
    Duration,
    Equal,
    EqualRegex,
    NotRegex,
    Colon,
    Comma,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    OpenHistogram,
    CloseHistogram,
    Blank,
    Space,
    Times,
    At,
    Op(BinaryOp),
    Aggregator(Aggregator),
    Word(Word),
    /// A key of a histogram's description.
    Descriptor,
    /// A value of `counter_reset_hint`.
    ResetHint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Bool,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Offset,
    Smoothed,
    Anchored,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Word::Bool => "bool",
            Word::By => "by",
            Word::Without => "without",
            Word::On => "on",
            Word::Ignoring => "ignoring",
            Word::GroupLeft => "group_left",
            Word::GroupRight => "group_right",
            Word::Fill => "fill",
            Word::FillLeft => "fill_left",
            Word::FillRight => "fill_right",
            Word::Offset => "offset",
            Word::Smoothed => "smoothed",
            Word::Anchored => "anchored",
            Word::Start => "start",
            Word::End => "end",
            Word::Step => "step",
            Word::Range => "range",
            Word::MaxOf => "max_of",
            Word::MinOf => "min_of",
        }
    }

    /// Start, end and the like are no keywords in errors.
    fn is_keyword(self) -> bool {
        !matches!(self, Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf)
    }
}

/// What a word means outside of braces, whatever its case.
pub fn keyword(word: &str) -> Option<Kind> {
    let lower = word.to_ascii_lowercase();
    let words = [
        Word::Bool,
        Word::By,
        Word::Without,
        Word::On,
        Word::Ignoring,
        Word::GroupLeft,
        Word::GroupRight,
        Word::Fill,
        Word::FillLeft,
        Word::FillRight,
        Word::Offset,
        Word::Smoothed,
        Word::Anchored,
        Word::Start,
        Word::End,
        Word::Step,
        Word::Range,
        Word::MaxOf,
        Word::MinOf,
    ];
    match lower.as_str() {
        "and" => return Some(Kind::Op(BinaryOp::And)),
        "or" => return Some(Kind::Op(BinaryOp::Or)),
        "unless" => return Some(Kind::Op(BinaryOp::Unless)),
        "atan2" => return Some(Kind::Op(BinaryOp::Atan2)),
        "inf" | "nan" => return Some(Kind::Number),
        _ => {}
    }
    if let Some(op) = Aggregator::ALL.into_iter().find(|op| op.name() == lower) {
        return Some(Kind::Aggregator(op));
    }
    words.into_iter().find(|known| known.name() == lower).map(Kind::Word)
}

#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub start: usize,
}

impl Token {
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.start + self.text.len() }
    }

    /// As errors name it.
    pub fn description(&self) -> String {
        match self.kind {
            Kind::Eof => "end of input".to_owned(),
            Kind::Error => format!("error {}", self.text),
            Kind::Comment => format!("comment {}", self.shortened()),
            Kind::Identifier => format!("identifier {}", quote(&self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", quote(&self.text)),
            Kind::String => format!("string {}", self.shortened()),
            Kind::Number => format!("number {}", self.shortened()),
            Kind::Duration => format!("duration {}", self.shortened()),
            Kind::Op(_) | Kind::EqualRegex | Kind::NotRegex | Kind::At => format!("<op:{}>", self.text),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            Kind::Word(word) if word.is_keyword() => format!("<{}>", self.text),
            Kind::Descriptor | Kind::ResetHint => format!("{0} {0}", self.shortened()),
            _ => self.shortened(),
        }
    }

    fn shortened(&self) -> String {
        if self.text.len() > 10 {
            format!("{}...", quote(&self.text.chars().take(10).collect::<String>()))
        } else {
            quote(&self.text)
        }
    }
}

/// The message for a character nobody expected.
pub fn unexpected_character(context: &str, c: Option<char>) -> String {
    format!("{context}: {}", c.map_or_else(|| "'\u{fffd}'".to_owned(), quote_char))
}
