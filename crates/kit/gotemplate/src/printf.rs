//! `fmt.Sprintf`: verbs, flags, widths, and the words Go prints for what does not fit.

mod float;
mod integer;

use crate::{
    quote::{can_backquote, quote, quote_ascii},
    value::{Kind, Value},
};

/// As Go has it: wider fields are refused.
const WIDTH_LIMIT: i64 = 1_000_000;
/// Values nested deeper than this are printed as an ellipsis.
const DEPTH_LIMIT: u32 = 200;

/// `fmt.Sprintf`.
pub fn sprintf(format: &str, arguments: &[Value]) -> Value {
    Value::string_from_bytes(sprintf_bytes(format.as_bytes(), arguments))
}

/// `fmt.Sprintf` of a format that need not be UTF-8.
pub(crate) fn sprintf_bytes(format: &[u8], arguments: &[Value]) -> Vec<u8> {
    let mut printer = Printer { out: Vec::with_capacity(format.len() + 16), flags: Flags::default() };
    printer.run(format, arguments);
    printer.out
}

/// `fmt.Sprint`: spaces between operands when neither is a string.
pub fn sprint(arguments: &[Value]) -> Value {
    let mut printer = Printer::default();
    let mut previous_is_string = false;
    for (index, argument) in arguments.iter().enumerate() {
        let is_string = argument.kind() == Kind::String;
        if index > 0 && !is_string && !previous_is_string {
            printer.out.push(b' ');
        }
        printer.argument(argument, 'v');
        previous_is_string = is_string;
    }
    Value::string_from_bytes(printer.out)
}

/// `fmt.Sprintln`: spaces between operands, always, and a newline.
pub fn sprintln(arguments: &[Value]) -> Value {
    let mut printer = Printer::default();
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            printer.out.push(b' ');
        }
        printer.argument(argument, 'v');
    }
    printer.out.push(b'\n');
    Value::string_from_bytes(printer.out)
}

#[derive(Default, Clone, Copy)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`: Go syntax.
    go_syntax: bool,
}

#[derive(Default)]
struct Printer {
    out: Vec<u8>,
    flags: Flags,
}

/// Where a format is being read, and which argument is next.
struct Cursor<'f> {
    format: &'f [u8],
    position: usize,
    next: usize,
    /// The last thing read was an index such as `[3]`.
    after_index: bool,
    reordered: bool,
    index_is_good: bool,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.position += usize::from(taken);
        taken
    }

    /// A decimal number, if there is one that is not too large.
    fn number(&mut self, end: usize) -> Option<usize> {
        let mut number = None;
        while self.position < end {
            let Some(digit) = self.peek().filter(u8::is_ascii_digit) else { break };
            let so_far: i64 = number.unwrap_or(0);
            if so_far > WIDTH_LIMIT {
                self.position = end;
                return None;
            }
            number = Some(so_far * 10 + i64::from(digit - b'0'));
            self.position += 1;
        }
        number.and_then(|number| usize::try_from(number).ok())
    }

    /// An explicit argument index, if one stands here.
    fn index(&mut self, count: usize) {
        self.after_index = false;
        if self.peek() != Some(b'[') {
            return;
        }
        self.reordered = true;
        let start = self.position;
        let close = self.format[start + 1..].iter().position(|byte| *byte == b']');
        let Some(close) = close.map(|offset| start + 1 + offset) else {
            self.index_is_good = false;
            self.position = start + 1;
            return;
        };
        self.position = start + 1;
        let number = self.number(close);
        let whole = self.position == close;
        self.position = close + 1;
        match number {
            Some(number) if whole && (1..=count).contains(&number) => {
                self.next = number - 1;
                self.after_index = true;
            }
            _ => {
                self.index_is_good = false;
                self.after_index = number.is_some() && whole;
            }
        }
    }

    /// The integer argument a `*` stands for.
    fn star(&mut self, arguments: &[Value]) -> Option<i64> {
        let argument = arguments.get(self.next)?;
        self.next += 1;
        let number = match argument {
            Value::Int(value) | Value::Int64(value) => *value,
            Value::Uint8(value) => i64::from(*value),
            Value::Uint64(value) => i64::try_from(*value).ok()?,
            _ => return None,
        };
        (number.abs() <= WIDTH_LIMIT).then_some(number)
    }
}

