//! Text to tokens.

use std::ops::Range;

use crate::quote::{is_print, quote};

pub(crate) const LEFT: &str = "{{";
pub(crate) const RIGHT: &str = "}}";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Error,
    Bool,
    /// Printable ASCII with no meaning of its own.
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Complex,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl TokenKind {
    fn is_keyword(self) -> bool {
        matches!(
            self,
            TokenKind::Block
                | TokenKind::Break
                | TokenKind::Continue
                | TokenKind::Dot
                | TokenKind::Define
                | TokenKind::Else
                | TokenKind::End
                | TokenKind::If
                | TokenKind::Nil
                | TokenKind::Range
                | TokenKind::Template
                | TokenKind::With
        )
    }
}

fn keyword(word: &str) -> Option<TokenKind> {
    Some(match word {
        "block" => TokenKind::Block,
        "break" => TokenKind::Break,
        "continue" => TokenKind::Continue,
        "define" => TokenKind::Define,
        "else" => TokenKind::Else,
        "end" => TokenKind::End,
        "if" => TokenKind::If,
        "range" => TokenKind::Range,
        "nil" => TokenKind::Nil,
        "template" => TokenKind::Template,
        "with" => TokenKind::With,
        _ => return None,
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub kind: TokenKind,
    /// Where it starts, in bytes.
    pub position: usize,
    pub line: u32,
    text: Range<usize>,
    /// What an error token says.
    message: Option<String>,
}

impl Token {
    pub fn none() -> Token {
        Token { kind: TokenKind::Eof, position: 0, line: 0, text: 0..0, message: None }
    }

    pub fn text<'i>(&self, input: &'i str) -> &'i str {
        &input[self.text.clone()]
    }

    /// The token as error messages show it.
    pub fn describe(&self, input: &str) -> String {
        let text = self.text(input);
        match self.kind {
            TokenKind::Eof => "EOF".to_owned(),
            TokenKind::Error => self.message.clone().unwrap_or_default(),
            kind if kind.is_keyword() => format!("<{text}>"),
            _ if text.len() > 10 => {
                let end = text.char_indices().nth(10).map_or(text.len(), |(index, _)| index);
                format!("{}...", quote(&text.as_bytes()[..end]))
            }
            _ => quote(text.as_bytes()),
        }
    }
}

pub(crate) struct Lexer<'i> {
    input: &'i str,
    position: usize,
    start: usize,
    /// How many lines begin before `counted`.
    line: u32,
    counted: usize,
    paren_depth: i32,
    inside_action: bool,
}

impl<'i> Lexer<'i> {
    pub fn new(input: &'i str) -> Lexer<'i> {
        Lexer { input, position: 0, start: 0, line: 1, counted: 0, paren_depth: 0, inside_action: false }
    }

    pub fn next_token(&mut self) -> Token {
        if self.inside_action { self.inside() } else { self.text() }
    }

    fn rest(&self) -> &'i str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn ignore(&mut self) {
        self.start = self.position;
    }

    fn emit(&mut self, kind: TokenKind) -> Token {
        let token = Token {
            kind,
            position: self.start,
            line: self.line_at_start(),
            text: self.start..self.position,
            message: None,
        };
        self.start = self.position;
        token
    }

    fn line_at_start(&mut self) -> u32 {
        let between = &self.input.as_bytes()[self.counted..self.start];
        let newlines = between.iter().filter(|byte| **byte == b'\n').count();
        self.line += u32::try_from(newlines).unwrap_or(u32::MAX);
        self.counted = self.start;
        self.line
    }

