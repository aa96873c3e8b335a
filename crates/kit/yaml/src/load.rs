//! YAML as the Kubernetes tools read it into values: the first document, by the words and numbers of YAML 1.1, as JSON
//! would hold it (keys are text, numbers are floats). What is read into is the caller's; [`Build`] makes it.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use crate::{
    emit::go_float,
    lenient::Lenient,
    resolve::{self, Resolved},
    {Scalar, Style},
};

/// How deep a document may nest; deeper ones would only come from an attack on the stack.
const DEPTH_LIMIT: usize = 250;
/// How many nodes aliases may add to a document.
const ALIAS_NODES_LIMIT: usize = 400_000;

/// Makes values.
pub trait Build {
    type Value;

    fn null(&mut self) -> Self::Value;
    fn bool(&mut self, value: bool) -> Self::Value;
    fn number(&mut self, value: f64) -> Self::Value;
    fn text(&mut self, text: &str) -> Self::Value;
    fn list(&mut self, items: Vec<Self::Value>) -> Self::Value;
    /// Entries in the order they were written; of a key that is there twice the last one counts.
    fn map(&mut self, entries: Vec<(String, Self::Value)>) -> Self::Value;
    /// A value of its own that says the same, for an alias.
    fn copy(&mut self, value: &Self::Value) -> Self::Value;
    /// The entries of a map, for a merge key; none for what is no map.
    fn entries_of(&mut self, value: Self::Value) -> Option<Vec<(String, Self::Value)>>;
    /// How many nodes a value has.
    fn size(&self, value: &Self::Value) -> usize;
}

/// Reads the first document of `text`; nothing if there is none. The error is what Go's library says.
pub fn load<B: Build>(text: &str, build: &mut B) -> Result<Option<B::Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    refuse_tab_at_start(text)?;
    let mut lenient = Lenient::new(text);
    loop {
        let mut loader = Loader {
            parser: Parser::new_from_str(lenient.text()),
            build: &mut *build,
            anchors: Vec::new(),
            scalars: Vec::new(),
            alias_nodes: 0,
            complaint: None,
        };
        let read = loader.first();
        let complaint = loader.complaint.take();
        drop(loader);
        match complaint {
            Some((complaint, line)) if read.is_err() && lenient.mend(&complaint, line) => {}
            _ => return read,
        }
    }
}

/// Go's library takes no tab in front of the first token; the parser here skips it.
fn refuse_tab_at_start(text: &str) -> Result<(), String> {
    for (index, line) in text.split('\n').enumerate() {
        let content = line.trim_start_matches(' ').trim_end_matches('\r');
        if content.starts_with('\t') {
            return Err(in_words_of_go("tabs disallowed", index + 1));
        }
        if !content.is_empty() && !content.starts_with('#') {
            break;
        }
    }
    Ok(())
}

struct Loader<'text, 'build, B: Build> {
    parser: Parser<'text, StrInput<'text>>,
    build: &'build mut B,
    anchors: Vec<(usize, B::Value)>,
    /// Anchored scalars as written, for aliases that stand as keys.
    scalars: Vec<(usize, Scalar)>,
    alias_nodes: usize,
    /// What the parser said, and of which line.
    complaint: Option<(String, usize)>,
}

