//! Reading a mapping field by field into types, with errors that name the field, the place and what was expected.

use crate::emit::go_float;
use crate::node::{Mapping, Mark, Node, Scalar, Value};
use crate::resolve::Resolved;

/// What is wrong with a field, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    pub mark: Mark,
    pub message: String,
}

impl DecodeError {
    pub fn new(mark: Mark, message: impl Into<String>) -> Self {
        DecodeError { mark, message: message.into() }
    }
}

/// A text with the place it stood at, for errors that come up when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub mark: Mark,
}

/// How strictly fields are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Names and types have to be right.
    Exact,
    /// As Go's JSON decoder reads a file that was YAML 1.1: names fit in any case, `yes` is a truth value, and a null
    /// where a string is expected is the empty one.
    Json,
    /// As [`Manner::Json`], but fields nobody knows are left alone, and numbers and truth values are taken as text.
    Loose,
}

/// The fields of one mapping. Each reader names a field that may be there; [`Fields::finish`] refuses the others.
pub struct Fields<'a> {
    mapping: &'a Mapping,
    mark: Mark,
    path: String,
    manner: Manner,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which errors call `path` (empty at the top of a file).
    pub fn of(node: &'a Node, path: &str) -> Result<Self, DecodeError> {
        Fields::read(node, path, Manner::Exact)
    }

    pub fn read(node: &'a Node, path: &str, manner: Manner) -> Result<Self, DecodeError> {
        match &node.value {
            Value::Mapping(mapping) => {
                Ok(Fields { mapping, mark: node.mark, path: path.to_owned(), manner, known: Vec::new() })
            }
            _ => Err(unexpected(node, path, "a mapping of fields")),
        }
    }

    pub fn manner(&self) -> Manner {
        self.manner
    }

    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The name errors give to the field `key`.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The node of a field; null counts as not there, as it does everywhere in Kubernetes.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.any_node(key).filter(|node| !node.is_null())
    }

    /// The node of a field, null or not.
    pub fn any_node(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        match self.manner {
            Manner::Exact => self.mapping.get(key),
            _ => {
                self.mapping.iter().filter(|entry| entry.key.eq_ignore_ascii_case(key)).last().map(|entry| &entry.value)
            }
        }
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<Located<String>>, DecodeError> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let value = self.text_of(node, &self.path_of(key))?;
        Ok(Some(Located { value, mark: node.mark }))
    }

    /// A string, or the empty one.
    pub fn string(&mut self, key: &'static str) -> Result<String, DecodeError> {
        Ok(self.text(key)?.map(|text| text.value).unwrap_or_default())
    }

    pub fn integer(&mut self, key: &'static str) -> Result<Option<i64>, DecodeError> {
        let Some(node) = self.node(key) else { return Ok(None) };
        match &node.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Int(value) => Ok(Some(value)),
                _ => Err(unexpected(node, &self.path_of(key), "a whole number")),
            },
            _ => Err(unexpected(node, &self.path_of(key), "a whole number")),
        }
    }

    /// `true`, or false when it is not there.
    pub fn flag(&mut self, key: &'static str) -> Result<bool, DecodeError> {
        let Some(node) = self.node(key) else { return Ok(false) };
        match &node.value {
            Value::Scalar(scalar) => match self.resolve(scalar) {
                Resolved::Bool(value) => Ok(value),
                _ => Err(unexpected(node, &self.path_of(key), "true or false")),
            },
            _ => Err(unexpected(node, &self.path_of(key), "true or false")),
        }
    }

    pub fn list(&mut self, key: &'static str) -> Result<&'a [Node], DecodeError> {
        let Some(node) = self.node(key) else { return Ok(&[]) };
        node.as_sequence().ok_or_else(|| unexpected(node, &self.path_of(key), "a list"))
    }

    pub fn texts(&mut self, key: &'static str) -> Result<Vec<Located<String>>, DecodeError> {
        let path = self.path_of(key);
        let items = self.list(key)?.iter().enumerate();
        items
            .map(|(index, node)| {
                Ok(Located { value: self.text_of(node, &format!("{path}[{index}]"))?, mark: node.mark })
            })
            .collect()
    }

    /// A mapping from string to string, in its order.
    pub fn text_map(&mut self, key: &'static str) -> Result<Vec<(String, Located<String>)>, DecodeError> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let mapping = node.as_mapping().ok_or_else(|| unexpected(node, &path, "a mapping of names to strings"))?;
        mapping
            .iter()
            .map(|entry| {
                let value = self.text_of(&entry.value, &format!("{path}.{}", entry.key))?;
                let key = if self.manner == Manner::Json { entry.old_key() } else { (&*entry.key).into() };
                Ok((key.into_owned(), Located { value, mark: entry.value.mark }))
            })
            .collect()
    }

    fn resolve(&self, scalar: &Scalar) -> Resolved {
        if self.manner == Manner::Exact { scalar.resolve() } else { scalar.resolve_old() }
    }

    fn text_of(&self, node: &Node, path: &str) -> Result<String, DecodeError> {
        let (manner, Value::Scalar(scalar)) = (self.manner, &node.value) else { return text_of(node, path) };
        match self.resolve(scalar) {
            Resolved::String | Resolved::Timestamp(_) => Ok(scalar.text.to_string()),
            Resolved::Null if manner != Manner::Exact => Ok(String::new()),
            Resolved::Bool(value) if manner == Manner::Loose => Ok(value.to_string()),
            Resolved::Int(value) if manner == Manner::Loose => Ok(value.to_string()),
            Resolved::UInt(value) if manner == Manner::Loose => Ok(value.to_string()),
            Resolved::Float(value) if manner == Manner::Loose => Ok(go_float(value)),
            _ => Err(unexpected(node, path, "a string")),
        }
    }

    fn knows(&self, key: &str) -> bool {
        match self.manner {
            Manner::Exact => self.known.contains(&key),
            Manner::Json => self.known.iter().any(|known| known.eq_ignore_ascii_case(key)),
            Manner::Loose => true,
        }
    }

    /// Refuses the first field nobody asked for, with the nearest known name.
    pub fn finish(self) -> Result<(), DecodeError> {
        let Some(unknown) = self.mapping.iter().find(|entry| !self.knows(&entry.key)) else { return Ok(()) };
        let name = self.path_of(&unknown.key);
        let message = match nearest(&unknown.key, &self.known) {
            Some(suggestion) => format!("unknown field {name:?}; did you mean {suggestion:?}?"),
            None => format!("unknown field {name:?}; expected one of {}", self.known.join(", ")),
        };
        Err(DecodeError::new(unknown.key_mark, message))
    }
}

