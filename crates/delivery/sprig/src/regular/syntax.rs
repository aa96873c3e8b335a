//! From Go's syntax of regular expressions to that of the `regex` crate. They are near relatives; what differs is what
//! `\w`, `\d`, `\s` and `\b` mean (ASCII in Go), classes within classes, octal escapes, `\Q…\E`, braces that repeat
//! nothing, and what is refused.

use std::fmt::Write as _;

/// More repetitions than this are refused by Go.
const MOST_REPETITIONS: u32 = 1000;

pub(super) fn translate(expression: &str) -> Result<String, String> {
    let mut translator =
        Translator { whole: expression, rest: expression, out: String::new(), depth: 0, last: Last::Nothing };
    while !translator.rest.is_empty() {
        translator.next()?;
    }
    match translator.depth {
        0 => Ok(translator.out),
        _ => Err(translator.refuse("missing closing )", expression)),
    }
}

/// What stands before the place read next, as far as repetitions care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Atom,
    Repetition,
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    depth: usize,
    last: Last,
}

impl<'a> Translator<'a> {
    fn refuse(&self, what: &str, part: &str) -> String {
        format!("error parsing regexp: {what}: `{part}`")
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn take_char(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.last = Last::Atom;
    }

    fn next(&mut self) -> Result<(), String> {
        let Some(char) = self.rest.chars().next() else { return Ok(()) };
        match char {
            '\\' => return self.escape(),
            '[' => return self.class(),
            '(' => return self.group(),
            '{' => {
                if let Some(length) = self.braces()? {
                    return self.repetition(length);
                }
            }
            '*' | '+' | '?' => return self.repetition(1),
            _ => {}
        }
        self.take(char.len_utf8());
        match char {
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| self.refuse("unexpected )", self.whole))?;
                self.atom(")");
            }
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
            }
            '.' | '^' | '$' => self.atom(char.encode_utf8(&mut [0; 4])),
            char => {
                push_literal(&mut self.out, char);
                self.last = Last::Atom;
            }
        }
        Ok(())
    }

    /// `*`, `+`, `?` or braces, with the `?` that makes them lazy.
    fn repetition(&mut self, length: usize) -> Result<(), String> {
        let start = self.rest;
        let operator = self.take(length);
        match self.last {
            Last::Nothing => return Err(self.refuse("missing argument to repetition operator", operator)),
            Last::Repetition => {
                let before = self.whole.len() - start.len();
                let from = self.whole[..before].rfind(['*', '+', '?', '{']).unwrap_or(before);
                let both = &self.whole[from..before + length];
                return Err(self.refuse("invalid nested repetition operator", both));
            }
            Last::Atom => {}
        }
        self.out.push_str(operator);
        if self.rest.starts_with('?') {
            self.take(1);
            self.out.push('?');
        }
        self.last = Last::Repetition;
        Ok(())
    }

    /// The length of `{2}`, `{2,}` or `{2,3}`; braces around anything else are literal.
    fn braces(&self) -> Result<Option<usize>, String> {
        let Some(end) = self.rest.find('}') else { return Ok(None) };
        let (least, most) = match self.rest[1..end].split_once(',') {
            Some((least, most)) => (least, Some(most)),
            None => (&self.rest[1..end], None),
        };
        let is_number = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'))
        };
        if !is_number(least) || most.is_some_and(|most| !most.is_empty() && !is_number(most)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let least = number(least);
        let most = most.map_or(least, |most| if most.is_empty() { least } else { number(most) });
        if least > MOST_REPETITIONS || most > MOST_REPETITIONS || least > most {
            return Err(self.refuse("invalid repeat count", &self.rest[..=end]));
        }
        Ok(Some(end + 1))
    }

    fn group(&mut self) -> Result<(), String> {
        let start = self.rest;
        if !start.starts_with("(?") {
            self.take(1);
            self.open("(");
            return Ok(());
        }
        if start.starts_with("(?P<") || start.starts_with("(?<") {
            let Some(end) = start.find('>') else {
                return Err(self.refuse("invalid named capture", start));
            };
            let name_from = start.find('<').map_or(0, |at| at + 1);
            let name = &start[name_from..end];
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(self.refuse("invalid named capture", &start[..=end]));
            }
            self.take(end + 1);
            self.open(&format!("(?P<{name}>"));
            return Ok(());
        }
        let end = start.find([':', ')']);
        let flags = end.map(|end| &start[2..end]);
        let are_flags = flags.is_some_and(|flags| {
            flags.bytes().all(|byte| b"imsU-".contains(&byte))
                && flags.matches('-').count() <= 1
                && !flags.ends_with('-')
        });
        let (Some(end), true) = (end, are_flags) else {
            let shown = start.char_indices().nth(3).map_or(start, |(at, _)| &start[..at]);
            return Err(self.refuse("invalid or unsupported Perl syntax", shown));
        };
        let text = self.take(end + 1);
        if text.ends_with(':') {
            self.open(text);
        } else if text.len() > 3 {
            self.out.push_str(text);
        }
        Ok(())
    }

    fn open(&mut self, text: &str) {
        self.out.push_str(text);
        self.depth += 1;
        self.last = Last::Nothing;
    }

    fn escape(&mut self) -> Result<(), String> {
        let start = self.rest;
        if let Some(body) = start.strip_prefix(r"\Q") {
            let (literal, after) = body.split_once(r"\E").unwrap_or((body, ""));
            self.rest = after;
            for char in literal.chars() {
                push_literal(&mut self.out, char);
                self.last = Last::Atom;
            }
            return Ok(());
        }
        let translated = match start[1..].chars().next() {
            Some('b') => Some(r"(?-u:\b)"),
            Some('B') => Some(r"(?-u:\B)"),
            Some('A') => Some(r"\A"),
            Some('z') => Some(r"\z"),
            Some('C') => Some("(?s-u:.)"),
            Some(class) => perl_class(class),
            None => None,
        };
        if let Some(translated) = translated {
            self.take(2);
            self.atom(translated);
            return Ok(());
        }
        if let Some(class) = self.unicode_class()? {
            self.atom(&class);
            return Ok(());
        }
        let char = self.escaped_char()?;
        push_literal(&mut self.out, char);
        self.last = Last::Atom;
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\P…`, `\p{^…}`.
    fn unicode_class(&mut self) -> Result<Option<String>, String> {
        let start = self.rest;
        let Some(letter @ ('p' | 'P')) = start[1..].chars().next() else { return Ok(None) };
        let (name, length) = match start[2..].chars().next() {
            Some('{') => match start.find('}') {
                Some(end) => (&start[3..end], end + 1),
                None => return Err(self.refuse("invalid character class range", start)),
            },
            Some(char) => (&start[2..2 + char.len_utf8()], 2 + char.len_utf8()),
            None => return Err(self.refuse("invalid character class range", start)),
        };
        self.take(length);
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, letter == 'p'),
            None => (name, letter == 'P'),
        };
        if name == "Any" {
            return Ok(Some(if negated { r"[^\x{0}-\x{10FFFF}]" } else { r"[\x{0}-\x{10FFFF}]" }.to_owned()));
        }
        Ok(Some(format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' })))
    }

    /// An escape that stands for one character.
    fn escaped_char(&mut self) -> Result<char, String> {
        let start = self.rest;
        self.take(1);
        let Some(char) = self.take_char() else {
            return Err(self.refuse("trailing backslash at end of expression", ""));
        };
        let invalid = |translator: &Self| {
            let length = start.len() - translator.rest.len();
            translator.refuse("invalid escape sequence", &start[..length])
        };
        let code = match char {
            'a' => 7,
            'f' => 12,
            't' => 9,
            'n' => 10,
            'r' => 13,
            'v' => 11,
            '0' => self.octal(0, 2),
            '1'..='7' if self.rest.starts_with(|next: char| next.is_digit(8)) => {
                self.octal(char.to_digit(8).unwrap_or_default(), 2)
            }
            'x' => self.hexadecimal().ok_or_else(|| invalid(self))?,
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => u32::from(char),
            _ => return Err(invalid(self)),
        };
        char::from_u32(code).ok_or_else(|| invalid(self))
    }

    fn octal(&mut self, first: u32, more: usize) -> u32 {
        let mut value = first;
        for _ in 0..more {
            let Some(digit) = self.rest.chars().next().and_then(|char| char.to_digit(8)) else { break };
            self.take(1);
            value = value * 8 + digit;
        }
        value
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = if self.rest.starts_with('{') {
            let end = self.rest.find('}')?;
            let digits = &self.rest[1..end];
            self.take(end + 1);
            digits
        } else {
            let digits = self.rest.get(..2)?;
            self.take(2);
            digits
        };
        let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if are_digits { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    /// A class in brackets; brackets within it are literal unless they hold `:name:`.
    fn class(&mut self) -> Result<(), String> {
        let start = self.rest;
        self.take(1);
        let mut class = String::from("[");
        if self.rest.starts_with('^') {
            class.push_str(self.take(1));
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            if self.rest.is_empty() {
                return Err(self.refuse("missing closing ]", start));
            }
            first = false;
            self.class_item(&mut class)?;
        }
        self.take(1);
        class.push(']');
        self.atom(&class);
        Ok(())
    }

    fn class_item(&mut self, class: &mut String) -> Result<(), String> {
        let start = self.rest;
        if start.starts_with("[:")
            && let Some(end) = start.find(":]")
        {
            class.push_str(self.take(end + 2));
            return Ok(());
        }
        if let Some(escaped) = start.strip_prefix('\\') {
            if let Some(perl) = escaped.chars().next().and_then(perl_class) {
                self.take(2);
                class.push_str(perl);
                return Ok(());
            }
            if let Some(unicode) = self.unicode_class()? {
                class.push_str(&unicode);
                return Ok(());
            }
        }
        let low = self.class_char()?;
        push_class_char(class, low);
        let is_range = self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]");
        if is_range {
            self.take(1);
            let high = self.class_char()?;
            if high < low {
                let length = start.len() - self.rest.len();
                return Err(self.refuse("invalid character class range", &start[..length]));
            }
            class.push('-');
            push_class_char(class, high);
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, String> {
        if self.rest.starts_with('\\') {
            return self.escaped_char();
        }
        self.take_char().ok_or_else(|| self.refuse("missing closing ]", self.whole))
    }
}

fn perl_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

fn push_literal(out: &mut String, char: char) {
    if char.is_alphanumeric() || char == '_' {
        out.push(char);
    } else {
        push_class_char(out, char);
    }
}

fn push_class_char(out: &mut String, char: char) {
    if char.is_alphanumeric() {
        out.push(char);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, r"\x{{{:x}}}", u32::from(char));
    }
}
