//! Regular expressions in Go's syntax, compiled with the `regex` crate. Both descend from RE2; what differs is
//! rewritten here: literal braces, brackets inside classes, `\Q…\E`.

use std::iter::Peekable;

pub use regex::Regex;
use regex::RegexBuilder;

/// How large a compiled expression may become.
const SIZE_LIMIT_BYTES: usize = 10 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct Error(pub String);

/// Compiled so that it matches whole texts, with `.` matching line feeds too: as Prometheus reads them.
pub fn compile_anchored(source: &str) -> Result<Regex, Error> {
    check(source)?;
    compile(&format!("^(?s:{})$", translate(source)), source)
}

/// Compiled so that it matches anywhere, as Go's `regexp.Compile` does.
pub fn compile_unanchored(source: &str) -> Result<Regex, Error> {
    check(source)?;
    compile(&translate(source), source)
}

fn compile(translated: &str, source: &str) -> Result<Regex, Error> {
    RegexBuilder::new(translated).size_limit(SIZE_LIMIT_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Error(format!("expression too large: `{source}`")),
        error => Error(last_line(&error.to_string(), source)),
    })
}

/// The crate's own message draws a picture over several lines; its last line says what is wrong.
fn last_line(message: &str, source: &str) -> String {
    let reason = message.lines().last().unwrap_or(message).trim_start_matches("error: ");
    format!("{reason}: `{source}`")
}

/// Go's way of putting captures into a template: `$1`, `$name`, `${1}text`, `$$`. A name is as long as it can be.
pub fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = rest.starts_with('{');
        let begin = &rest[usize::from(braced)..];
        let length = begin.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(begin.len());
        let name = &begin[..length];
        let after = &begin[length..];
        if name.is_empty() || (braced && !after.starts_with('}')) {
            out.push('$');
            continue;
        }
        rest = if braced { &after[1..] } else { after };
        let found = match name.parse::<usize>() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(name),
        };
        out.push_str(found.map_or("", |found| found.as_str()));
    }
    out.push_str(rest);
    out
}

/// Every match replaced by the template's expansion.
pub fn replace_all(regex: &Regex, template: &str, text: &str) -> String {
    regex.replace_all(text, |captures: &regex::Captures<'_>| expand(template, captures)).into_owned()
}

/// The mistakes people make most, in Go's words.
fn check(source: &str) -> Result<(), Error> {
    let mut open = 0usize;
    let mut chars = source.char_indices().peekable();
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        let mut repeatable = true;
        match c {
            '\\' => match chars.next() {
                None => return Err(Error("trailing backslash at end of expression: ``".into())),
                Some((_, 'Q')) => {
                    while let Some((_, c)) = chars.next() {
                        if c == '\\' && chars.next_if(|(_, c)| *c == 'E').is_some() {
                            break;
                        }
                    }
                }
                Some((_, c)) if c.is_ascii_alphanumeric() && !"pPdDwWsSbBAzCafnrtvxQE01234567".contains(c) => {
                    return Err(Error(format!("invalid escape sequence: `\\{c}`")));
                }
                Some(_) => {}
            },
            '[' => {
                let rest = class_length(&source[at..])
                    .ok_or_else(|| Error(format!("missing closing ]: `{}`", &source[at..])))?;
                while chars.next_if(|(here, _)| *here < at + rest).is_some() {}
            }
            '(' => {
                open += 1;
                repeatable = false;
            }
            ')' => open = open.checked_sub(1).ok_or_else(|| Error(format!("unexpected ): `{source}`")))?,
            '|' => repeatable = false,
            '*' | '+' | '?' => {
                match before {
                    None if at == 0 || !source[..at].ends_with("(?") => {
                        if !(c == '?' && source[..at].ends_with('(')) {
                            return Err(Error(format!("missing argument to repetition operator: `{c}`")));
                        }
                    }
                    Some('*' | '+') | Some('?') if c != '?' => {
                        let earlier = before.expect("matched as something");
                        return Err(Error(format!("invalid nested repetition operator: `{earlier}{c}`")));
                    }
                    _ => {}
                }
                if before.is_some() {
                    chars.next_if(|(_, next)| *next == '?');
                }
                before = Some(c);
                continue;
            }
            _ => {}
        }
        before = repeatable.then_some('x');
    }
    if open > 0 {
        return Err(Error(format!("missing closing ): `{source}`")));
    }
    Ok(())
}

