//! Regular expressions in Go's syntax.

mod syntax;

use std::{cell::RefCell, collections::HashMap};

use coracle_gotemplate::{Call, Function, FunctionError, List, ListType, Type, Value};
use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::args::{bytes, int, nil_strings, text};

const S: Type = Type::String;
const I: Type = Type::Int;

pub(crate) const TABLE: &[Function] = &[
    Function::new("regexMatch", &[S, S], |_, a| {
        Ok(compile(&text(&a[0])).is_ok_and(|expression| expression.is_match(bytes(&a[1]))).into())
    }),
    Function::new("mustRegexMatch", &[S, S], |_, a| Ok(checked(&a[0])?.is_match(bytes(&a[1])).into())),
    Function::new("regexFind", &[S, S], |_, a| Ok(find(&compiled(&a[0])?, &a[1]))),
    Function::new("mustRegexFind", &[S, S], |_, a| Ok(find(&checked(&a[0])?, &a[1]))),
    Function::new("regexFindAll", &[S, S, I], |_, a| Ok(find_all(&compiled(&a[0])?, &a[1], int(&a[2])))),
    Function::new("mustRegexFindAll", &[S, S, I], |_, a| Ok(find_all(&checked(&a[0])?, &a[1], int(&a[2])))),
    Function::new("regexSplit", &[S, S, I], |_, a| Ok(split(&compiled(&a[0])?, &a[0], &a[1], int(&a[2])))),
    Function::new("mustRegexSplit", &[S, S, I], |_, a| Ok(split(&checked(&a[0])?, &a[0], &a[1], int(&a[2])))),
    Function::new("regexReplaceAll", &[S, S, S], |_, a| Ok(replace(&compiled(&a[0])?, &a[1], &a[2]))),
    Function::new("mustRegexReplaceAll", &[S, S, S], |_, a| Ok(replace(&checked(&a[0])?, &a[1], &a[2]))),
    Function::new("regexReplaceAllLiteral", &[S, S, S], |_, a| Ok(literal(&compiled(&a[0])?, &a[1], &a[2]))),
    Function::new("mustRegexReplaceAllLiteral", &[S, S, S], |_, a| Ok(literal(&checked(&a[0])?, &a[1], &a[2]))),
    Function::new("regexQuoteMeta", &[S], QUOTE_META),
];

const QUOTE_META: Call = |_, a| {
    let mut out = Vec::new();
    for byte in bytes(&a[0]) {
        if br"\.+*?()|[]{}^$".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    Ok(Value::string_from_bytes(out))
};

/// Charts use a few expressions in every template; compiling one costs far more than a match.
const KEPT_EXPRESSIONS: usize = 256;
/// A compiled expression may take this much memory, so that nested repetitions cannot take it all.
const LARGEST_EXPRESSION_BYTES: usize = 8 << 20;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn compile(text: &str) -> Result<Regex, String> {
    COMPILED.with_borrow_mut(|kept| {
        if let Some(expression) = kept.get(text) {
            return Ok(expression.clone());
        }
        let translated = syntax::translate(text)?;
        let expression = RegexBuilder::new(&translated)
            .size_limit(LARGEST_EXPRESSION_BYTES)
            .build()
            .map_err(|_| format!("error parsing regexp: invalid expression: `{text}`"))?;
        if kept.len() >= KEPT_EXPRESSIONS {
            kept.clear();
        }
        kept.insert(text.to_owned(), expression.clone());
        Ok(expression)
    })
}

/// For the functions that give Go's error.
fn checked(expression: &Value) -> Result<Regex, FunctionError> {
    compile(&text(expression)).map_err(FunctionError::from)
}

/// For the functions that panic on a bad expression.
fn compiled(expression: &Value) -> Result<Regex, FunctionError> {
    let text = text(expression);
    let quoted = || if text.contains('`') { coracle_gotemplate::quote(text.as_bytes()) } else { format!("`{text}`") };
    compile(&text).map_err(|error| FunctionError::new(format!("regexp: Compile({}): {error}", quoted())))
}

fn part(bytes: &[u8]) -> Value {
    Value::string_from_bytes(bytes.to_vec())
}

fn strings(parts: Vec<Value>) -> Value {
    Value::List(List::new(ListType::String, parts).into())
}

fn find(expression: &Regex, value: &Value) -> Value {
    expression.find(bytes(value)).map_or_else(|| "".into(), |found| part(found.as_bytes()))
}

fn limit(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn find_all(expression: &Regex, value: &Value, count: i64) -> Value {
    let found: Vec<Value> =
        expression.find_iter(bytes(value)).take(limit(count)).map(|found| part(found.as_bytes())).collect();
    if found.is_empty() { nil_strings() } else { strings(found) }
}

fn split(expression: &Regex, pattern: &Value, value: &Value, count: i64) -> Value {
    let whole = bytes(value);
    if count == 0 {
        return nil_strings();
    }
    if whole.is_empty() && !bytes(pattern).is_empty() {
        return strings(vec!["".into()]);
    }
    let mut parts = Vec::new();
    let (mut from, mut end) = (0, 0);
    for found in expression.find_iter(whole).take(limit(count)) {
        if count > 0 && parts.len() + 1 == limit(count) {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(part(&whole[from..end]));
        }
        from = found.end();
    }
    if end != whole.len() {
        parts.push(part(&whole[from..]));
    }
    strings(parts)
}

fn literal(expression: &Regex, value: &Value, by: &Value) -> Value {
    let by = bytes(by);
    replace_with(expression, value, |_, out| out.extend_from_slice(by))
}

fn replace(expression: &Regex, value: &Value, template: &Value) -> Value {
    let template = bytes(template);
    replace_with(expression, value, |found, out| expand(template, found, out))
}

fn replace_with(expression: &Regex, value: &Value, write: impl Fn(&Captures<'_>, &mut Vec<u8>)) -> Value {
    let whole = bytes(value);
    let mut out = Vec::with_capacity(whole.len());
    let mut from = 0;
    for captures in expression.captures_iter(whole) {
        let Some(found) = captures.get(0) else { continue };
        out.extend_from_slice(&whole[from..found.start()]);
        write(&captures, &mut out);
        from = found.end();
    }
    out.extend_from_slice(&whole[from..]);
    Value::string_from_bytes(out)
}

/// Go's replacement text: `$1`, `$name`, `${name}`, `$$`. A name is as long as it can be, so `$1x` is a group `1x`, which
/// no expression has; a dollar sign that begins nothing stands for itself.
fn expand(template: &[u8], found: &Captures<'_>, out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'$', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if rest.first() == Some(&b'$') {
            out.push(b'$');
            rest = &rest[1..];
            continue;
        }
        let Some((name, after)) = group_name(rest) else {
            out.push(b'$');
            continue;
        };
        let group = match name.parse::<usize>() {
            Ok(number) => found.get(number),
            Err(_) => found.name(name),
        };
        if let Some(group) = group {
            out.extend_from_slice(group.as_bytes());
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn group_name(text: &[u8]) -> Option<(&str, &[u8])> {
    let (in_braces, body) = match text.strip_prefix(b"{") {
        Some(body) => (true, body),
        None => (false, text),
    };
    let valid = body.utf8_chunks().next()?.valid();
    let length = valid.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(valid.len());
    if length == 0 {
        return None;
    }
    let after = &body[length..];
    match in_braces {
        true => Some((&valid[..length], after.strip_prefix(b"}")?)),
        false => Some((&valid[..length], after)),
    }
}