impl<'text, B: Build> Loader<'text, '_, B> {
    fn first(&mut self) -> Result<Option<B::Value>, String> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    return self.node(event, 0).map(Some);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<Event<'text>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => {
                let (complaint, line) = (error.info(), error.marker().line());
                self.complaint = Some((complaint.to_owned(), line));
                Err(in_words_of_go(complaint, line))
            }
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'text>, depth: usize) -> Result<B::Value, String> {
        if depth > DEPTH_LIMIT {
            return Err(format!("yaml: exceeded max depth of {DEPTH_LIMIT}"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar_of(&text, style, tag.as_deref());
                let value = self.scalar(&scalar)?;
                if anchor > 0 {
                    self.scalars.push((anchor, scalar));
                }
                (anchor, value)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                (anchor, self.build.list(items))
            }
            Event::MappingStart(anchor, _) => {
                let entries = self.mapping(depth)?;
                (anchor, self.build.map(entries))
            }
            Event::Alias(anchor) => return self.alias(anchor),
            _ => return Err("yaml: a value is expected here".to_owned()),
        };
        if anchor > 0 {
            let copy = self.build.copy(&value);
            self.anchors.push((anchor, copy));
        }
        Ok(value)
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<B::Value, String> {
        if scalar.tag.as_deref() == Some("binary") {
            return Ok(self.build.text(&decoded(&scalar.text)?));
        }
        Ok(match resolve::words_of_old(scalar) {
            Resolved::Null => self.build.null(),
            Resolved::Bool(value) => self.build.bool(value),
            Resolved::Int(value) => self.build.number(value as f64),
            Resolved::UInt(value) => self.build.number(value as f64),
            Resolved::Float(value) if value.is_finite() => self.build.number(value),
            Resolved::Float(value) => {
                let name = if value.is_nan() {
                    "NaN"
                } else if value > 0.0 {
                    "+Inf"
                } else {
                    "-Inf"
                };
                return Err(format!("json: unsupported value: {name}"));
            }
            Resolved::Timestamp(_) | Resolved::String => self.build.text(&scalar.text),
        })
    }

    fn alias(&mut self, anchor: usize) -> Result<B::Value, String> {
        let Some(at) = self.anchors.iter().rposition(|(number, _)| *number == anchor) else {
            return Err("yaml: anchor value contains itself".to_owned());
        };
        let value = &self.anchors[at].1;
        self.alias_nodes += self.build.size(value);
        if self.alias_nodes > ALIAS_NODES_LIMIT {
            return Err("yaml: document contains excessive aliasing".to_owned());
        }
        Ok(self.build.copy(value))
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(String, B::Value)>, String> {
        let mut entries = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, style, anchor, tag) => {
                    let scalar = scalar_of(&text, style, tag.as_deref());
                    if anchor > 0 {
                        let value = self.scalar(&scalar)?;
                        self.anchors.push((anchor, value));
                        self.scalars.push((anchor, scalar.clone()));
                    }
                    scalar
                }
                Event::Alias(anchor) => self.aliased_key(anchor)?,
                _ => return Err("yaml: invalid map key".to_owned()),
            };
            let event = self.next()?;
            let is_list = matches!(event, Event::SequenceStart(..));
            if is_merge(&key) {
                self.merge(event, is_list, depth, &mut entries)?;
                continue;
            }
            let value = self.node(event, depth + 1)?;
            entries.push((key_text(&key)?, value));
        }
    }

    fn aliased_key(&self, anchor: usize) -> Result<Scalar, String> {
        let found = self.scalars.iter().rfind(|(number, _)| *number == anchor);
        found.map(|(_, scalar)| scalar.clone()).ok_or_else(|| "yaml: invalid map key".to_owned())
    }

    /// What `<<` names goes where it stands: over what stands before it, under what follows. Of several maps the first
    /// wins.
    fn merge(
        &mut self,
        event: Event<'text>,
        is_list: bool,
        depth: usize,
        entries: &mut Vec<(String, B::Value)>,
    ) -> Result<(), String> {
        let refuse = || "yaml: map merge requires map or sequence of maps as the value".to_owned();
        let mut merged = Vec::new();
        if is_list {
            loop {
                match self.next()? {
                    Event::SequenceEnd => break,
                    event => {
                        let value = self.node(event, depth + 1)?;
                        merged.push(self.build.entries_of(value).ok_or_else(refuse)?);
                    }
                }
            }
        } else {
            let value = self.node(event, depth + 1)?;
            merged.push(self.build.entries_of(value).ok_or_else(refuse)?);
        }
        entries.extend(merged.into_iter().rev().flatten());
        Ok(())
    }
}

/// The usual complaints in the words of Go's library. Its scanner counts lines from 1 and its parser from 0, and neither
/// names the first.
fn in_words_of_go(complaint: &str, line: usize) -> String {
    let parser = |words| (words, line.saturating_sub(1));
    let line = if line > 1 { line } else { 0 };
    let (words, line) = match complaint {
        "simple key expect ':'" | "simple key expected" => ("could not find expected ':'", line),
        "misplaced bracket" => parser("did not find expected node content"),
        words if words.ends_with("expected ',' or ']'") => parser("did not find expected ',' or ']'"),
        words if words.ends_with("expected ',' or '}'") => parser("did not find expected ',' or '}'"),
        words if words.ends_with("found unexpected end of stream") => ("found unexpected end of stream", line),
        words if words.starts_with("unexpected character") => ("found character that cannot start any token", line),
        words if words.starts_with("tabs disallowed") => ("found character that cannot start any token", line),
        words if words.starts_with("while parsing a node") => parser("did not find expected node content"),
        words if words.starts_with("invalid trailing content") => parser("did not find expected key"),
        words if words.starts_with("while parsing a block mapping") => parser("did not find expected key"),
        words if words.starts_with("while parsing a block collection") => parser("did not find expected '-' indicator"),
        words => (words, line),
    };
    if line > 0 { format!("yaml: line {line}: {words}") } else { format!("yaml: {words}") }
}

