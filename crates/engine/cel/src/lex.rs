//! Tokens with their places.

use crate::{issue::Issue, syntax::Literal};

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name, reserved words included.
    Ident(String),
    /// A name in backticks, only allowed after a dot and in new objects.
    Escaped(String),
    /// A constant; whole numbers without their sign.
    Literal(Literal),
    /// A whole number too large to be positive; the smallest negative one is allowed.
    SmallestInt,
    /// An operator or a bracket.
    Mark(&'static str),
    /// The end.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The token.
    pub token: Token,
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset behind it.
    pub end: usize,
}

const MARKS: [&str; 30] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}", "=", "&", "|", ";", "@", "#",
];
const KNOWN_MARKS: usize = 24;

/// Cuts an expression into tokens.
pub fn tokens(text: &str) -> Result<Vec<Spot>, Issue> {
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let token = lexer.next()?;
        let done = token == Token::End;
        out.push(Spot { token, start, end: lexer.at });
        if done {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn next(&mut self) -> Result<Token, Issue> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(token) = self.text_literal()? {
            return Ok(token);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.at += len;
            return Ok(match &rest[..len] {
                "true" => Token::Literal(Literal::Bool(true)),
                "false" => Token::Literal(Literal::Bool(false)),
                "null" => Token::Literal(Literal::Null),
                "in" => Token::Mark("in"),
                name => Token::Ident(name.to_owned()),
            });
        }
        let second_is_digit = first.is_ascii() && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if first.is_ascii_digit() || (first == '.' && second_is_digit) {
            return self.number();
        }
        if first == '`' {
            let name = rest[1..].split('`').next().unwrap_or_default();
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
            if rest[1 + name.len()..].starts_with('`') && !name.is_empty() && name.chars().all(allowed) {
                self.at += name.len() + 2;
                return Ok(Token::Escaped(name.to_owned()));
            }
        }
        for mark in &MARKS[..KNOWN_MARKS] {
            if rest.starts_with(mark) {
                self.at += mark.len();
                return Ok(Token::Mark(mark));
            }
        }
        // What stands in quotes runs on to the end of the line where the closing quote is missing.
        let shown = match first {
            '"' | '\'' => rest.split('\n').next().unwrap_or(rest).to_owned(),
            other => other.to_string(),
        };
        let message = format!("Syntax error: token recognition error at: '{shown}'");
        Err(Issue { offset: self.at, message })
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let start = self.at;
        let rest = self.rest();
        let problem = |what: &str| Err(Issue { offset: start, message: format!("invalid {what} literal") });
        if let Some(hex) = rest.strip_prefix("0x") {
            let len = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            if len > 0 {
                self.at += 2 + len;
                let digits = &hex[..len];
                if hex[len..].starts_with(['u', 'U']) {
                    self.at += 1;
                    return match u64::from_str_radix(digits, 16) {
                        Ok(value) => Ok(Token::Literal(Literal::Uint(value))),
                        Err(_) => problem("uint"),
                    };
                }
                return match u64::from_str_radix(digits, 16) {
                    Ok(value) if value == 1 << 63 => Ok(Token::SmallestInt),
                    Ok(value) if value < 1 << 63 => Ok(Token::Literal(Literal::Int(value as i64))),
                    _ => problem("int"),
                };
            }
        }
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let mut len = digits(rest);
        let mut is_double = false;
        if rest[len..].starts_with('.') && digits(&rest[len + 1..]) > 0 {
            is_double = true;
            len += 1 + digits(&rest[len + 1..]);
        }
        if rest[len..].starts_with(['e', 'E']) {
            let tail = &rest[len + 1..];
            let sign = usize::from(tail.starts_with(['+', '-']));
            let exponent = digits(&tail[sign..]);
            if exponent > 0 {
                is_double = true;
                len += 1 + sign + exponent;
            }
        }
        self.at += len;
        let number = &rest[..len];
        if is_double {
            return number.parse().map(|value| Token::Literal(Literal::Double(value))).or_else(|_| problem("double"));
        }
        if rest[len..].starts_with(['u', 'U']) {
            self.at += 1;
            return number.parse().map(|value| Token::Literal(Literal::Uint(value))).or_else(|_| problem("uint"));
        }
        match number.parse::<u64>() {
            Ok(value) if value == 1 << 63 => Ok(Token::SmallestInt),
            Ok(value) if value < 1 << 63 => Ok(Token::Literal(Literal::Int(value as i64))),
            _ => problem("int"),
        }
    }

    /// A text or bytes in any of their spellings.
    fn text_literal(&mut self) -> Result<Option<Token>, Issue> {
        let rest = self.rest();
        let prefix = rest.find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B')).unwrap_or(0);
        let marks = &rest[..prefix];
        let is_bytes = marks.contains(['b', 'B']);
        let is_raw = marks.contains(['r', 'R']);
        if prefix > 2 || (prefix == 2 && !(is_bytes && is_raw)) {
            return Ok(None);
        }
        let body = &rest[prefix..];
        let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)) else {
            return Ok(None);
        };
        let inner = &body[quote.len()..];
        let Some(len) = closing(inner, quote, is_raw) else { return Ok(None) };
        let start = self.at;
        self.at += prefix + len + 2 * quote.len();
        let content = &inner[..len];
        let content = if is_raw { Ok(content.as_bytes().to_vec()) } else { unescape(content, is_bytes) };
        let content = content.map_err(|message| Issue { offset: start, message })?;
        Ok(Some(Token::Literal(if is_bytes {
            Literal::Bytes(content)
        } else {
            let text = String::from_utf8(content)
                .map_err(|_| Issue { offset: start, message: "invalid UTF-8 in a string literal".to_owned() })?;
            Literal::String(text)
        })))
    }
}

/// The length of what stands before the closing quote.
fn closing(text: &str, quote: &str, raw: bool) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Some(at);
        }
        let c = rest.chars().next()?;
        if quote.len() == 1 && (c == '\n' || c == '\r') {
            return None;
        }
        at += c.len_utf8();
        if c == '\\' && !raw {
            at += text[at..].chars().next()?.len_utf8();
        }
    }
    None
}

fn unescape(text: &str, bytes: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    // Line ends are one character, however they were written.
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
            out.push(b'\n');
            continue;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next().ok_or("unable to unescape string, found '\\' as last character")?;
        rest = &rest[escape.len_utf8()..];
        let simple = match escape {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' | '\'' | '"' | '`' | '?' => Some(escape as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            continue;
        }
        let (digits, radix) = match escape {
            'x' | 'X' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => (3, 8),
            other => return Err(format!("unable to unescape string: \\{other}")),
        };
        if radix == 8 {
            rest = &text[text.len() - rest.len() - 1..];
        }
        let number = rest.get(..digits).ok_or("unable to unescape string")?;
        let value = u32::from_str_radix(number, radix).map_err(|_| "unable to unescape string".to_owned())?;
        rest = &rest[digits..];
        if bytes && matches!(escape, 'u' | 'U') {
            return Err("unable to unescape string".to_owned());
        }
        if bytes {
            out.push(value as u8);
        } else {
            let c = char::from_u32(value).ok_or("unable to unescape string")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(out)
}