    fn error(&mut self, message: impl Into<String>) -> Token {
        let mut token = self.emit(TokenKind::Error);
        token.message = Some(message.into());
        token
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(found) = self.rest().find(LEFT) else {
                self.position = self.input.len();
                let kind = if self.position > self.start { TokenKind::Text } else { TokenKind::Eof };
                return self.emit(kind);
            };
            let delimiter = self.position + found;
            if found > 0 {
                let text = &self.input[self.start..delimiter];
                let trims = has_left_marker(&self.input[delimiter + LEFT.len()..]);
                let kept = if trims { text.trim_end_matches(SPACES) } else { text };
                self.position = self.start + kept.len();
                let token = self.emit(TokenKind::Text);
                self.position = delimiter;
                self.ignore();
                if !kept.is_empty() {
                    return token;
                }
            }
            match self.left_delimiter() {
                Some(token) => return token,
                None => continue,
            }
        }
    }

    /// An action's start, or nothing after a comment.
    fn left_delimiter(&mut self) -> Option<Token> {
        self.position += LEFT.len();
        let marker = if has_left_marker(self.rest()) { 2 } else { 0 };
        if self.input[self.position + marker..].starts_with("/*") {
            self.position += marker;
            self.ignore();
            return self.comment().err();
        }
        let token = self.emit(TokenKind::LeftDelim);
        self.inside_action = true;
        self.position += marker;
        self.ignore();
        self.paren_depth = 0;
        Some(token)
    }

    fn comment(&mut self) -> Result<(), Token> {
        self.position += 2;
        let Some(end) = self.rest().find("*/") else { return Err(self.error("unclosed comment")) };
        self.position += end + 2;
        let (delimiter, trims) = self.at_right_delimiter();
        if !delimiter {
            return Err(self.error("comment ends before closing delimiter"));
        }
        self.skip_right_delimiter(trims);
        Ok(())
    }

    fn skip_right_delimiter(&mut self, trims: bool) {
        self.position += RIGHT.len() + if trims { 2 } else { 0 };
        if trims {
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(SPACES).len();
        }
        self.ignore();
    }

    /// Whether a right delimiter is here, and whether it trims what follows.
    fn at_right_delimiter(&self) -> (bool, bool) {
        let rest = self.rest();
        if has_right_marker(rest) && rest[2..].starts_with(RIGHT) {
            return (true, true);
        }
        (rest.starts_with(RIGHT), false)
    }

    fn right_delimiter(&mut self) -> Token {
        let (_, trims) = self.at_right_delimiter();
        if trims {
            self.position += 2;
            self.ignore();
        }
        self.position += RIGHT.len();
        let token = self.emit(TokenKind::RightDelim);
        if trims {
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(SPACES).len();
            self.ignore();
        }
        self.inside_action = false;
        token
    }

    fn inside(&mut self) -> Token {
        if self.at_right_delimiter().0 {
            if self.paren_depth == 0 {
                return self.right_delimiter();
            }
            return self.error("unclosed left paren");
        }
        let Some(character) = self.advance() else { return self.error("unclosed action") };
        match character {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.emit(TokenKind::Assign),
            ':' if self.advance() == Some('=') => self.emit(TokenKind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', TokenKind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' => self.field_or_variable(TokenKind::Variable),
            '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) && !self.rest().is_empty() => {
                self.field_or_variable(TokenKind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position -= 1;
                self.number()
            }
            '(' => {
                self.paren_depth += 1;
                self.emit(TokenKind::LeftParen)
            }
            ')' => {
                self.paren_depth -= 1;
                if self.paren_depth < 0 {
                    self.error("unexpected right paren")
                } else {
                    self.emit(TokenKind::RightParen)
                }
            }
            _ if is_word(character) => self.identifier(),
            _ if character.is_ascii() && is_print(character) => self.emit(TokenKind::Char),
            _ => self.error(format!("unrecognized character in action: {}", unicode(Some(character)))),
        }
    }

    /// Spaces, one of which is read; the last may belong to a trimming delimiter.
    fn space(&mut self) -> Token {
        let mut count = 1;
        while self.peek().is_some_and(|next| SPACES.contains(&next)) {
            self.position += 1;
            count += 1;
        }
        let last = &self.input[self.position - 1..];
        if has_right_marker(last) && last[2..].starts_with(RIGHT) {
            self.position -= 1;
            if count == 1 {
                return self.right_delimiter();
            }
        }
        self.emit(TokenKind::Space)
    }

    fn identifier(&mut self) -> Token {
        self.skip_word();
        let word = &self.input[self.start..self.position];
        if !self.at_terminator() {
            return self.bad_character();
        }
        let kind = match word {
            "true" | "false" => TokenKind::Bool,
            _ => keyword(word).unwrap_or(TokenKind::Identifier),
        };
        self.emit(kind)
    }

    fn field_or_variable(&mut self, kind: TokenKind) -> Token {
        if self.at_terminator() {
            return self.emit(if kind == TokenKind::Variable { kind } else { TokenKind::Dot });
        }
        self.skip_word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind)
    }

    fn skip_word(&mut self) {
        while self.peek().is_some_and(is_word) {
            self.advance();
        }
    }

    fn bad_character(&mut self) -> Token {
        self.error(format!("bad character {}", unicode(self.peek())))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, mark: char, kind: TokenKind, unterminated: &str) -> Token {
        loop {
            match self.advance() {
                Some('\\') if !matches!(self.advance(), None | Some('\n')) => {}
                None | Some('\n' | '\\') => return self.error(unterminated),
                Some(character) if character == mark => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Token {
        match self.rest().find('`') {
            Some(end) => {
                self.position += end + 1;
                self.emit(TokenKind::RawString)
            }
            None => {
                self.position = self.input.len();
                self.error("unterminated raw quoted string")
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.input[..self.position].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(TokenKind::Complex);
        }
        self.emit(TokenKind::Number)
    }

    fn bad_number(&mut self) -> Token {
        let text = quote(&self.input.as_bytes()[self.start..self.position]);
        self.error(format!("bad number syntax: {text}"))
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().is_some_and(|next| valid.contains(next));
        if accepted {
            self.position += 1;
        }
        accepted
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits.len() == 11 && self.accept("eE") || digits.len() == 23 && self.accept("pP") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_word) {
            self.advance();
            return false;
        }
        true
    }
}

fn has_left_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', b' ' | b'\t' | b'\r' | b'\n', ..])
}

fn has_right_marker(text: &str) -> bool {
    matches!(text.as_bytes(), [b' ' | b'\t' | b'\r' | b'\n', b'-', ..])
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// `%#U`, with Go's -1 for the end of the text.
fn unicode(character: Option<char>) -> String {
    match character {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(character) if is_print(character) => format!("U+{:04X} '{character}'", u32::from(character)),
        Some(character) => format!("U+{:04X}", u32::from(character)),
    }
}
