//! Metrics as text, a line a sample: OpenMetrics and the older format of Prometheus, read and written as a stream.

use std::fmt::Write;

use coracle_promql::{Labels, labels::METRIC_NAME, number::plain_float};

/// A line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TextError {
    pub line: usize,
    pub what: String,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Sample {
        labels: Labels,
        value: f64,
        time_ms: Option<i64>,
    },
    Type {
        metric: String,
        kind: String,
    },
    Help {
        metric: String,
        help: String,
    },
    Unit {
        metric: String,
        unit: String,
    },
    /// `# EOF`: nothing may come after it.
    End,
    /// A comment, or nothing.
    Nothing,
}

/// Reads a line. Times are seconds in OpenMetrics and milliseconds in the older format.
pub fn read_line(text: &str, openmetrics: bool) -> Result<Line, String> {
    let text = text.trim_end_matches(['\n', '\r']);
    if let Some(comment) = text.strip_prefix('#') {
        return Ok(read_comment(comment.trim_start()));
    }
    if text.trim().is_empty() {
        return Ok(Line::Nothing);
    }
    let mut reader = Reader(text);
    let mut pairs = Vec::new();
    let name = reader.name();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    if reader.skip('{') {
        reader.labels(&mut pairs)?;
    }
    if pairs.is_empty() {
        return Err("a sample needs a name".to_owned());
    }
    // What follows a hash is an exemplar.
    let rest = reader.0.split(" # ").next().unwrap_or_default();
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("there is no value")?;
    let value = read_float(value).ok_or_else(|| format!("{value} is no number"))?;
    let time_ms = words.next().map(|time| {
        let parsed = match openmetrics {
            true => read_float(time).filter(|time| time.is_finite()).map(|seconds| (seconds * 1000.0).round() as i64),
            false => time.parse().ok(),
        };
        parsed.ok_or_else(|| format!("{time} is no time"))
    });
    let time_ms = time_ms.transpose()?;
    match words.next() {
        Some(word) => Err(format!("{word} is too much")),
        None => Ok(Line::Sample { labels: Labels::new(pairs), value, time_ms }),
    }
}

fn read_comment(text: &str) -> Line {
    if text.trim_end() == "EOF" {
        return Line::End;
    }
    let Some((what, rest)) = text.split_once(' ') else { return Line::Nothing };
    let (metric, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (metric, rest) = (metric.to_owned(), rest.to_owned());
    match what {
        "TYPE" => Line::Type { metric, kind: rest },
        "HELP" => Line::Help { metric, help: unescape(&rest) },
        "UNIT" => Line::Unit { metric, unit: rest },
        _ => Line::Nothing,
    }
}

fn read_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::from_bits(coracle_promql::storage::NORMAL_NAN)),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            other => plain.push(other),
        }
    }
    plain
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn skip(&mut self, character: char) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(character) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.') || byte >= 0x80;
        let len = self.0.bytes().take_while(|byte| is_part(*byte)).count();
        let (name, rest) = self.0.split_at(len);
        self.0 = rest;
        name
    }

    fn labels(&mut self, into: &mut Vec<(String, String)>) -> Result<(), String> {
        loop {
            if self.skip('}') {
                return Ok(());
            }
            self.0 = self.0.trim_start();
            let name = match self.0.starts_with('"') {
                true => self.quoted()?,
                false => self.name().to_owned(),
            };
            if self.skip('=') {
                let value = self.quoted()?;
                into.push((name, value));
            } else if into.is_empty() && !name.is_empty() {
                // A metric's name in quotes stands alone.
                into.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err("a label has no value".to_owned());
            }
            if !self.skip(',') && !self.0.trim_start().starts_with('}') {
                return Err("labels do not end".to_owned());
            }
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        if !self.skip('"') {
            return Err("a label's value is not in quotes".to_owned());
        }
        let mut escaped = false;
        let end = self.0.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let end = end.ok_or("a label's value does not end")?;
        let text = unescape(&self.0[..end]);
        self.0 = &self.0[end + 1..];
        Ok(text)
    }
}

fn is_plain_name(name: &str) -> bool {
    coracle_promql::labels::is_plain_label_name(name)
}

fn put_quoted(into: &mut String, text: &str) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
    into.push('"');
}

/// Appends `name="value"`.
pub(crate) fn put_value(into: &mut String, name: &str, value: &str) {
    if is_plain_name(name) {
        into.push_str(name);
    } else {
        put_quoted(into, name);
    }
    into.push('=');
    put_quoted(into, value);
}

/// Appends a sample as a line of OpenMetrics.
pub fn write_sample(into: &mut String, labels: &Labels, time_ms: i64, value: f64) {
    let name = labels.metric_name();
    let plain = coracle_promql::labels::is_plain_metric_name(name);
    let mut first = true;
    if plain {
        into.push_str(name);
    }
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    if !plain || labels.len() > 1 {
        into.push('{');
        if !plain && !name.is_empty() {
            put_quoted(into, name);
            first = false;
        }
        for (name, value) in others {
            if !std::mem::take(&mut first) {
                into.push(',');
            }
            put_value(into, name, value);
        }
        into.push('}');
    }
    let sign = if time_ms < 0 { "-" } else { "" };
    let time_ms = time_ms.unsigned_abs();
    writeln!(into, " {} {sign}{}.{:03}", plain_float(value), time_ms / 1000, time_ms % 1000)
        .expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: expect_test::Expect) {
        let shown = match read_line(text, true) {
            Ok(Line::Sample { labels, value, time_ms }) => format!("{labels} {value} {time_ms:?}"),
            other => format!("{other:?}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn lines_are_read() {
        check("up 1", expect![[r#"{__name__="up"} 1 None"#]]);
        check(
            r#"a_total{b="x\"y\\\n",c=""} +Inf 12.5 # {trace="1"} 3"#,
            expect![[r#"{__name__="a_total", b="x\"y\\\n"} inf Some(12500)"#]],
        );
        check(r#"{"odd name",x="1"} 2e3"#, expect![[r#"{__name__="odd name", x="1"} 2000 None"#]]);
        check("# TYPE a counter", expect![[r#"Ok(Type { metric: "a", kind: "counter" })"#]]);
        check("# EOF", expect!["Ok(End)"]);
        check("up", expect![[r#"Err("there is no value")"#]]);
        check("up{a=1} 1", expect![[r#"Err("a label's value is not in quotes")"#]]);
        check("up 1 2 3", expect![[r#"Err("3 is too much")"#]]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let labels = Labels::new([("__name__", "odd name"), ("a", "line\nbreak \"q\" \\")]);
        let mut text = String::new();
        write_sample(&mut text, &labels, -1500, 0.25);
        expect![[r#"
            {"odd name",a="line\nbreak \"q\" \\"} 0.25 -1.500
        "#]]
        .assert_eq(&text);
        assert_eq!(read_line(&text, true), Ok(Line::Sample { labels, value: 0.25, time_ms: Some(-1500) }));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "\\PC{0,60}", bent in "[a-z0-9_:{}=\",\\\\# .+NaInfEOF\n-]{0,60}", strict: bool) {
            for text in [&line, &bent, &format!("# {bent}"), &format!("up{{{bent}}} 1")] {
                let _ = read_line(text, strict);
            }
        }
    }
}
