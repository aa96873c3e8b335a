//! JSON to YAML text, byte for byte as Go's YAML library writes it for Kubernetes tools: keys in natural order, lists
//! not indented below their key, the plainest style that reads back as the same value, long lines folded at a space.

use std::cmp::Ordering;

use serde_json::Value;

use crate::resolve::old_meaning;

/// Past this column a line is folded at the next space.
const WIDTH: usize = 80;
const INDENT: usize = 2;
/// A key longer than this cannot stand before its colon.
const LONGEST_SIMPLE_KEY: usize = 128;

/// One document.
pub fn emit(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0 };
    writer.document(value);
    writer.out
}

/// Several documents with `---` between them.
pub fn emit_documents<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut text = String::new();
    for value in values {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&emit(value));
    }
    text
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, char: char) {
        self.out.push(char);
        self.column += 1;
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn indent_to(&mut self, indent: usize) {
        while self.column < indent {
            self.put(' ');
        }
    }

    fn fold(&mut self, indent: usize) {
        self.line_break();
        self.indent_to(indent);
    }

    fn document(&mut self, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => self.mapping(value, 0),
            Value::Array(items) if !items.is_empty() => self.sequence(items, 0),
            scalar => {
                self.scalar(scalar, INDENT);
                self.end_line();
            }
        }
    }

    /// Ends the line unless a literal block has just done so.
    fn end_line(&mut self) {
        if self.column > 0 || self.out.is_empty() {
            self.line_break();
        }
    }

    /// The entries of a non-empty object; the cursor may already stand at `indent`, behind a dash.
    fn mapping(&mut self, value: &Value, indent: usize) {
        let Value::Object(fields) = value else { return };
        let mut keys: Vec<&String> = fields.keys().collect();
        keys.sort_by(|left, right| natural_order(left, right));
        for key in keys {
            self.indent_to(indent);
            if is_simple_key(key) {
                self.string(key, indent + INDENT, true);
                self.put(':');
                self.field_value(&fields[key], indent);
            } else {
                self.text("? ");
                self.string(key, indent + INDENT, false);
                self.end_line();
                self.indent_to(indent);
                self.text(": ");
                self.inline_value(&fields[key], indent);
            }
        }
    }

    fn field_value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                self.line_break();
                self.mapping(value, indent + INDENT);
            }
            Value::Array(items) if !items.is_empty() => {
                self.line_break();
                self.sequence(items, indent);
            }
            scalar => {
                self.put(' ');
                self.scalar(scalar, indent + INDENT);
                self.end_line();
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize) {
        for item in items {
            self.indent_to(indent);
            self.text("- ");
            self.inline_value(item, indent);
        }
    }

    /// A value that begins on the line of the dash or colon before it.
    fn inline_value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => self.mapping(value, indent + INDENT),
            Value::Array(items) if !items.is_empty() => self.sequence(items, indent + INDENT),
            scalar => {
                self.scalar(scalar, indent + INDENT);
                self.end_line();
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.text("null"),
            Value::Bool(value) => self.text(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.text(&go_float(float)),
                None => self.text(&number.to_string()),
            },
            Value::String(text) => self.string(text, indent, false),
            Value::Array(_) => self.text("[]"),
            Value::Object(_) => self.text("{}"),
        }
    }

    fn string(&mut self, text: &str, indent: usize, is_key: bool) {
        let shape = Shape::of(text);
        if text.contains('\n') {
            if shape.block_allowed && !is_key {
                return self.literal(text, indent);
            }
            return self.double_quoted(text, indent, is_key);
        }
        if old_meaning(text) {
            return self.double_quoted(text, indent, is_key);
        }
        if shape.plain_allowed {
            return self.plain(text, indent, is_key);
        }
        if shape.single_quoted_allowed {
            return self.single_quoted(text, indent, is_key);
        }
        self.double_quoted(text, indent, is_key);
    }

    fn plain(&mut self, text: &str, indent: usize, is_key: bool) {
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            if char != ' ' {
                self.put(char);
                after_space = false;
                continue;
            }
            if !is_key && !after_space && self.column > WIDTH && chars.peek() != Some(&' ') {
                self.fold(indent);
            } else {
                self.put(' ');
            }
            after_space = true;
        }
    }

    fn single_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put('\'');
        let mut after_space = false;
        let mut after_break = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            if char == ' ' {
                let inner = !first && chars.peek().is_some_and(|next| *next != ' ');
                if !is_key && !after_space && self.column > WIDTH && inner {
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

    fn double_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put('"');
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(char) = chars.next() {
            if char == ' ' {
                if !is_key && !after_space && self.column > WIDTH && !first && chars.peek().is_some() {
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

    fn literal(&mut self, text: &str, indent: usize) {
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
        let mut at_line_start = true;
        for char in text.chars() {
            if is_break(char) {
                self.out.push(char);
                self.column = 0;
                at_line_start = true;
            } else {
                if at_line_start {
                    self.indent_to(indent);
                }
                self.put(char);
                at_line_start = false;
            }
        }
    }
}

fn is_simple_key(key: &str) -> bool {
    key.len() <= LONGEST_SIMPLE_KEY && !key.chars().any(is_break)
}

fn is_break(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What may stand in a document unescaped. Characters outside the basic plane may by the standard, but the library
/// escapes them.
fn is_printable(char: char) -> bool {
    matches!(char, '\n' | ' '..='~' | '\u{A0}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}

/// What the characters of a text allow.
struct Shape {
    plain_allowed: bool,
    single_quoted_allowed: bool,
    block_allowed: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
        let (mut previous_space, mut previous_break) = (false, false);
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
            special |= !is_printable(char);
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
            plain_allowed: clean && bare_edges && !break_space && !breaks && !indicators && !text.is_empty(),
            single_quoted_allowed: clean && !break_space,
            block_allowed: clean && !text.ends_with(' '),
        }
    }
}

fn is_white(char: char) -> bool {
    matches!(char, ' ' | '\t') || is_break(char)
}

/// Natural order: letters after everything else, runs of digits by their value.
fn natural_order(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    for index in 0..left.len().min(right.len()) {
        let (l, r) = (left[index], right[index]);
        if l == r {
            continue;
        }
        return match (l.is_alphabetic(), r.is_alphabetic()) {
            (true, true) => l.cmp(&r),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => digits_order(&left, &right, index),
        };
    }
    left.len().cmp(&right.len())
}

fn digits_order(left: &[char], right: &[char], from: usize) -> Ordering {
    let zero_first = left[from] == '0' || right[from] == '0';
    let leading =
        zero_first && left[..from].iter().rev().take_while(|char| char.is_ascii_digit()).any(|char| *char != '0');
    let run = |chars: &[char]| {
        let mut value = i64::from(leading);
        let mut length = 0;
        for char in &chars[from..] {
            let Some(digit) = char.to_digit(10) else { break };
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            length += 1;
        }
        (value, length)
    };
    run(left).cmp(&run(right)).then(left[from].cmp(&right[from]))
}

/// A float in Go's shortest notation: `%g` writes an exponent below 10⁻⁴ and from 10⁶ on. Whole numbers up to 2⁶⁴ never
/// come here, they are integers.
pub fn go_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().expect("Rust writes an integer there");
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::emit;

    fn check(value: &serde_json::Value, expected: Expect) {
        expected.assert_eq(&emit(value));
    }

    #[test]
    fn strings_get_the_plainest_style_that_reads_back() {
        let strings = json!([
            "plain",
            "yes",
            "1:30",
            "~",
            "",
            "a: b",
            "a #b",
            "it's",
            "'q'",
            " lead",
            "tab\tx",
            "\u{1}",
            "é☃",
            "😀",
            "- a",
            "x:",
            "line\nnext\n",
            "line\nnext",
            "  two\n",
            "\nlead",
            "end \n",
            "keep\n\n"
        ]);
        check(
            &strings,
            expect![[r#"
            - plain
            - "yes"
            - "1:30"
            - "~"
            - ""
            - 'a: b'
            - 'a #b'
            - it's
            - '''q'''
            - ' lead'
            - "tab\tx"
            - "\x01"
            - é☃
            - "\U0001F600"
            - '- a'
            - 'x:'
            - |
              line
              next
            - |-
              line
              next
            - |2
                two
            - |2-

              lead
            - "end \n"
            - |+
              keep

        "#]],
        );
    }

    #[test]
    fn keys_stand_in_natural_order() {
        check(
            &json!({"a10": 1, "a9": 1, "b": [], "9": {}, "10": [[1, 2], {"x": null}], "A9": true}),
            expect![[r#"
            "9": {}
            "10":
            - - 1
              - 2
            - x: null
            A9: true
            a9: 1
            a10: 1
            b: []
        "#]],
        );
    }

    #[test]
    fn long_text_folds_at_a_space() {
        let words = "the quick brown fox jumps over the lazy dog ".repeat(3);
        check(
            &json!({"long": words.trim_end(), "quoted": format!("{words}: x")}),
            expect![[r#"
            long: the quick brown fox jumps over the lazy dog the quick brown fox jumps over the
              lazy dog the quick brown fox jumps over the lazy dog
            quoted: 'the quick brown fox jumps over the lazy dog the quick brown fox jumps over
              the lazy dog the quick brown fox jumps over the lazy dog : x'
        "#]],
        );
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        check(
            &json!([1, -7, 1.5, 1e-7, 1e21, 18446744073709551615u64, 1234567.5]),
            expect![[r#"
            - 1
            - -7
            - 1.5
            - 1e-07
            - 1e+21
            - 18446744073709551615
            - 1.2345675e+06
        "#]],
        );
    }
}