impl Printer {
    fn run(&mut self, format: &[u8], arguments: &[Value]) {
        let mut cursor =
            Cursor { format, position: 0, next: 0, after_index: false, reordered: false, index_is_good: true };
        while cursor.position < format.len() {
            let rest = &format[cursor.position..];
            let plain = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..plain]);
            cursor.position += plain;
            if cursor.take(b'%') {
                self.verb(&mut cursor, arguments);
            }
        }
        if !cursor.reordered && cursor.next < arguments.len() {
            self.extra(&arguments[cursor.next..]);
        }
    }

    fn verb(&mut self, cursor: &mut Cursor<'_>, arguments: &[Value]) {
        self.flags = Flags::default();
        cursor.index_is_good = true;
        cursor.after_index = false;
        while let Some(flag) = cursor.peek() {
            match flag {
                b'#' => self.flags.sharp = true,
                b'0' => self.flags.zero = true,
                b'+' => self.flags.plus = true,
                b'-' => self.flags.minus = true,
                b' ' => self.flags.space = true,
                _ => break,
            }
            cursor.position += 1;
        }
        cursor.index(arguments.len());
        self.width(cursor, arguments);
        self.precision(cursor, arguments);
        if !cursor.after_index {
            cursor.index(arguments.len());
        }
        let Some((verb, bytes)) = first_char(&cursor.format[cursor.position..]) else {
            self.out.extend_from_slice(b"%!(NOVERB)");
            return;
        };
        cursor.position += bytes;
        match verb {
            '%' => self.out.push(b'%'),
            _ if !cursor.index_is_good => self.complaint(verb, "BADINDEX"),
            _ if cursor.next >= arguments.len() => self.complaint(verb, "MISSING"),
            _ => {
                let argument = &arguments[cursor.next];
                cursor.next += 1;
                match verb {
                    'w' => self.bad_verb('w', argument),
                    'v' => {
                        self.flags.go_syntax = std::mem::take(&mut self.flags.sharp);
                        self.flags.plus = false;
                        self.argument(argument, 'v');
                    }
                    _ => self.argument(argument, verb),
                }
            }
        }
    }

    fn width(&mut self, cursor: &mut Cursor<'_>, arguments: &[Value]) {
        if cursor.take(b'*') {
            let width = cursor.star(arguments);
            match width {
                None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
                Some(width) => {
                    if width < 0 {
                        self.flags.minus = true;
                        self.flags.zero = false;
                    }
                    self.flags.width = usize::try_from(width.abs()).ok();
                }
            }
            cursor.after_index = false;
            return;
        }
        self.flags.width = cursor.number(cursor.format.len());
        if cursor.after_index && self.flags.width.is_some() {
            cursor.index_is_good = false;
        }
    }

    fn precision(&mut self, cursor: &mut Cursor<'_>, arguments: &[Value]) {
        if cursor.position + 1 >= cursor.format.len() || !cursor.take(b'.') {
            return;
        }
        if cursor.after_index {
            cursor.index_is_good = false;
        }
        cursor.index(arguments.len());
        if cursor.take(b'*') {
            self.flags.precision = cursor.star(arguments).and_then(|precision| usize::try_from(precision).ok());
            if self.flags.precision.is_none() {
                self.out.extend_from_slice(b"%!(BADPREC)");
            }
            cursor.after_index = false;
        } else {
            self.flags.precision = Some(cursor.number(cursor.format.len()).unwrap_or(0));
        }
    }

    fn extra(&mut self, arguments: &[Value]) {
        self.flags = Flags::default();
        self.out.extend_from_slice(b"%!(EXTRA ");
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if argument.is_nil() {
                self.out.extend_from_slice(b"<nil>");
            } else {
                self.out.extend_from_slice(argument.type_name().as_bytes());
                self.out.push(b'=');
                self.argument(argument, 'v');
            }
        }
        self.out.push(b')');
    }

    fn complaint(&mut self, verb: char, what: &str) {
        self.out.extend_from_slice(format!("%!{verb}({what})").as_bytes());
    }

    fn bad_verb(&mut self, verb: char, value: &Value) {
        self.out.extend_from_slice(format!("%!{verb}(").as_bytes());
        if value.is_nil() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(value.type_name().as_bytes());
            self.out.push(b'=');
            self.value(value, 'v', 0);
        }
        self.out.push(b')');
    }

    fn argument(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil, _) => self.bad_verb(verb, value),
            (_, 'T') => self.text(value.type_name().as_bytes(), 's', value),
            (_, 'p') => self.bad_verb(verb, value),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: u32) {
        if depth > DEPTH_LIMIT {
            self.out.extend_from_slice(b"...");
            return;
        }
        match value {
            Value::Nil if self.flags.go_syntax => self.out.extend_from_slice(b"interface {}(nil)"),
            Value::Nil => self.out.extend_from_slice(b"<nil>"),
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad_verb(verb, value),
            },
            Value::Int(number) | Value::Int64(number) => self.integer(*number < 0, number.unsigned_abs(), verb, value),
            Value::Uint8(number) => self.unsigned(u64::from(*number), verb, value),
            Value::Uint64(number) => self.unsigned(*number, verb, value),
            Value::Float(number) => self.float(*number, verb, value),
            Value::String(text) => self.text(text.as_bytes(), verb, value),
            Value::Binary(bytes) => self.text(bytes, verb, value),
            Value::Bytes(bytes) => self.bytes(bytes, verb, value),
            Value::List(list) => self.sequence(list.list_type().name(), "[", list.iter(), |printer, item| {
                printer.value(item, verb, depth + 1)
            }),
            Value::Dict(dict) => {
                self.sequence(dict.dict_type().name(), "map[", dict.entries().iter(), |printer, (key, item)| {
                    printer.text(key.as_bytes(), verb, &Value::String(key.clone()));
                    printer.out.push(b':');
                    printer.value(item, verb, depth + 1);
                })
            }
            Value::Object(object) => match (verb, object.underlying()) {
                ('v' | 's' | 'x' | 'X' | 'q', _) | (_, None) => {
                    self.text(object_text(value).as_bytes(), verb, value);
                }
                (_, Some(inner)) => self.value(&inner, verb, depth + 1),
            },
        }
    }

    fn unsigned(&mut self, number: u64, verb: char, value: &Value) {
        if verb == 'v' && self.flags.go_syntax {
            self.out.extend_from_slice(format!("{number:#x}").as_bytes());
        } else {
            self.integer(false, number, verb, value);
        }
    }

    fn sequence<T>(
        &mut self,
        type_name: &str,
        open: &str,
        items: impl Iterator<Item = T>,
        mut print: impl FnMut(&mut Printer, T),
    ) {
        let go_syntax = self.flags.go_syntax;
        if go_syntax {
            self.out.extend_from_slice(type_name.as_bytes());
            self.out.push(b'{');
        } else {
            self.out.extend_from_slice(open.as_bytes());
        }
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.extend_from_slice(if go_syntax { b", " } else { b" " });
            }
            print(self, item);
        }
        self.out.push(if go_syntax { b'}' } else { b']' });
    }

    fn text(&mut self, bytes: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.flags.go_syntax => self.quoted(bytes),
            'v' | 's' => {
                let bytes = self.truncated(bytes);
                self.pad(bytes);
            }
            'x' => self.hexadecimal(bytes, false),
            'X' => self.hexadecimal(bytes, true),
            'q' => self.quoted(bytes),
            _ => self.bad_verb(verb, value),
        }
    }

    fn bytes(&mut self, bytes: &[u8], verb: char, value: &Value) {
        match verb {
            'v' | 'd' => {
                let go_syntax = self.flags.go_syntax;
                self.sequence("[]byte", "[", bytes.iter(), |printer, byte| {
                    if go_syntax {
                        printer.out.extend_from_slice(format!("{byte:#x}").as_bytes());
                    } else {
                        printer.integer(false, u64::from(*byte), 'd', value);
                    }
                });
            }
            's' | 'x' | 'X' | 'q' => self.text(bytes, verb, value),
            _ => self.sequence("[]byte", "[", bytes.iter(), |printer, byte| {
                printer.integer(false, u64::from(*byte), verb, &Value::Uint8(*byte));
            }),
        }
    }

    /// The text up to the precision, in characters.
    fn truncated<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(precision) = self.flags.precision else { return bytes };
        let mut rest = bytes;
        for _ in 0..precision {
            match first_char(rest) {
                Some((_, length)) => rest = &rest[length..],
                None => return bytes,
            }
        }
        &bytes[..bytes.len() - rest.len()]
    }

    fn quoted(&mut self, bytes: &[u8]) {
        let bytes = self.truncated(bytes);
        let quoted = if self.flags.sharp && can_backquote(bytes) {
            format!("`{}`", String::from_utf8_lossy(bytes))
        } else if self.flags.plus {
            quote_ascii(bytes)
        } else {
            quote(bytes)
        };
        self.pad(quoted.as_bytes());
    }

    fn hexadecimal(&mut self, bytes: &[u8], upper: bool) {
        let bytes = &bytes[..self.flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
        let prefix = match (self.flags.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut text = String::with_capacity(bytes.len() * 2);
        for (index, byte) in bytes.iter().enumerate() {
            if index == 0 || self.flags.space {
                text.push_str(if index > 0 { " " } else { "" });
                text.push_str(prefix);
            }
            text.push_str(&if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        }
        self.pad(text.as_bytes());
    }

    /// Writes the bytes in a field of the width asked for.
    fn pad(&mut self, bytes: &[u8]) {
        let Some(width) = self.flags.width else {
            self.out.extend_from_slice(bytes);
            return;
        };
        let missing = width.saturating_sub(char_count(bytes));
        if self.flags.minus {
            self.out.extend_from_slice(bytes);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.extend_from_slice(bytes);
        }
    }

    fn padding(&mut self, count: usize) {
        let byte = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        self.out.extend(std::iter::repeat_n(byte, count));
    }

    /// [`Printer::pad`] with spaces, whatever the flags say.
    fn pad_with_spaces(&mut self, bytes: &[u8]) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(bytes);
        self.flags.zero = zero;
    }
}

fn object_text(value: &Value) -> String {
    value.to_string()
}

/// The first character and its length; what is not UTF-8 counts as one byte each.
fn first_char(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let chunk = bytes[..bytes.len().min(4)].utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(character) => Some((character, character.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

fn char_count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        return bytes.len();
    }
    bytes.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}
