//! Text to tokens. What a character means depends on where it stands: in braces, in brackets, in a series' values.

use super::ast::BinaryOp;
use super::token::{Kind, Token, Word, keyword, unexpected_character};
use crate::quote::quote;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Statements,
    Brackets,
    Values,
    Histogram,
    Buckets,
    /// After an error or the end.
    Done,
}

const DESCRIPTORS: [&str; 11] = [
    "sum",
    "count",
    "schema",
    "offset",
    "n_offset",
    "buckets",
    "n_buckets",
    "z_bucket",
    "z_bucket_w",
    "custom_values",
    "counter_reset_hint",
];
const RESET_HINTS: [&str; 4] = ["unknown", "reset", "not_reset", "gauge"];

pub struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    state: State,
    /// Whether this is a series with values, as in test scripts.
    series: bool,
    in_braces: bool,
    in_brackets: bool,
    had_colon: bool,
    had_duration: bool,
    open_parens: usize,
}

type Lexed = Result<Option<Kind>, String>;

impl<'a> Lexer<'a> {
    pub fn new(input: &'a str, series: bool) -> Self {
        Self {
            input,
            position: 0,
            start: 0,
            state: State::Statements,
            series,
            in_braces: false,
            in_brackets: false,
            had_colon: false,
            had_duration: false,
            open_parens: 0,
        }
    }

    /// The next token that is no comment.
    pub fn next(&mut self) -> Token {
        loop {
            if self.state == State::Done {
                return Token { kind: Kind::Eof, text: String::new(), start: self.start.min(self.input.len()) };
            }
            match self.step() {
                Ok(Some(Kind::Comment)) => self.start = self.position,
                Ok(Some(kind)) => {
                    let text = self.input[self.start..self.position].to_owned();
                    let token = Token { kind, text, start: self.start };
                    self.start = self.position;
                    if kind == Kind::Eof {
                        self.state = State::Done;
                    }
                    return token;
                }
                Ok(None) => self.start = self.position,
                Err(message) => {
                    self.state = State::Done;
                    return Token { kind: Kind::Error, text: message, start: self.start };
                }
            }
        }
    }

    fn step(&mut self) -> Lexed {
        match self.state {
            State::Statements if self.in_braces => self.braces(),
            State::Statements => self.statement(),
            State::Brackets => self.brackets(),
            State::Values => self.values(),
            State::Histogram => self.histogram(),
            State::Buckets => self.buckets(),
            State::Done => Ok(Some(Kind::Eof)),
        }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, accepted: impl Fn(char) -> bool) -> bool {
        match self.peek() {
            Some(c) if accepted(c) => {
                self.position += c.len_utf8();
                true
            }
            _ => false,
        }
    }

    fn accept_while(&mut self, accepted: impl Fn(char) -> bool) {
        while self.accept(&accepted) {}
    }

