//! Text to tokens. Everything is read at once; what cannot be read becomes a token too, and is told when the parser gets
//! there.

use crate::go;

/// Where a token starts, in characters from 1. The line is 0 where Loki has lost count: after tokens of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A token of LogQL.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Identifier(String),
    Text(String),
    Number(String),
    Duration(i64),
    Bytes(u64),
    /// `[5m]`
    Range(i64),
    /// `--strict`
    Flag(String),
    /// Punctuation, operators and words with a meaning of their own.
    Word(&'static str),
    /// The name of a function that is followed by what it is called with.
    Function(&'static str),
    Error(String),
    End,
}

impl Token {
    /// How messages name it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Identifier(_) => "IDENTIFIER".to_owned(),
            Self::Text(_) => "STRING".to_owned(),
            Self::Number(_) => "NUMBER".to_owned(),
            Self::Duration(_) => "DURATION".to_owned(),
            Self::Bytes(_) => "BYTES".to_owned(),
            Self::Range(_) => "RANGE".to_owned(),
            Self::Flag(_) => "FUNCTION_FLAG".to_owned(),
            Self::Word(word) => (*word).to_owned(),
            // Conversions are named by their role, some functions by their word, the others in capitals.
            Self::Function(name) => match *name {
                "bytes" => "BYTES_CONV".to_owned(),
                "duration" => "DURATION_CONV".to_owned(),
                "duration_seconds" => "DURATION_SECONDS_CONV".to_owned(),
                "ip" | "label_replace" => (*name).to_owned(),
                name => name.to_uppercase(),
            },
            Self::Error(message) => message.clone(),
            Self::End => "$end".to_owned(),
        }
    }
}

const WORDS: [&str; 31] = [
    "by",
    "without",
    "unwrap",
    "bool",
    "label_replace",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "label_format",
    "line_format",
    "ip",
    "decolorize",
    "drop",
    "keep",
    "variants",
    "of",
    ".",
    ",",
    "(",
    ")",
    "}",
];

/// Longest first.
const OPERATORS: [&str; 22] = [
    "=~", "!~", "!>", "|=", "|~", "|>", "==", "!=", ">=", "<=", "{", "}", "(", ")", "]", ",", ".", "=", "|", ">", "<",
    "^",
];
const ARITHMETIC: [&str; 5] = ["+", "-", "*", "/", "%"];

/// Words that mean a function where a parenthesis or a grouping follows, and are identifiers elsewhere.
const FUNCTIONS: [&str; 33] = [
    "rate",
    "rate_counter",
    "count_over_time",
    "bytes_rate",
    "bytes_over_time",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
    "absent_over_time",
    "vector",
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "stddev",
    "stdvar",
    "bottomk",
    "topk",
    "sort",
    "sort_desc",
    "approx_topk",
    "label_replace",
    "bytes",
    "duration",
    "duration_seconds",
    "ip",
];