fn scalar_of(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Scalar {
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    };
    let tag = tag.map(|tag| {
        let text = if tag.is_yaml_core_schema() { tag.suffix.clone() } else { format!("{}{}", tag.handle, tag.suffix) };
        text.into()
    });
    Scalar { text: text.into(), style, tag }
}

/// The text of bytes that were written in base 64.
fn decoded(text: &str) -> Result<String, String> {
    let text: String = text.chars().filter(|char| !matches!(char, '\n' | '\r')).collect();
    let bytes = BASE64.decode(text).map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_merge(key: &Scalar) -> bool {
    &*key.text == "<<" && (key.style == Style::Plain || key.tag.as_deref() == Some("merge"))
}

/// A key as JSON has it.
fn key_text(key: &Scalar) -> Result<String, String> {
    Ok(match resolve::words_of_old(key) {
        Resolved::Null => return Err("unsupported map key of type: %!s(<nil>), key: <nil>".to_owned()),
        Resolved::Bool(value) => value.to_string(),
        Resolved::Int(value) => value.to_string(),
        Resolved::UInt(value) => return Err(format!("unsupported map key of type: uint64, key: {value:#x}")),
        // Keys go through single precision on their way to text.
        Resolved::Float(value) => single_precision(value),
        Resolved::Timestamp(_) | Resolved::String => key.text.to_string(),
    })
}

fn single_precision(value: f64) -> String {
    let shortest = format!("{}", value as f32);
    shortest.parse().map_or(shortest, go_float)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Build, load};

    struct Json;

    impl Build for Json {
        type Value = Value;

        fn null(&mut self) -> Value {
            Value::Null
        }

        fn bool(&mut self, value: bool) -> Value {
            value.into()
        }

        fn number(&mut self, value: f64) -> Value {
            value.into()
        }

        fn text(&mut self, text: &str) -> Value {
            text.into()
        }

        fn list(&mut self, items: Vec<Value>) -> Value {
            items.into()
        }

        fn map(&mut self, entries: Vec<(String, Value)>) -> Value {
            Value::Object(entries.into_iter().collect())
        }

        fn copy(&mut self, value: &Value) -> Value {
            value.clone()
        }

        fn entries_of(&mut self, value: Value) -> Option<Vec<(String, Value)>> {
            match value {
                Value::Object(fields) => Some(fields.into_iter().collect()),
                _ => None,
            }
        }

        fn size(&self, _: &Value) -> usize {
            1
        }
    }

    #[test]
    fn words_and_numbers_are_those_of_old() {
        let text = "a: yes\nb: off\nc: 'yes'\nd: 010\ne: 0x1F\nf: 1_000\n1: n\n1.5: y\ntrue: ~\n";
        let read = load(text, &mut Json).unwrap().unwrap();
        let expected = json!({
            "a": true, "b": false, "c": "yes", "d": 8.0, "e": 31.0, "f": 1000.0, "1": false, "1.5": true, "true": null
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn within_brackets_and_quotes_nothing_need_be_indented() {
        let text = "a:\n    b: [\n    \"x\",\n  'y\n\n z'\n    ]\n    c: {\n d: 1\n}\n    e: \"one \\\n two\n   three\"\n    f: 2\n";
        let expected = json!({"a": {"b": ["x", "y\nz"], "c": {"d": 1.0}, "e": "one two three", "f": 2.0}});
        assert_eq!(load(text, &mut Json).unwrap().unwrap(), expected);
        assert!(load("a:\n  b: \"x\n---\ny\"\n", &mut Json).is_err());
        assert!(load("a:\n  b: [\n c\n", &mut Json).is_err());
    }

    #[test]
    fn merges_stand_where_they_are_written() {
        let text = "base: &base {a: 1, b: 2}\nmerged:\n  a: 0\n  <<: *base\n  b: 3\n";
        let read = load(text, &mut Json).unwrap().unwrap();
        assert_eq!(read["merged"], json!({"a": 1.0, "b": 3.0}));
    }

    #[test]
    fn of_a_repeated_key_the_last_counts_and_only_the_first_document() {
        assert_eq!(load("a: 1\na: 2\n---\nb: 3\n", &mut Json).unwrap().unwrap(), json!({"a": 2.0}));
        assert_eq!(load("# nothing\n", &mut Json).unwrap(), None);
    }
}
