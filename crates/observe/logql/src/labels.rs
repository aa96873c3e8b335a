//! Label sets: names with values, sorted by name, no name twice.

use std::fmt;

use crate::go;

/// A sorted set of labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(String, String)>);

/// Why text is no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at offset {offset}")]
pub struct LabelsError {
    message: &'static str,
    offset: usize,
}

impl Labels {
    /// Sorts; of a name that comes twice the last value counts. Empty values are as good as absent and are left out.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut labels = Self::with_empty(pairs);
        labels.0.retain(|(_, value)| !value.is_empty());
        labels
    }

    /// As [`Labels::new`], but keeps labels whose value is empty, as parsers make them.
    pub fn with_empty(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(&mut earlier.1, &mut later.1);
            }
            same
        });
        Self(pairs)
    }

    /// The value of a name; `None` where it is not there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)).ok().map(|at| self.0[at].1.as_str())
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Only the labels whose name is wanted.
    pub fn keep(&self, wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| wanted(name)).cloned().collect())
    }

    /// Only the labels that have a value.
    pub fn without_empty(&self) -> Self {
        Self(self.0.iter().filter(|(_, value)| !value.is_empty()).cloned().collect())
    }

    /// With one label set, or removed where the value is empty.
    pub fn set(&self, name: &str, value: &str) -> Self {
        let mut labels = self.keep(|other| other != name);
        if !value.is_empty() {
            let at = labels.0.partition_point(|(other, _)| other.as_str() < name);
            labels.0.insert(at, (name.to_owned(), value.to_owned()));
        }
        labels
    }

    /// Reads `{name="value", …}`.
    pub fn parse(text: &str) -> Result<Self, LabelsError> {
        let mut reader = Reader { text, at: 0 };
        reader.expect(b'{', "expected '{'")?;
        let mut pairs = Vec::new();
        loop {
            if reader.take(b'}') {
                break;
            }
            let name = reader.name()?;
            reader.expect(b'=', "expected '='")?;
            pairs.push((name, reader.value()?));
            if !reader.take(b',') {
                reader.expect(b'}', "expected ',' or '}'")?;
                break;
            }
        }
        reader.skip_spaces();
        if reader.at < text.len() {
            return Err(reader.error("unexpected text"));
        }
        pairs.sort();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelsError { message: "a label name comes twice", offset: 0 });
        }
        Ok(Self::new(pairs))
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn error(&self, message: &'static str) -> LabelsError {
        LabelsError { message, offset: self.at }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, message: &'static str) -> Result<(), LabelsError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(message)) }
    }

    fn name(&mut self) -> Result<String, LabelsError> {
        self.skip_spaces();
        if self.text[self.at..].starts_with('"') {
            return self.value();
        }
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if len == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("expected a label name"));
        }
        self.at += len;
        Ok(rest[..len].to_owned())
    }

    fn value(&mut self) -> Result<String, LabelsError> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let delimiter = match rest.chars().next() {
            Some(delimiter @ ('"' | '`')) => delimiter,
            _ => return Err(self.error("expected a quoted value")),
        };
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == delimiter && !escaped;
            escaped = delimiter == '"' && *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return Err(self.error("a quoted value has no end")) };
        let value = go::unquote(&rest[..=end]).ok_or_else(|| self.error("a quoted value has a wrong escape"))?;
        self.at += end + 1;
        Ok(value)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={}", go::quote(value))?;
        }
        f.write_str("}")
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let labels = Labels::parse(r#"{ b = "x\"y", a="1",}"#).unwrap();
        assert_eq!(labels.to_string(), r#"{a="1", b="x\"y"}"#);
        assert_eq!(Labels::parse(&labels.to_string()), Ok(labels));
    }

    #[test]
    fn what_is_no_label_set() {
        let told = |text| Labels::parse(text).unwrap_err().to_string();
        assert_eq!(told("a"), "expected '{' at offset 0");
        assert_eq!(told("{a}"), "expected '=' at offset 2");
        assert_eq!(told(r#"{a="x"#), "a quoted value has no end at offset 3");
        assert_eq!(told(r#"{a="1",a="2"}"#), "a label name comes twice at offset 0");
        assert_eq!(told(r#"{a="1"} x"#), "unexpected text at offset 8");
    }
}