/// Bytes from a `[` to behind its `]`.
fn class_length(source: &str) -> Option<usize> {
    let mut chars = source.char_indices().skip(1).peekable();
    chars.next_if(|(_, c)| *c == '^');
    chars.next_if(|(_, c)| *c == ']');
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' if source[at..].starts_with("[:") => {
                if let Some(end) = source[at..].find(":]") {
                    while chars.next_if(|(here, _)| *here < at + end + 2).is_some() {}
                }
            }
            ']' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The same expression in the `regex` crate's syntax.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out),
            '[' => class(&mut chars, &mut out),
            '{' if !is_repetition(chars.clone()) => out.push_str("\\{"),
            '{' => {
                out.push('{');
                out.extend(chars.by_ref().take_while(|c| *c != '}'));
                out.push('}');
            }
            '}' => out.push_str("\\}"),
            c => out.push(c),
        }
    }
    out
}

fn escape(chars: &mut Peekable<std::str::Chars<'_>>, out: &mut String) {
    match chars.next() {
        None => out.push('\\'),
        Some('Q') => {
            let mut text = String::new();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.next_if_eq(&'E').is_some() {
                    break;
                }
                text.push(c);
            }
            out.push_str(&regex::escape(&text));
        }
        Some('E') => {}
        Some('C') => out.push_str("(?s:.)"),
        Some(c @ '0'..='7') => {
            let mut value = c.to_digit(8).expect("matched as an octal digit");
            for _ in 0..2 {
                match chars.next_if(|c| c.is_digit(8)) {
                    Some(digit) => value = value * 8 + digit.to_digit(8).expect("just tested"),
                    None => break,
                }
            }
            out.push_str(&format!("\\x{{{value:x}}}"));
        }
        // Go's classes are ASCII only.
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('s') => out.push_str("[\\t\\n\\x0c\\r ]"),
        Some('S') => out.push_str("[^\\t\\n\\x0c\\r ]"),
        Some('b') => out.push_str("(?-u:\\b)"),
        Some(c @ ('p' | 'P' | 'x')) => {
            out.push('\\');
            out.push(c);
            if chars.next_if_eq(&'{').is_some() {
                out.push('{');
                out.extend(chars.by_ref().take_while(|c| *c != '}'));
                out.push('}');
            }
        }
        Some(c) => {
            out.push('\\');
            out.push(c);
        }
    }
}

fn class(chars: &mut Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => break,
            '\\' => {
                out.push('\\');
                match chars.next() {
                    Some('d') => out.push_str("x{30}-9"),
                    Some('w') => out.push_str("x{30}-9A-Za-z_"),
                    Some('s') => out.push_str("t\\n\\x0c\\r "),
                    Some(c) => out.push(c),
                    None => {}
                }
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                while let Some(c) = chars.next() {
                    out.push(c);
                    if c == ':' && chars.next_if_eq(&']').is_some() {
                        out.push(']');
                        break;
                    }
                }
            }
            // The crate reads these as nested classes and set operations.
            '[' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(']');
}

/// Whether what follows a `{` makes it a counted repetition; else it is a brace.
fn is_repetition(chars: Peekable<std::str::Chars<'_>>) -> bool {
    let inside: String = chars.take(10).take_while(|c| *c != '}').collect();
    let (least, most) = inside.split_once(',').map_or((inside.as_str(), None), |(least, most)| (least, Some(most)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    inside.len() < 10 && !least.is_empty() && digits(least) && most.is_none_or(digits)
}
