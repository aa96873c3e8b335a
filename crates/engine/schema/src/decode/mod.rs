//! Reading objects from JSON and YAML, noticing on the way what strict field validation reports: fields that occur twice and
//! fields the type does not have, in the order they stand in the text.

mod yaml;

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::types::{Shape, Type};

pub use yaml::yaml;

/// Text that is not JSON or not YAML, in the words upstream uses.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// An object and what strict validation found wrong with its text.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Such as `unknown field "spec.foo"` or `duplicate field "spec.foo"`.
    pub strict: Vec<String>,
}

/// Texts may nest so deep and no deeper: what the reader of JSON takes, so that recursion over a value never needs much of
/// a stack.
pub(crate) const DEEPEST: usize = 127;

/// How deep objects and lists nest in a value.
pub(crate) fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

/// Upstream stops collecting there.
const STRICT_LIMIT: usize = 100;

/// Reads one JSON document. With a type given, unknown fields are noticed too.
pub fn json(bytes: &[u8], of: Option<Type<'_>>) -> Result<Decoded, DecodeError> {
    let strict = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed { of, path: Path::Root, strict: &strict };
    let value = seed.deserialize(&mut deserializer).map_err(|error| DecodeError(error.to_string()))?;
    deserializer.end().map_err(|error| DecodeError(error.to_string()))?;
    Ok(Decoded { value, strict: strict.into_inner() })
}

/// Where a value stands; lives on the stack of the recursion, so that a document without findings allocates nothing for it.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Seed<'a, 't> {
    of: Option<Type<'t>>,
    path: Path<'a>,
    strict: &'a RefCell<Vec<String>>,
}

impl Seed<'_, '_> {
    fn report(&self, problem: &str, field: &str) {
        let mut strict = self.strict.borrow_mut();
        let message = format!("{problem} field \"{}\"", Path::Field(&self.path, field));
        if strict.len() < STRICT_LIMIT && !strict.contains(&message) {
            strict.push(message);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let element = self.of.filter(|of| of.shape() == Shape::List).and_then(Type::element);
        let mut list = Vec::new();
        loop {
            let path = Path::Index(&self.path, list.len());
            match items.next_element_seed(Seed { of: element, path, strict: self.strict })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let of = self.of.filter(|of| of.shape() == Shape::Object);
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let member = of.and_then(|of| of.member(&key));
            if map.contains_key(&key) {
                self.report("duplicate", &key);
            } else if member.is_none() && of.is_some_and(|of| !of.preserves_unknown()) {
                self.report("unknown", &key);
            }
            let path = Path::Field(&self.path, &key);
            let value = entries.next_value_seed(Seed { of: member, path, strict: self.strict })?;
            map.insert(key, value);
        }
        if map.len() > MEMBER_LIMIT {
            return Err(A::Error::custom("an object with too many members"));
        }
        Ok(Value::Object(map))
    }
}

/// No object of a bounded body reaches this; it bounds what the duplicate check keeps.
const MEMBER_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::kinds;

    fn check(kind: (&str, &str, &str), text: &str, expected: Expect) {
        let kind = kinds::find_kind(kind.0, kind.1, kind.2).unwrap();
        let outcome = match super::json(text.as_bytes(), Some(kind.schema.root())) {
            Ok(decoded) => decoded.strict.join("\n"),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&outcome);
    }

    const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");

    #[test]
    fn duplicates_and_unknown_fields_come_in_the_order_of_the_text() {
        let text = r#"{"kind":"Deployment","spec":{"foo":1,"replicas":1,"replicas":2,"Replicas":3,
            "template":{"spec":{"containers":[{"name":"a"},{"name":"b","nmae":"x","name":"c"}]}}},
            "metadata":{"labels":{"a":"1","a":"2"},"unknown":{}}}"#;
        check(
            DEPLOYMENT,
            text,
            expect![[r#"
                unknown field "spec.foo"
                duplicate field "spec.replicas"
                unknown field "spec.Replicas"
                unknown field "spec.template.spec.containers[1].nmae"
                duplicate field "spec.template.spec.containers[1].name"
                duplicate field "metadata.labels.a"
                unknown field "metadata.unknown""#]],
        );
    }

    #[test]
    fn a_type_that_takes_anything_knows_no_unknown_fields() {
        let text = r#"{"data":{"whatever":{"x":1}},"revision":1}"#;
        check(("apps", "v1", "ControllerRevision"), text, expect![[""]]);
    }

    #[test]
    fn broken_text_is_refused() {
        check(DEPLOYMENT, r#"{"a":"#, expect!["error: EOF while parsing a value at line 1 column 5"]);
        check(DEPLOYMENT, r#"{} x"#, expect!["error: trailing characters at line 1 column 4"]);
    }
}