    fn text(&self) -> &'a str {
        &self.input[self.start..self.position]
    }

    fn skip_spaces(&mut self) -> Lexed {
        self.accept_while(is_space);
        Ok(None)
    }

    fn comment(&mut self) -> Lexed {
        self.accept_while(|c| c != '\n' && c != '\r');
        Ok(Some(Kind::Comment))
    }

    /// `kind`, or `longer` when `next` follows.
    fn or_with(&mut self, next: char, longer: Kind, kind: Kind) -> Lexed {
        Ok(Some(if self.accept(|c| c == next) { longer } else { kind }))
    }

    fn statement(&mut self) -> Lexed {
        if self.rest().starts_with('#') {
            return self.comment();
        }
        let Some(c) = self.bump() else {
            return match () {
                () if self.open_parens > 0 => Err("unclosed left parenthesis".into()),
                () if self.in_brackets => Err("unclosed left bracket".into()),
                () => Ok(Some(Kind::Eof)),
            };
        };
        match c {
            ',' => Ok(Some(Kind::Comma)),
            c if is_space(c) => self.skip_spaces(),
            '*' => Ok(Some(Kind::Op(BinaryOp::Mul))),
            '/' => Ok(Some(Kind::Op(BinaryOp::Div))),
            '%' => Ok(Some(Kind::Op(BinaryOp::Mod))),
            '+' => Ok(Some(Kind::Op(BinaryOp::Add))),
            '-' => Ok(Some(Kind::Op(BinaryOp::Sub))),
            '^' => Ok(Some(Kind::Op(BinaryOp::Pow))),
            '=' if self.peek() == Some('~') => Err(unexpected_character("unexpected character after '='", Some('~'))),
            '=' => self.or_with('=', Kind::Op(BinaryOp::Equal), Kind::Equal),
            '!' => match self.bump() {
                Some('=') => Ok(Some(Kind::Op(BinaryOp::NotEqual))),
                other => Err(unexpected_character("unexpected character after '!'", other)),
            },
            '<' if self.accept(|c| c == '/') => Ok(Some(Kind::Op(BinaryOp::TrimUpper))),
            '<' => self.or_with('=', Kind::Op(BinaryOp::LessEqual), Kind::Op(BinaryOp::Less)),
            '>' if self.accept(|c| c == '/') => Ok(Some(Kind::Op(BinaryOp::TrimLower))),
            '>' => self.or_with('=', Kind::Op(BinaryOp::GreaterEqual), Kind::Op(BinaryOp::Greater)),
            c if c.is_ascii_digit() || (c == '.' && self.digit_follows()) => {
                self.position = self.start;
                self.number_or_duration()
            }
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            c if is_alpha(c) || c == ':' => self.word(c),
            '(' => {
                self.open_parens += 1;
                Ok(Some(Kind::LeftParen))
            }
            ')' => match self.open_parens.checked_sub(1) {
                Some(open) => {
                    self.open_parens = open;
                    Ok(Some(Kind::RightParen))
                }
                None => Err("unexpected right parenthesis ')'".into()),
            },
            '{' => {
                self.in_braces = true;
                Ok(Some(Kind::LeftBrace))
            }
            '[' if self.in_brackets => Err("unexpected left bracket '['".into()),
            '[' => {
                self.had_colon = false;
                self.in_brackets = true;
                self.state = State::Brackets;
                Ok(Some(Kind::LeftBracket))
            }
            ']' if !self.in_brackets => Err("unexpected right bracket ']'".into()),
            ']' => {
                self.in_brackets = false;
                Ok(Some(Kind::RightBracket))
            }
            '@' => Ok(Some(Kind::At)),
            c => Err(unexpected_character("unexpected character", Some(c))),
        }
    }

    fn digit_follows(&self) -> bool {
        self.peek().is_some_and(|c| c.is_ascii_digit())
    }

    /// A word outside of braces; in brackets there are only colons and the words of duration expressions.
    fn word(&mut self, first: char) -> Lexed {
        if self.in_brackets {
            if first == ':' {
                if std::mem::replace(&mut self.had_colon, true) {
                    return Err("unexpected colon ':'".into());
                }
                return Ok(Some(Kind::Colon));
            }
            if let Some(kind) = self.duration_word() {
                return Ok(Some(kind));
            }
            return Err(format!("{}, expected ':'", unexpected_character("unexpected character", Some(first))));
        }
        self.accept_while(|c| is_alphanumeric(c) || c == ':');
        let word = self.text();
        let fill = Kind::Word(Word::Fill);
        let kind = match keyword(word) {
            // Metrics may be called like this.
            Some(kind) if [fill, Kind::Word(Word::FillLeft), Kind::Word(Word::FillRight)].contains(&kind) => {
                if self.rest().trim_start_matches(is_space).starts_with('(') { kind } else { Kind::Identifier }
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        if self.series && self.peek() != Some('{') {
            self.state = State::Values;
        }
        Ok(Some(kind))
    }

    fn duration_word(&mut self) -> Option<Kind> {
        self.accept_while(is_alpha);
        match keyword(self.text())? {
            kind @ Kind::Word(Word::Step | Word::Range | Word::MaxOf | Word::MinOf) => Some(kind),
            _ => None,
        }
    }

    fn brackets(&mut self) -> Lexed {
        let Some(c) = self.bump() else { return Err("unexpected end of input in duration expression".into()) };
        match c {
            ']' => {
                self.in_brackets = false;
                self.had_colon = false;
                self.state = State::Statements;
                Ok(Some(Kind::RightBracket))
            }
            ':' if !self.had_duration => Err("unexpected colon before duration in duration expression".into()),
            ':' if self.had_colon => Err("unexpected repeated colon in duration expression".into()),
            ':' => {
                self.had_colon = true;
                Ok(Some(Kind::Colon))
            }
            '(' => {
                self.open_parens += 1;
                Ok(Some(Kind::LeftParen))
            }
            ')' => match self.open_parens.checked_sub(1) {
                Some(open) => {
                    self.open_parens = open;
                    Ok(Some(Kind::RightParen))
                }
                None => Err("unexpected right parenthesis ')'".into()),
            },
            c if is_space(c) => self.skip_spaces(),
            '+' => Ok(Some(Kind::Op(BinaryOp::Add))),
            '-' => Ok(Some(Kind::Op(BinaryOp::Sub))),
            '*' => Ok(Some(Kind::Op(BinaryOp::Mul))),
            '/' => Ok(Some(Kind::Op(BinaryOp::Div))),
            '%' => Ok(Some(Kind::Op(BinaryOp::Mod))),
            '^' => Ok(Some(Kind::Op(BinaryOp::Pow))),
            ',' => Ok(Some(Kind::Comma)),
            c if matches!(c.to_ascii_lowercase(), 's' | 'r' | 'm') => match self.duration_word() {
                Some(kind) => Ok(Some(kind)),
                None => Err(unexpected_character("unexpected character in duration expression", Some(c))),
            },
            c if c.is_ascii_digit() || (c == '.' && self.digit_follows()) => {
                self.position = self.start;
                self.had_duration = true;
                self.state = State::Statements;
                self.number_or_duration()
            }
            c => Err(unexpected_character("unexpected character in duration expression", Some(c))),
        }
    }

    fn braces(&mut self) -> Lexed {
        if self.rest().starts_with('#') {
            return self.comment();
        }
        let Some(c) = self.bump() else { return Err("unexpected end of input inside braces".into()) };
        match c {
            c if is_space(c) => self.skip_spaces(),
            c if is_alpha(c) => {
                self.accept_while(is_alphanumeric);
                Ok(Some(Kind::Identifier))
            }
            ',' => Ok(Some(Kind::Comma)),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '=' => self.or_with('~', Kind::EqualRegex, Kind::Equal),
            '!' => match self.bump() {
                Some('~') => Ok(Some(Kind::NotRegex)),
                Some('=') => Ok(Some(Kind::Op(BinaryOp::NotEqual))),
                other => Err(unexpected_character("unexpected character after '!' inside braces", other)),
            },
            '{' => Err("unexpected left brace '{'".into()),
            '}' => {
                self.in_braces = false;
                if self.series {
                    self.state = State::Values;
                }
                Ok(Some(Kind::RightBrace))
            }
            c => Err(unexpected_character("unexpected character inside braces", Some(c))),
        }
    }

    fn string(&mut self, quote: char) -> Lexed {
        loop {
            match self.bump() {
                Some('\\') => self.escape(quote)?,
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == quote => return Ok(Some(Kind::String)),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Lexed {
        loop {
            match self.bump() {
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                None => return Err("unterminated raw string".into()),
                Some('`') => return Ok(Some(Kind::String)),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        let (digits, radix, most) = match self.bump() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => return Ok(()),
            Some(c) if c == quote => return Ok(()),
            Some('0'..='7') => {
                self.position -= 1;
                (3, 8, 255)
            }
            Some('x') => (2, 16, 255),
            Some('u') => (4, 16, 0x0010_ffff),
            Some('U') => (8, 16, 0x0010_ffff),
            None => return Err("escape sequence not terminated".into()),
            Some(c) => {
                return Err(format!("unknown escape sequence U+{:04X} {}", c as u32, crate::quote::quote_char(c)));
            }
        };
        let mut value = 0u32;
        for _ in 0..digits {
            let c = self.bump().ok_or("escape sequence not terminated")?;
            let digit = c.to_digit(radix).ok_or_else(|| {
                format!("illegal character U+{:04X} {} in escape sequence", c as u32, crate::quote::quote_char(c))
            })?;
            value = value.wrapping_mul(radix).wrapping_add(digit);
        }
        if value > most || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".into());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Lexed {
        if self.scan_number() {
            return Ok(Some(Kind::Number));
        }
        if self.scan_rest_of_duration() {
            return Ok(Some(Kind::Duration));
        }
        Err(format!("bad number or duration syntax: {}", quote(self.text())))
    }

    fn scan_rest_of_duration(&mut self) -> bool {
        let is_digit = |c: char| c.is_ascii_digit();
        if !self.accept(|c| "smhdwy".contains(c)) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(is_digit) {
            self.accept_while(is_digit);
            if !self.accept(|c| "smhdw".contains(c)) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        // A character that spoils it belongs to what is shown.
        !self.accept(is_alphanumeric)
    }

    fn number(&mut self) -> Lexed {
        if self.scan_number() {
            Ok(Some(Kind::Number))
        } else {
            Err(format!("bad number syntax: {}", quote(self.text())))
        }
    }

    /// Scans what looks like a number; whether it is one, the parser finds out.
    fn scan_number(&mut self) -> bool {
        let begin = self.position;
        let mut hexadecimal = false;
        if !self.series && self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X')) {
            self.accept(|c| c == '_');
            hexadecimal = true;
        }
        let is_digit = move |c: char| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut had_dot, mut had_exponent) = (false, false);
        while let Some(c) = self.peek() {
            match c {
                '.' => {
                    self.bump();
                    if std::mem::replace(&mut had_dot, true) || self.accept(|c| matches!(c, '_' | '.')) || hexadecimal {
                        return false;
                    }
                }
                'e' | 'E' if had_exponent => {
                    self.bump();
                    return false;
                }
                'e' | 'E' => {
                    self.bump();
                    had_exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.bump();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                c if is_digit(c) => self.accept_while(is_digit),
                _ => break,
            }
        }
        if self.position == begin {
            return false;
        }
        match self.peek() {
            Some('x') if self.series => true,
            Some(c) => !is_alphanumeric(c),
            None => true,
        }
    }

    fn values(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            self.state = State::Statements;
            return self.statement();
        };
        match c {
            '{' if self.accept(|c| c == '{') => {
                self.state = State::Histogram;
                Ok(Some(Kind::OpenHistogram))
            }
            c if is_space(c) => {
                self.accept_while(is_space);
                Ok(Some(Kind::Space))
            }
            '+' => Ok(Some(Kind::Op(BinaryOp::Add))),
            '-' => Ok(Some(Kind::Op(BinaryOp::Sub))),
            'x' => Ok(Some(Kind::Times)),
            '_' => Ok(Some(Kind::Blank)),
            c if c.is_ascii_digit() || (c == '.' && self.digit_follows()) => {
                self.position = self.start;
                self.number()
            }
            c if is_alpha(c) => {
                self.accept_while(|c| is_alphanumeric(c) || c == ':');
                Ok(Some(keyword(self.text()).unwrap_or(Kind::Identifier)))
            }
            c => Err(unexpected_character("unexpected character in series sequence", Some(c))),
        }
    }

    fn histogram(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            return Err(unexpected_character("histogram description incomplete unexpected", None));
        };
        match c {
            c if is_space(c) => {
                self.accept_while(is_space);
                Ok(Some(Kind::Space))
            }
            c if is_alpha(c) => self.descriptor(),
            ':' => Ok(Some(Kind::Colon)),
            '-' => Ok(Some(Kind::Op(BinaryOp::Sub))),
            c if c.is_ascii_digit() => {
                self.position = self.start;
                self.number()
            }
            '[' => {
                self.state = State::Buckets;
                Ok(Some(Kind::LeftBracket))
            }
            '}' if self.accept(|c| c == '}') => {
                self.state = State::Values;
                Ok(Some(Kind::CloseHistogram))
            }
            c => Err(unexpected_character("histogram description incomplete unexpected", Some(c))),
        }
    }

    fn descriptor(&mut self) -> Lexed {
        self.accept_while(is_alpha);
        let word = self.text();
        let lower = word.to_ascii_lowercase();
        if DESCRIPTORS.contains(&lower.as_str()) {
            return match self.peek() {
                Some(':') => Ok(Some(Kind::Descriptor)),
                _ => Err("missing `:` for histogram descriptor".into()),
            };
        }
        if keyword(word) == Some(Kind::Number) {
            return Ok(Some(Kind::Number));
        }
        if RESET_HINTS.contains(&lower.as_str()) {
            return Ok(Some(Kind::ResetHint));
        }
        Err(format!("bad histogram descriptor found: {}", quote(word)))
    }

    fn buckets(&mut self) -> Lexed {
        let Some(c) = self.bump() else {
            return Err(unexpected_character("invalid character in buckets description", None));
        };
        match c {
            c if is_space(c) => {
                self.accept_while(is_space);
                Ok(Some(Kind::Space))
            }
            '-' => Ok(Some(Kind::Op(BinaryOp::Sub))),
            c if c.is_ascii_digit() => {
                self.position = self.start;
                self.number()
            }
            ']' => {
                self.state = State::Histogram;
                Ok(Some(Kind::RightBracket))
            }
            c if is_alpha(c) => {
                self.accept_while(is_alpha);
                match keyword(self.text()) {
                    Some(Kind::Number) => Ok(Some(Kind::Number)),
                    _ => Err(unexpected_character("invalid character in buckets description", Some(c))),
                }
            }
            c => Err(unexpected_character("invalid character in buckets description", Some(c))),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
