//! Styles of text: plain, quoted once or twice, a literal block.

use super::{Layout, Pen};

/// Past this column a line is folded at the next space.
const WIDTH: usize = 80;

impl Pen {
    fn folds(&self, is_key: bool) -> bool {
        !is_key && self.layout == Layout::Compact && self.column > WIDTH
    }

    fn fold(&mut self, indent: usize) {
        self.line_break();
        self.indent_to(indent);
    }

    pub(super) fn plain(&mut self, text: &str, indent: usize, is_key: bool) {
        if is_key || self.layout == Layout::Indented || self.column + text.len() <= WIDTH {
            return self.text(text);
        }
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            if char != ' ' {
                self.put(char);
                after_space = false;
                continue;
            }
            if !after_space && self.folds(is_key) && chars.peek() != Some(&' ') {
                self.fold(indent);
            } else {
                self.put(' ');
            }
            after_space = true;
        }
    }

    pub(super) fn single_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put('\'');
        let mut after_space = false;
        let mut after_break = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            if char == ' ' {
                let inner = !first && chars.peek().is_some_and(|next| *next != ' ');
                if !after_space && inner && self.folds(is_key) {
                    self.fold(indent);
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else if is_break(char) {
                self.out.push(char);
                self.column = 0;
                after_break = true;
            } else {
                if after_break {
                    self.indent_to(indent);
                    after_break = false;
                }
                if char == '\'' {
                    self.put('\'');
                }
                self.put(char);
                after_space = false;
            }
            first = false;
        }
        self.put('\'');
    }

    pub(super) fn double_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put('"');
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            if char == ' ' {
                if !after_space && !first && chars.peek().is_some() && self.folds(is_key) {
                    self.fold(indent);
                    if chars.peek() == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else {
                self.escaped(char);
                after_space = false;
            }
            first = false;
        }
        self.put('"');
    }

    fn escaped(&mut self, char: char) {
        if is_printable(char) && !is_break(char) && !matches!(char, '"' | '\\') {
            return self.put(char);
        }
        let short = match char {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            other => {
                let code = u32::from(other);
                let text = match code {
                    0..=0xFF => format!("\\x{code:02X}"),
                    0x100..=0xFFFF => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                return self.text(&text);
            }
        };
        self.put('\\');
        self.put(short);
    }

    pub(super) fn literal(&mut self, text: &str, indent: usize) {
        self.put('|');
        if text.starts_with(|char| char == ' ' || is_break(char)) {
            self.put('2');
        }
        let mut backwards = text.chars().rev();
        match (backwards.next().is_some_and(is_break), backwards.next()) {
            (false, _) => self.put('-'),
            (true, None) => self.put('+'),
            (true, Some(before)) if is_break(before) => self.put('+'),
            (true, Some(_)) => {}
        }
        self.line_break();
        for line in text.split_inclusive(is_break) {
            let end = line.trim_end_matches(is_break).len();
            if end > 0 {
                self.indent_to(indent);
                self.text(&line[..end]);
            }
            if end < line.len() {
                self.out.push_str(&line[end..]);
                self.column = 0;
            }
        }
    }
}

pub(super) fn is_break(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What may stand in a document unescaped. Characters outside the basic plane may by the standard, but the library
/// escapes them.
fn is_printable(char: char) -> bool {
    matches!(char, '\n' | ' '..='~' | '\u{A0}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}

fn is_white(char: char) -> bool {
    matches!(char, ' ' | '\t') || is_break(char)
}

/// What the characters of a text allow.
pub(super) struct Shape {
    pub plain_allowed: bool,
    pub single_quoted_allowed: bool,
    pub block_allowed: bool,
}

impl Shape {
    pub(super) fn of(text: &str, layout: Layout) -> Self {
        if is_harmless(text) {
            return Shape { plain_allowed: true, single_quoted_allowed: true, block_allowed: true };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut tabs = false;
        let mut after_white = true;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            let before_white = chars.peek().is_none_or(|next| is_white(*next));
            indicators |= match char {
                '#' => first || after_white,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
                ':' => before_white,
                '?' | '-' => first && before_white,
                _ => false,
            };
            if char == '\t' && layout == Layout::Indented {
                tabs = true;
            } else {
                special |= !is_printable(char);
            }
            breaks |= is_break(char);
            break_space |= char == ' ' && previous_break;
            space_break |= is_break(char) && previous_space;
            previous_space = char == ' ';
            previous_break = is_break(char);
            after_white = is_white(char);
            first = false;
        }
        let edge = |char: char| char == ' ' || is_break(char);
        let bare_edges = !text.starts_with(edge) && !text.ends_with(edge);
        let clean = !space_break && !special;
        Shape {
            plain_allowed: clean && !tabs && bare_edges && !break_space && !breaks && !indicators && !text.is_empty(),
            single_quoted_allowed: clean && !tabs && !break_space,
            block_allowed: clean && !text.ends_with(' '),
        }
    }
}

/// Words and paths, which is what most texts are: nothing in them can be misread.
fn is_harmless(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) && text.bytes().all(is_word)
}
