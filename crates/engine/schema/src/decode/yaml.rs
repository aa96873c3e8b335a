//! YAML as the API server reads it: one document, resolved by YAML 1.1's rules as Go's library has them, then taken as JSON.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

use super::{DEEPEST, DecodeError, Decoded, height, json};
use crate::types::Type;

/// Aliases may repeat what is in a document, but not without end.
const VALUE_LIMIT: usize = 1_000_000;

/// Reads the first YAML document (JSON is YAML too). Keys that occur twice are reported with their line.
pub fn yaml(bytes: &[u8], of: Option<Type<'_>>) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError("yaml: invalid leading UTF-8 octet".to_owned()))?;
    if text.trim_start().starts_with('{')
        && let Ok(decoded) = json(bytes, of)
    {
        return Ok(decoded);
    }
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), duplicates: Vec::new(), values: 0 };
    let value = reader.document()?;
    let mut strict = Vec::new();
    if !reader.duplicates.is_empty() {
        strict.push(format!("yaml: unmarshal errors:\n  {}", reader.duplicates.join("\n  ")));
    }
    if let Some(of) = of {
        strict.extend(crate::fields::unknown_in(of, &value));
    }
    Ok(Decoded { value, strict })
}

fn check_depth(depth: usize, line: usize) -> Result<(), DecodeError> {
    if depth > DEEPEST {
        return Err(DecodeError(format!("yaml: line {line}: exceeded max depth of {DEEPEST}")));
    }
    Ok(())
}

struct Reader<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    anchors: HashMap<usize, Value>,
    duplicates: Vec<String>,
    values: usize,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), DecodeError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(DecodeError(format!("yaml: line {}: {}", error.marker().line(), error.info()))),
            None => Err(DecodeError("yaml: the document ends too early".to_owned())),
        }
    }

    fn document(&mut self) -> Result<Value, DecodeError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
                event => return self.value(event, &span, 0),
            }
        }
    }

    fn value(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Value, DecodeError> {
        let line = span.start.line();
        self.count(1, line)?;
        let nests = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        check_depth(depth + usize::from(nests), line)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, scalar(&text, style, tag.as_deref())),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value =
                    value.ok_or_else(|| DecodeError(format!("yaml: line {line}: unknown anchor referenced")))?;
                self.count(size(&value), line)?;
                check_depth(depth + height(&value), line)?;
                return Ok(value);
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            other => return Err(DecodeError(format!("yaml: line {line}: did not expect {other:?}"))),
        };
        if anchor > 0 {
            // What is kept for aliases counts as well: anchors may stand within anchors.
            self.count(size(&value), line)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn count(&mut self, values: usize, line: usize) -> Result<(), DecodeError> {
        self.values += values;
        if self.values > VALUE_LIMIT {
            return Err(DecodeError(format!("yaml: line {line}: document contains excessive aliasing")));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(list));
            }
            list.push(self.value(event, &span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.value(event, &span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.value(event, &value_span, depth + 1)?;
            if merge {
                merged.push(value);
                continue;
            }
            let key = key_text(key, span.start.line())?;
            if map.contains_key(&key) {
                self.duplicates.push(format!("line {}: key {key:?} already set in map", span.start.line()));
            }
            map.insert(key, value);
        }
        for value in merged {
            merge_into(&mut map, value);
        }
        Ok(Value::Object(map))
    }
}

/// `<<`: what is merged in never overrides what is written.
fn merge_into(map: &mut Map<String, Value>, merged: Value) {
    match merged {
        Value::Object(members) => {
            for (key, value) in members {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(items) => items.into_iter().for_each(|item| merge_into(map, item)),
        _ => {}
    }
}

fn key_text(key: Value, line: usize) -> Result<String, DecodeError> {
    match key {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Ok("null".to_owned()),
        _ => Err(DecodeError(format!("yaml: line {line}: a map key must be a scalar"))),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    match (core, style) {
        (Some("str" | "binary"), _) => Value::String(text.to_owned()),
        (None, style) if style != ScalarStyle::Plain => Value::String(text.to_owned()),
        (Some("float"), _) => text.parse().ok().and_then(float).unwrap_or_else(|| Value::String(text.to_owned())),
        _ => plain(text),
    }
}

/// An unquoted scalar, by YAML 1.1's rules.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    let digits = text.replace('_', "");
    integer(&digits)
        .or_else(|| is_float(&digits).then(|| digits.parse().ok().and_then(float)).flatten())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).and_then(|d| u64::from_str_radix(d, radix).ok());
    let magnitude = if digits.len() > 1 && digits.starts_with('0') {
        radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)).or_else(|| radix("0", 8))
    } else if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }?;
    if !negative {
        return Some(magnitude.into());
    }
    i64::try_from(-i128::from(magnitude)).ok().map(Value::from)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// JSON made from YAML writes a whole float without its point.
fn float(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let outcome = match super::yaml(text.as_bytes(), None) {
            Ok(decoded) => format!("{}\n{}", decoded.value, decoded.strict.join("\n")),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(outcome.trim_end());
    }

    #[test]
    fn scalars_resolve_as_yaml_1_1() {
        check(
            "a: yes\nb: 'yes'\nc: 0777\nd: 1.0\ne: 1.5\nf: 1_000\ng: ~\nh: 0x10\ni: 1e3\nj: 1.2.3\nk: -5\nl: 2020-01-01\nm: !!str 5",
            expect![[
                r#"{"a":true,"b":"yes","c":511,"d":1,"e":1.5,"f":1000,"g":null,"h":16,"i":1000,"j":"1.2.3","k":-5,"l":"2020-01-01","m":"5"}"#
            ]],
        );
    }

    #[test]
    fn anchors_and_merge_keys() {
        check(
            "base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  x: 3\nlist: [*b]",
            expect![[r#"{"base":{"true":2,"x":1},"list":[{"true":2,"x":1}],"mine":{"true":2,"x":3}}"#]],
        );
    }

    #[test]
    fn duplicates_name_their_line() {
        check(
            "a: 1\nb:\n  c: 1\n  c: 2\na: 2",
            expect![[r#"
                {"a":2,"b":{"c":2}}
                yaml: unmarshal errors:
                  line 4: key "c" already set in map
                  line 5: key "a" already set in map"#]],
        );
    }

    #[test]
    fn broken_and_monstrous_text_is_refused() {
        check("a: [1, 2", expect!["error: yaml: line 2: while parsing a flow sequence, expected ',' or ']'"]);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        check(&bomb, expect!["error: yaml: line 6: document contains excessive aliasing"]);
    }
}
