//! Label and field selectors: parsing as upstream's grammar has it, and matching.

use serde_json::Value;

use crate::status::Failure;

/// A conjunction of label requirements; empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>5`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Parser { rest: text, whole: text }.selector()
    }

    /// Reads the requirements of a review, leaving out those it does not know; whether there were such.
    pub fn of_requirements(requirements: &[Value]) -> (Self, bool) {
        let known = requirements.iter().filter_map(label_requirement);
        let known: Vec<Requirement> = known.filter(|requirement| check_key(&requirement.key).is_ok()).collect();
        let is_partial = known.len() < requirements.len();
        (Self(known), is_partial)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels, looked up by `label`, satisfy all requirements.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        let compare = |value: &str| Some((value.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => value.and_then(compare).is_some_and(|(have, bound)| have > bound),
            Operator::LessThan => value.and_then(compare).is_some_and(|(have, bound)| have < bound),
        }
    }
}

fn label_requirement(requirement: &Value) -> Option<Requirement> {
    let values: Vec<String> = texts(&requirement["values"]).map(str::to_owned).collect();
    let operator = match (requirement["operator"].as_str()?, values.is_empty()) {
        ("In", false) => Operator::In,
        ("NotIn", false) => Operator::NotIn,
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        _ => return None,
    };
    let sound = values.iter().all(|value| check_value(value).is_ok());
    let key = requirement["key"].as_str().unwrap_or_default().to_owned();
    sound.then_some(Requirement { key, operator, values })
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl<'a> Parser<'a> {
    fn selector(mut self) -> Result<LabelSelector, Failure> {
        let mut requirements = Vec::new();
        self.blanks();
        while !self.rest.is_empty() {
            requirements.push(self.requirement()?);
            self.blanks();
            if self.rest.is_empty() {
                break;
            }
            self.expect(",")?;
            self.blanks();
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector(requirements))
    }

    fn requirement(&mut self) -> Result<Requirement, Failure> {
        let absent = self.take("!");
        let key = self.word();
        check_key(key).map_err(|why| self.wrong(&format!("key: Invalid value: {key:?}: {why}")))?;
        let key = key.to_owned();
        self.blanks();
        if absent || self.rest.is_empty() || self.rest.starts_with(',') {
            let operator = if absent { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key, operator, values: Vec::new() });
        }
        let (operator, set) = self.operator()?;
        self.blanks();
        let values = if set { self.values()? } else { vec![self.word().to_owned()] };
        for value in &values {
            check_value(value)
                .map_err(|why| self.wrong(&format!("values[0][key]: Invalid value: {value:?}: {why}")))?;
        }
        Ok(Requirement { key, operator, values })
    }

    fn operator(&mut self) -> Result<(Operator, bool), Failure> {
        for (token, operator) in [
            ("==", Operator::In),
            ("=", Operator::In),
            ("!=", Operator::NotIn),
            (">", Operator::GreaterThan),
            ("<", Operator::LessThan),
        ] {
            if self.take(token) {
                return Ok((operator, false));
            }
        }
        match self.word() {
            "in" => Ok((Operator::In, true)),
            "notin" => Ok((Operator::NotIn, true)),
            other => Err(self.wrong(&format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, Failure> {
        self.expect("(")?;
        let mut values = Vec::new();
        loop {
            self.blanks();
            values.push(self.word().to_owned());
            self.blanks();
            if self.take(")") {
                return Ok(values);
            }
            self.expect(",")?;
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), Failure> {
        if self.take(token) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(1).collect();
        Err(self.wrong(&format!("found '{found}', expected: '{token}'")))
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::bad_request(format!("unable to parse requirement: {why} in {:?}", self.whole))
    }
}

/// Whether `key` is a qualified name: an optional DNS prefix, a slash, 63 characters.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    });
    if prefix_ok && !name.is_empty() && is_label_text(name) {
        return Ok(());
    }
    Err(
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    )
}

/// Whether `value` may be a label's value.
pub fn check_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() || is_label_text(value) {
        return Ok(());
    }
    Err(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

/// Whether `text` may be a label's value or the name part of its key.
pub fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A conjunction of field comparisons; empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldTerm>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Parses `a.b=c,d!=e`. `\` escapes `,`, `=` and itself.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let terms = split_unescaped(text).into_iter().filter(|term| !term.is_empty()).map(parse_term);
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// Reads the requirements of a review, leaving out those that fields cannot be compared by; whether there were such.
    pub fn of_requirements(requirements: &[Value]) -> (Self, bool) {
        let known: Vec<FieldTerm> = requirements.iter().filter_map(field_term).collect();
        let is_partial = known.len() < requirements.len();
        (Self(known), is_partial)
    }

    /// Whether it leaves only objects whose `field` is `value`.
    pub fn requires(&self, field: &str, value: &str) -> bool {
        self.0.iter().any(|term| term.equal && term.field == field && term.value == value)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses fields the kind does not index.
    pub fn check(&self, known: impl Fn(&str) -> bool) -> Result<(), Failure> {
        match self.0.iter().find(|term| !known(&term.field)) {
            Some(term) => Err(Failure::bad_request(format!("field label not supported: {}", term.field))),
            None => Ok(()),
        }
    }

    /// Whether it names a field like this.
    pub fn names(&self, field: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|term| field(&term.field))
    }

    /// The value that `field` must have, where the selector says so.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether the fields, looked up by `field`, satisfy all terms. An absent field is the empty string.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|term| (field(&term.field).unwrap_or_default() == term.value) == term.equal)
    }
}

fn field_term(requirement: &Value) -> Option<FieldTerm> {
    let equal = match requirement["operator"].as_str()? {
        "In" => true,
        "NotIn" => false,
        _ => return None,
    };
    let [value] = texts(&requirement["values"]).collect::<Vec<_>>()[..] else { return None };
    let field = requirement["key"].as_str().unwrap_or_default().to_owned();
    Some(FieldTerm { field, value: value.to_owned(), equal })
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !escaped {
            out.push(&text[start..at]);
            start = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    out.push(&text[start..]);
    out
}

fn parse_term(term: &str) -> Result<FieldTerm, Failure> {
    let invalid = || Failure::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'"));
    let at = term.find(['=', '!']).ok_or_else(invalid)?;
    let (field, rest) = term.split_at(at);
    let (value, equal) = match rest {
        _ if rest.starts_with("!=") => (&rest[2..], false),
        _ if rest.starts_with("==") => (&rest[2..], true),
        _ if rest.starts_with('=') => (&rest[1..], true),
        _ => return Err(invalid()),
    };
    let value = value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\");
    Ok(FieldTerm { field: field.trim().to_owned(), value, equal })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&'static str, &'static str)]) -> bool {
        let lookup = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        LabelSelector::parse(selector).unwrap().matches(lookup)
    }

    #[test]
    fn label_selectors_match() {
        let labels = [("app", "web"), ("tier", "front"), ("n", "7")];
        for yes in [
            "",
            "app=web",
            "app==web,tier",
            "app in (db, web)",
            "app!=db",
            "x!=y",
            "!x",
            "x notin (a)",
            "n>6",
            "n<8",
            " app = web , tier",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in ["app=db", "x", "!app", "app notin (web,db)", "app in (db)", "n>7", "x=y", "app!=web"] {
            assert!(!matches(no, &labels), "{no}");
        }
        for wrong in ["app in web", "a,,b", "=x", "a=b c", "a in (b", "a=-x"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_brings_the_parsers_down(text in "[a-c=!<>(), \\\\in.é]{0,24}") {
            let labels = LabelSelector::parse(&text);
            let fields = FieldSelector::parse(&text);
            let _matched = (labels.map(|l| l.matches(|_| Some("a"))).ok(), fields.map(|f| f.matches(|_| Some("a"))).ok());
        }
    }

    #[test]
    fn field_selectors_match() {
        let fields = |key: &str| match key {
            "metadata.name" => Some("x"),
            "spec.nodeName" => Some("a,b"),
            _ => None,
        };
        for yes in ["", "metadata.name=x", "metadata.name!=y", "spec.nodeName=a\\,b", "status.phase="] {
            assert!(FieldSelector::parse(yes).unwrap().matches(fields), "{yes}");
        }
        assert!(!FieldSelector::parse("metadata.name==y").unwrap().matches(fields));
        assert!(FieldSelector::parse("nonsense").is_err());
    }
}
