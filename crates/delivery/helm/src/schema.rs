//! `values.schema.json`: JSON Schema, drafts 4 to 2020-12, with the words of the library Helm uses.

mod format;
mod reference;
mod validate;

use std::fmt;

use coracle_gotemplate::{Dict, Value};

use crate::Chart;

/// Values that no chart's schema allows: one paragraph a chart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// Checks the values against the schema of the chart, and each subchart's part of them against its own.
pub(crate) fn check(chart: &Chart, values: &Dict) -> Result<(), SchemaError> {
    let mut text = String::new();
    report(chart, values, &mut text);
    if text.is_empty() { Ok(()) } else { Err(SchemaError(text)) }
}

fn report(chart: &Chart, values: &Dict, text: &mut String) {
    if let Some(schema) = &chart.schema
        && let Err(message) = check_one(schema, values)
    {
        text.push_str(&format!("{}:\n{message}", chart.name()));
    }
    for subchart in &chart.dependencies {
        match values.get(subchart.name()) {
            None | Some(Value::Nil) => {}
            Some(Value::Dict(values)) => report(subchart, &values, text),
            Some(other) => {
                let (name, found) = (subchart.name(), other.type_name().to_owned());
                let message = "invalid type for values: expected object (map), got";
                text.push_str(&format!("{name}:\n{message} {found}\n"));
            }
        }
    }
}

fn check_one(schema: &[u8], values: &Dict) -> Result<(), String> {
    let schema: serde_json::Value = serde_json::from_slice(schema).map_err(|error| error.to_string())?;
    let root = reference::Root::new(&schema)?;
    let values = Value::Dict(crate::values::copy_table(values));
    match validate::run(&root, &values)? {
        None => Ok(()),
        Some(violation) => {
            let mut text = String::new();
            for cause in violation.flattened() {
                cause.write(&mut text, 1);
            }
            Err(format!("{}\n", text.trim_start_matches('\n')))
        }
    }
}

/// What is wrong with a value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
struct Violation {
    /// The keys and indices that lead to the value.
    path: Vec<String>,
    what: What,
    causes: Vec<Violation>,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// Several things at once.
    Group,
    /// What a referenced schema found.
    Reference,
    Message(String),
}

impl Violation {
    /// The violations of a group, or this one.
    fn flattened(self) -> Vec<Violation> {
        if self.what == What::Group { self.causes } else { vec![self] }
    }

    fn write(&self, out: &mut String, indent: usize) {
        let hidden = self.what == What::Reference && self.causes.len() == 1;
        let inner = if hidden { indent } else { indent + 1 };
        if !hidden {
            out.push('\n');
            out.push_str(&"  ".repeat(indent - 1));
            out.push_str(&format!("- at {}: {}", quote(&pointer(&self.path)), self.what));
        }
        for cause in &self.causes {
            cause.write(out, inner);
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Group | What::Reference => f.write_str("validation failed"),
            What::Message(message) => f.write_str(message),
        }
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Text in single quotes.
fn quote(text: &str) -> String {
    let quoted = coracle_gotemplate::quote(text.as_bytes()).replace("\\\"", "\"").replace('\'', "\\'");
    format!("'{}'", &quoted[1..quoted.len() - 1])
}

fn join_quoted(texts: &[String]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")
}

/// A number with commas between thousands, as the library's messages have it.
fn grouped(number: f64) -> String {
    let text = if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { number.to_string() };
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    fraction.map_or(out.clone(), |fraction| format!("{out}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{check_one, grouped};

    fn check(schema: &str, values: &str, expected: Expect) {
        let values = crate::values::read(values, crate::Flavour::Helm4).expect("values");
        expected.assert_eq(&check_one(schema.as_bytes(), &values).err().unwrap_or_default());
    }

    #[test]
    fn violations_are_told_in_the_librarys_words() {
        check(
            r##"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["name", "image"],
                "properties": {"replicas": {"type": "integer", "minimum": 1}, "port": {"maximum": 65535},
                  "mode": {"enum": ["a", "b"]}, "image": {"$ref": "#/definitions/image"}},
                "definitions": {"image": {"type": "object", "additionalProperties": false,
                  "properties": {"tag": {"type": ["string", "null"], "pattern": "^v"}}}}}"##,
            "replicas: many\nport: 70000\nmode: c\nimage: {tag: x, other: 1}\n",
            expect![[r#"
                - at '': missing property 'name'
                - at '/image': validation failed
                  - at '/image/tag': 'x' does not match pattern '^v'
                  - at '/image': additional properties 'other' not allowed
                - at '/mode': value must be one of 'a', 'b'
                - at '/port': maximum: got 70,000, want 65,535
                - at '/replicas': got string, want integer
            "#]],
        );
    }

    #[test]
    fn combinations_tell_what_each_branch_found() {
        check(
            r#"{"properties": {"a": {"anyOf": [{"type": "string"}, {"minimum": 5}]},
                "b": {"oneOf": [{"type": "number"}, {"minimum": 1}]}, "c": {"not": {"const": 1}},
                "d": {"if": {"const": 1}, "then": {"type": "string"}}}}"#,
            "a: 1\nb: 2\nc: 1\nd: 1\n",
            expect![[r#"
                - at '/a': 'anyOf' failed
                  - at '/a': got number, want string
                  - at '/a': minimum: got 1, want 5
                - at '/b': 'oneOf' failed, subschemas 0, 1 matched
                - at '/c': 'not' failed
                - at '/d': got number, want string
            "#]],
        );
    }

    #[test]
    fn what_a_schema_allows_passes() {
        check(
            r##"{"$defs": {"n": {"type": "integer"}}, "properties": {"list": {"items": {"$ref": "#/$defs/n"},
                "uniqueItems": true, "contains": {"const": 2}}}, "unevaluatedProperties": false}"##,
            "list: [1, 2, 3]\n",
            expect![""],
        );
        check(
            r#"{"properties": {}, "unevaluatedProperties": false}"#,
            "x: 1\n",
            expect![[r#"
            - at '/x': false schema
        "#]],
        );
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(-1000.5), "-1,000.5");
        assert_eq!(grouped(12.0), "12");
    }
}