/// Reads all tokens; the last one is [`Token::End`] or [`Token::Error`].
pub(super) fn tokens(text: &str) -> Vec<(Token, Position)> {
    let mut lexer = Lexer { text, at: 0, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let (token, position) = lexer.next();
        let last = matches!(token, Token::End | Token::Error(_));
        tokens.push((token, position));
        if last {
            return tokens;
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        for c in self.text[self.at..self.at + bytes].chars() {
            (self.line, self.column) = if c == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.at += bytes;
    }

    fn skip_spaces_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start().len();
            self.advance(spaces);
            let rest = self.rest();
            let comment =
                if rest.starts_with('#') || rest.starts_with("//") { rest.find('\n').unwrap_or(rest.len()) } else { 0 };
            if spaces + comment == 0 {
                return;
            }
            self.advance(comment);
        }
    }

    fn next(&mut self) -> (Token, Position) {
        self.skip_spaces_and_comments();
        let position = Position { line: self.line, column: self.column };
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return (Token::End, position) };
        let (token, parts) = match first {
            '"' | '`' => self.quoted(first),
            '[' => self.range(),
            '0'..='9' => self.number(),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            '-' => self.minus(),
            c if c.is_alphabetic() || c == '_' => self.word(),
            _ => self.operator(first),
        };
        (token, Position { line: if parts > 1 { 0 } else { position.line }, ..position })
    }

    fn quoted(&mut self, delimiter: char) -> (Token, usize) {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if c == '\n' && delimiter == '"' {
                break;
            }
            if c == delimiter && !escaped {
                let token = match go::unquote(&rest[..=at]) {
                    Some(text) => Token::Text(text),
                    None => Token::Error("invalid char escape".to_owned()),
                };
                self.advance(at + 1);
                return (token, 1);
            }
            escaped = delimiter == '"' && c == '\\' && !escaped;
        }
        (Token::Error("literal not terminated".to_owned()), 1)
    }

    fn range(&mut self) -> (Token, usize) {
        let rest = self.rest();
        let Some(end) = rest.find(']') else {
            return (Token::Error("missing closing ']' in duration".to_owned()), 2);
        };
        match go::parse_prometheus_duration(&rest[1..end]) {
            Ok(range) => {
                self.advance(end + 1);
                (Token::Range(range), 2)
            }
            Err(message) => (Token::Error(message), 2),
        }
    }

    fn number(&mut self) -> (Token, usize) {
        let len = number_len(self.rest());
        if let Some((token, len)) = self.measure(len) {
            self.advance(len);
            return (token, 2);
        }
        let text = self.rest()[..len].to_owned();
        self.advance(len);
        (Token::Number(text), 1)
    }

    /// A number with a unit: a duration, or else a size.
    fn measure(&self, number_len: usize) -> Option<(Token, usize)> {
        let until = |wanted: fn(char) -> bool| {
            let rest = &self.rest()[number_len..];
            number_len + rest.find(|c: char| !(c.is_numeric() || c == '.' || wanted(c))).unwrap_or(rest.len())
        };
        let len = until(|c| matches!(c, 'n' | 'u' | 'µ' | 'm' | 's' | 'h' | 'd' | 'w' | 'y'));
        if len > number_len
            && let Some(duration) = any_duration(&self.rest()[..len])
        {
            return Some((Token::Duration(duration), len));
        }
        let len = until(|c| matches!(c, 'B' | 'i' | 'k' | 'K' | 'M' | 'G' | 'T' | 'P'));
        if len > number_len
            && let Ok(bytes) = go::parse_bytes(&self.rest()[..len])
        {
            return Some((Token::Bytes(bytes), len));
        }
        None
    }

    fn minus(&mut self) -> (Token, usize) {
        let rest = self.rest();
        if let Some(flag) = ["--strict", "--keep-empty"].into_iter().find(|flag| {
            rest.strip_prefix(flag).is_some_and(|after| !after.starts_with(|c: char| c.is_alphabetic() || c == '-'))
        }) {
            self.advance(flag.len());
            return (Token::Flag(flag.to_owned()), 2);
        }
        if let Some((token @ Token::Duration(_), len)) = self.measure(1) {
            self.advance(len);
            return (token, 2);
        }
        self.advance(1);
        (Token::Word("-"), 1)
    }

    fn word(&mut self) -> (Token, usize) {
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let word = &rest[..len];
        let lower = word.to_lowercase();
        self.advance(len);
        if let Some(function) = FUNCTIONS.into_iter().find(|function| *function == lower) {
            return match calls(self.rest()) {
                true => (Token::Function(function), 1),
                false => (Token::Identifier(word.to_owned()), 1),
            };
        }
        match WORDS.into_iter().find(|candidate| *candidate == lower) {
            Some(word) => (Token::Word(word), 1),
            None => (Token::Identifier(word.to_owned()), 1),
        }
    }

    fn operator(&mut self, first: char) -> (Token, usize) {
        let rest = self.rest();
        let known = OPERATORS.into_iter().chain(ARITHMETIC).find(|operator| rest.starts_with(operator));
        match known {
            Some(operator) => {
                self.advance(operator.len());
                (Token::Word(operator), operator.len())
            }
            None => {
                self.advance(first.len_utf8());
                (Token::Identifier(first.to_string()), 1)
            }
        }
    }
}

/// A duration as Prometheus or Go writes it.
fn any_duration(text: &str) -> Option<i64> {
    go::parse_prometheus_duration(text).or_else(|_| go::parse_duration(text)).ok()
}

/// Digits, a fraction, an exponent.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(|b| b.is_ascii_digit()) {
            at += 1;
        }
        at
    };
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at
}

/// Whether a parenthesis follows, or a grouping with one.
fn calls(rest: &str) -> bool {
    let rest = rest.trim_start();
    let lower = |len: usize| rest.get(..len).map(str::to_lowercase);
    rest.starts_with('(')
        || (lower(2).as_deref() == Some("by") && rest[2..].trim_start().starts_with('('))
        || (lower(7).as_deref() == Some("without") && rest[7..].trim_start().starts_with('('))
}
