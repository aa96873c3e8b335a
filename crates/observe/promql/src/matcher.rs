//! Label matchers, with fast ways for the regular expressions that people write.

use std::{fmt, sync::Arc};

use memchr::memmem;

use crate::{go_regex, labels::is_plain_label_name, quote::quote};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        })
    }
}

/// One condition on one label. An absent label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub op: MatchOp,
    pub name: Arc<str>,
    pub value: Arc<str>,
    pattern: Option<Arc<Pattern>>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Matcher {
    /// A regular expression is in Go's syntax and has to match the whole value.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, go_regex::Error> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Pattern::new(value)?)),
        };
        Ok(Self { op, name: name.into(), value: value.into(), pattern })
    }

    pub fn equal(name: &str, value: &str) -> Self {
        Self { op: MatchOp::Equal, name: name.into(), value: value.into(), pattern: None }
    }

    pub fn matches(&self, value: &str) -> bool {
        let negated = matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex);
        let found = match &self.pattern {
            None => *self.value == *value,
            Some(pattern) => pattern.matches(value),
        };
        found != negated
    }

    /// Whether a series without the label passes.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The only values this regular expression matches (or, when negated, refuses), if they can be listed.
    pub fn set_matches(&self) -> Option<&[String]> {
        match self.pattern.as_deref() {
            Some(Pattern::OneOf(values)) => Some(values),
            _ => None,
        }
    }

    /// A text that every value that passes holds somewhere; empty when none is known.
    pub fn needle(&self) -> &str {
        match (self.op, self.pattern.as_deref()) {
            (MatchOp::Equal, _) => &self.value,
            (MatchOp::Regex, Some(pattern)) => pattern.needle(),
            _ => "",
        }
    }

    /// What every value that the regular expression matches begins with; empty when nothing is known.
    pub fn prefix(&self) -> &str {
        self.pattern.as_deref().map_or("", Pattern::prefix)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            f.write_str(&quote(&self.name))?;
        }
        write!(f, "{}{}", self.op, quote(&self.value))
    }
}

#[derive(Debug)]
enum Pattern {
    /// Literals in order, from an alternation of them.
    OneOf(Vec<String>),
    /// `literal.+`
    Prefix(String),
    /// `.+literal`
    Suffix(String),
    /// Literals with anything between them, as in `literal.*literal.*`: the first at the start, the last at the end.
    Pieces {
        first: String,
        middle: Vec<memmem::Finder<'static>>,
        last: String,
        /// The piece from the middle, or else from the ends, that the fewest values are likely to hold: the longest.
        needle: String,
    },
    Any,
    NotEmpty,
    Compiled {
        regex: Box<regex::Regex>,
        prefix: String,
    },
}

impl Pattern {
    fn new(source: &str) -> Result<Self, go_regex::Error> {
        if let Some(simple) = Self::simple(source) {
            return Ok(simple);
        }
        let regex = go_regex::compile_anchored(source)?;
        Ok(Pattern::Compiled { regex: Box::new(regex), prefix: literal_prefix(source).to_owned() })
    }

    fn simple(source: &str) -> Option<Self> {
        match source {
            ".*" => return Some(Pattern::Any),
            ".+" => return Some(Pattern::NotEmpty),
            _ => {}
        }
        let inner = source.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(source);
        let alternatives: Option<Vec<String>> = inner.split('|').map(literal).collect();
        if let Some(mut values) = alternatives {
            values.sort();
            values.dedup();
            return Some(Pattern::OneOf(values));
        }
        if let Some(prefix) = source.strip_suffix(".+").and_then(literal) {
            return Some(Pattern::Prefix(prefix));
        }
        if let Some(suffix) = source.strip_prefix(".+").and_then(literal) {
            return Some(Pattern::Suffix(suffix));
        }
        let mut pieces: Vec<String> = source.split(".*").map(literal).collect::<Option<_>>()?;
        let last = pieces.pop()?;
        let mut pieces = pieces.into_iter();
        let first = pieces.next()?;
        let middle: Vec<String> = pieces.collect();
        let longest = |texts: &mut dyn Iterator<Item = &String>| texts.max_by_key(|text| text.len()).cloned();
        let needle = longest(&mut middle.iter().filter(|piece| !piece.is_empty()))
            .or_else(|| longest(&mut [&last, &first].into_iter()))
            .unwrap_or_default();
        let middle = middle.iter().map(|piece| memmem::Finder::new(piece).into_owned()).collect();
        Some(Pattern::Pieces { first, middle, last, needle })
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Pattern::OneOf(values) if values.len() < 8 => values.iter().any(|one| one == value),
            Pattern::OneOf(values) => values.binary_search_by(|one| one.as_str().cmp(value)).is_ok(),
            Pattern::Prefix(prefix) => value.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty()),
            Pattern::Suffix(suffix) => value.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty()),
            Pattern::Pieces { first, middle, last, .. } => {
                let inner = value.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
                inner.is_some_and(|inner| has_in_order(inner.as_bytes(), middle))
            }
            Pattern::Any => true,
            Pattern::NotEmpty => !value.is_empty(),
            Pattern::Compiled { regex, prefix } => value.starts_with(prefix.as_str()) && regex.is_match(value),
        }
    }

    fn needle(&self) -> &str {
        match self {
            Pattern::Prefix(text) | Pattern::Suffix(text) | Pattern::Pieces { needle: text, .. } => text,
            Pattern::OneOf(values) if values.len() == 1 => &values[0],
            _ => self.prefix(),
        }
    }

    fn prefix(&self) -> &str {
        match self {
            Pattern::Prefix(prefix) | Pattern::Compiled { prefix, .. } | Pattern::Pieces { first: prefix, .. } => {
                prefix
            }
            _ => "",
        }
    }
}

/// Whether all pieces are there, one behind the other; each is taken where it comes first.
fn has_in_order(mut value: &[u8], pieces: &[memmem::Finder<'_>]) -> bool {
    pieces.iter().all(|piece| match piece.find(value) {
        Some(at) => {
            value = &value[at + piece.needle().len()..];
            true
        }
        None => false,
    })
}

/// Characters that mean themselves wherever they stand in a regular expression.
fn is_literal(c: char) -> bool {
    !matches!(c, '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | '\\')
}

/// The text a regular expression stands for, when it is nothing but text (with escaped punctuation).
fn literal(source: &str) -> Option<String> {
    let mut text = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            c if is_literal(c) => text.push(c),
            _ => return None,
        }
    }
    Some(text)
}

/// The text every match has to begin with, of the plainest kind.
fn literal_prefix(source: &str) -> &str {
    if source.contains('|') {
        return "";
    }
    let end = source.find(|c| !is_literal(c)).unwrap_or(source.len());
    match source[end..].chars().next() {
        // What stands before these may be absent.
        Some('*' | '?' | '{') => match source[..end].char_indices().next_back() {
            Some((last, _)) => &source[..last],
            None => "",
        },
        _ => &source[..end],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fast_ways_say_what_the_expression_says(
            source in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ".*", ".+", "|", "\\.", "."]), 0..7),
            value in "[ab.]{0,6}",
        ) {
            let source = source.concat();
            if let Ok(regex) = go_regex::compile_anchored(&source) {
                let matcher = Matcher::new(MatchOp::Regex, "x", &source).unwrap();
                prop_assert_eq!(matcher.matches(&value), regex.is_match(&value), "{} {}", source, value);
                prop_assert!(!regex.is_match(&value) || value.starts_with(matcher.prefix()));
                prop_assert!(!regex.is_match(&value) || value.contains(matcher.needle()));
            }
        }
    }
}