/// The text of a string node; other scalars are refused, since their text is not what the writer meant.
pub fn text_of(node: &Node, path: &str) -> Result<String, DecodeError> {
    match &node.value {
        Value::Scalar(scalar) if matches!(scalar.resolve(), Resolved::String | Resolved::Timestamp(_)) => {
            Ok(scalar.text.to_string())
        }
        _ => Err(unexpected(node, path, "a string")),
    }
}

fn unexpected(node: &Node, path: &str, wanted: &str) -> DecodeError {
    let found = node.describe();
    let hint = if wanted == "a string" && found.starts_with("the ") { " (put it in quotes)" } else { "" };
    let subject = if path.is_empty() { String::new() } else { format!("{path}: ") };
    DecodeError::new(node.mark, format!("{subject}expected {wanted}, found {found}{hint}"))
}

/// The known name that differs from `name` least, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), *candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(name.len()))
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replace = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{DecodeError, Fields};
    use crate::{FileId, parse_one};

    fn check(text: &str, expected: Expect) {
        let node = parse_one(text, FileId::default()).unwrap();
        let read = || -> Result<String, DecodeError> {
            let mut fields = Fields::of(&node, "")?;
            let read = format!(
                "{:?} {:?} {:?} {:?}",
                fields.string("name")?,
                fields.integer("replicas")?,
                fields.flag("paused")?,
                fields.texts("args")?.into_iter().map(|arg| arg.value).collect::<Vec<_>>()
            );
            fields.finish()?;
            Ok(read)
        };
        let text = match read() {
            Ok(text) => text,
            Err(error) => format!("{}:{}: {error}", error.mark.line, error.mark.column),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        check("name: a\nreplicas: 3\nargs: [x, 'y']", expect![[r#""a" Some(3) false ["x", "y"]"#]]);
        check("name: a\nreplcas: 3", expect![[r#"2:1: unknown field "replcas"; did you mean "replicas"?"#]]);
        check("zzz: 1", expect![[r#"1:1: unknown field "zzz"; expected one of name, replicas, paused, args"#]]);
        check("name: 8080", expect!["1:7: name: expected a string, found the number 8080 (put it in quotes)"]);
        check("replicas: three", expect![[r#"1:11: replicas: expected a whole number, found the string "three""#]]);
        check("args: {a: b}", expect!["1:7: args: expected a list, found a mapping"]);
        check("args: [a, [b]]", expect!["1:11: args[1]: expected a string, found a list"]);
        check("- a", expect!["1:1: expected a mapping of fields, found a list"]);
    }
}
