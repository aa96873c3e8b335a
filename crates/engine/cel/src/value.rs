//! Values while evaluating. JSON is looked at where it lies; only what an expression makes anew is owned.

use std::{collections::HashMap, net::IpAddr, rc::Rc};

use coracle_schema::quantity::Quantity;
use serde_json::Value as Json;

use crate::{
    functions::{self, CheckValue, Cidr, DecisionValue, NamedFormat, Semver, Url},
    types::{Declaration, ListKind, Reading},
};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// In cel-go's words.
    pub message: String,
    /// Whether `||` and `&&` may not get over it.
    pub is_fatal: bool,
}

impl EvalError {
    /// An error with these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_fatal: false }
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_such_key(key: impl std::fmt::Display) -> Self {
        Self::new(format!("no such key: {key}"))
    }

    pub(crate) fn cost() -> Self {
        Self { message: "operation cancelled: actual cost limit exceeded".to_owned(), is_fatal: true }
    }
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`.
    Double(f64),
    /// `string`.
    String(Text<'a>),
    /// `bytes`.
    Bytes(Rc<[u8]>),
    /// `list`.
    List(List<'a>),
    /// `map`, and objects read from JSON.
    Map(Map<'a>),
    /// A new object with a name.
    Object(Rc<Object<'a>>),
    /// `google.protobuf.Duration`.
    Duration(jiff::SignedDuration),
    /// `google.protobuf.Timestamp`.
    Timestamp(jiff::Timestamp),
    /// A type.
    Type(Rc<str>),
    /// `optional_type`.
    Optional(Option<Rc<Value<'a>>>),
    /// A value of one of the libraries.
    Opaque(Rc<Opaque<'a>>),
}

/// Values of the libraries.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    /// `kubernetes.Quantity`.
    Quantity(Quantity),
    /// `net.IP`.
    Ip(IpAddr),
    /// `net.CIDR`.
    Cidr(Cidr),
    /// `kubernetes.URL`.
    Url(Url),
    /// `kubernetes.Semver`.
    Semver(Semver),
    /// `kubernetes.NamedFormat`.
    Format(&'static NamedFormat),
    /// The authorizer and what is put together from it.
    Check(CheckValue<'a>),
    /// Its answer.
    Decision(DecisionValue),
}

/// A text.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// One that lies somewhere else.
    Borrowed(&'a str),
    /// A new one.
    Owned(Rc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// One in JSON, with what is declared of it.
    Json(&'a [Json], Option<&'a Declaration>),
    /// A new one.
    Owned(Rc<Vec<Value<'a>>>),
    /// A new one that is compared like the one it came from.
    Kind(Rc<Vec<Value<'a>>>, &'a Declaration),
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// One in JSON, with what is declared of it.
    Json(&'a serde_json::Map<String, Json>, Option<&'a Declaration>),
    /// A new one.
    Owned(Rc<Entries<'a>>),
}

/// A new object.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Its type's name.
    pub name: &'a str,
    /// Its fields in the order they were written.
    pub fields: Vec<(&'a str, Value<'a>)>,
}

/// The entries of a new map, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    list: Vec<(Value<'a>, Value<'a>)>,
    index: HashMap<Key, usize>,
}

/// What keys are found by: numbers of all types are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Number(i128),
    Text(String),
}

impl Key {
    fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Number((*value).into())),
            Value::Uint(value) => Some(Self::Number((*value).into())),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e19 => Some(Self::Number(*value as i128)),
            Value::String(text) => Some(Self::Text(text.to_string())),
            _ => None,
        }
    }
}

impl<'a> Entries<'a> {
    /// Adds an entry; what is wrong where that cannot be.
    pub fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
        let Some(known) = Key::of(&key).filter(|_| !matches!(key, Value::Double(_))) else {
            return Err(EvalError::new(format!("unsupported key type: {}", key.type_name())));
        };
        if self.index.insert(known, self.list.len()).is_some() {
            return Err(EvalError::new(format!("Failed with repeated key: {}", key.to_text())));
        }
        self.list.push((key, value));
        Ok(())
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = &(Value<'a>, Value<'a>)> {
        self.list.iter()
    }
}

impl<'a> Value<'a> {
    /// A new text.
    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::String(Text::Owned(text.into()))
    }

    /// A new list.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Owned(Rc::new(items)))
    }

    /// A value of a library.
    pub fn opaque(value: Opaque<'a>) -> Self {
        Self::Opaque(Rc::new(value))
    }

    /// A filled optional.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    /// JSON as a value.
    pub fn json(json: &'a Json, declaration: Option<&'a Declaration>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (declaration.map(|of| of.reading), number.as_i64()) {
                (Some(Reading::Double), _) | (_, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
                (_, Some(value)) => Self::Int(value),
            },
            Json::String(text) => declaration.map_or(Self::String(Text::Borrowed(text)), |of| read(text, of.reading)),
            Json::Array(items) => Self::List(List::Json(items, declaration)),
            Json::Object(members) => Self::Map(Map::Json(members, declaration)),
        }
    }

    /// The name of the value's type.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(Map::Json(_, Some(declaration))) => declaration.of.runtime_name(),
            Self::Map(_) => "map",
            Self::Object(object) => object.name,
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Opaque(opaque) => match &**opaque {
                Opaque::Quantity(_) => "kubernetes.Quantity",
                Opaque::Ip(_) => "net.IP",
                Opaque::Cidr(_) => "net.CIDR",
                Opaque::Url(_) => "kubernetes.URL",
                Opaque::Semver(_) => "kubernetes.Semver",
                Opaque::Format(_) => "kubernetes.NamedFormat",
                Opaque::Check(check) => check.type_name(),
                Opaque::Decision(_) => "kubernetes.authorization.Decision",
            },
        }
    }

    /// What `size()` says, for what has a size.
    pub fn size(&self) -> Option<u64> {
        Some(match self {
            Self::String(text) => text.chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => return value.size(),
            Self::Opaque(opaque) => match &**opaque {
                Opaque::Ip(IpAddr::V4(_)) => 4,
                Opaque::Ip(IpAddr::V6(_)) => 16,
                Opaque::Cidr(cidr) => cidr.bits.div_ceil(8).into(),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The value in words, for messages.
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Double(value) => crate::numbers::double_text(*value),
            Self::String(text) => text.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Duration(value) => functions::format_duration(*value),
            Self::Timestamp(value) => functions::format_timestamp(*value),
            Self::Type(name) => name.to_string(),
            other => other.to_json().map_or_else(|_| other.type_name().to_owned(), |json| json.to_string()),
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        let no = || EvalError::new(format!("unsupported type conversion from '{}' to JSON", self.type_name()));
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 9e15 => (*value as i64).into(),
            Self::Double(value) => (*value).into(),
            Self::String(text) => (**text).into(),
            Self::Bytes(bytes) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(bytes).into()
            }
            Self::List(List::Json(items, _)) => items.to_vec().into(),
            Self::List(list) => list.iter().map(|item| item.to_json()).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Map(Map::Json(members, _)) => Json::Object((*members).clone()),
            Self::Map(Map::Owned(entries)) => {
                let mut members = serde_json::Map::new();
                for (key, value) in entries.iter() {
                    members.insert(key.to_text(), value.to_json()?);
                }
                members.into()
            }
            Self::Object(object) => {
                let mut members = serde_json::Map::new();
                for (name, value) in &object.fields {
                    members.insert((*name).to_owned(), value.to_json()?);
                }
                members.into()
            }
            Self::Duration(value) => functions::format_duration(*value).into(),
            Self::Timestamp(value) => functions::format_timestamp(*value).into(),
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) => Json::Null,
            Self::Opaque(opaque) => match &**opaque {
                Opaque::Quantity(quantity) => quantity.to_string().into(),
                _ => return Err(no()),
            },
            Self::Type(_) => return Err(no()),
        })
    }

    /// Whether two values are equal. Values of different types are not, but for numbers.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => **a == **b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.equals(b),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(&key).is_some_and(|other| value.equals(&other)))
            }
            (Self::Object(a), Self::Object(b)) => {
                a.name == b.name
                    && a.fields.len() == b.fields.len()
                    && a.fields.iter().all(|(name, value)| {
                        b.fields.iter().any(|(other, theirs)| name == other && value.equals(theirs))
                    })
            }
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (None, None) => true,
                _ => false,
            },
            (Self::Opaque(a), Self::Opaque(b)) => match (&**a, &**b) {
                (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
                (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
                (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
                (Opaque::Url(a), Opaque::Url(b)) => a == b,
                (Opaque::Semver(a), Opaque::Semver(b)) => a.precedence(b).is_eq(),
                (Opaque::Format(a), Opaque::Format(b)) => std::ptr::eq(*a, *b),
                _ => false,
            },
            (a, b) => {
                a.is_number() && b.is_number() && crate::numbers::compare(a, b).is_some_and(|order| order.is_eq())
            }
        }
    }

    /// Whether it is `int`, `uint` or `double`.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    /// Whether it is what its type starts with: nothing, nought, empty.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Duration(value) => value.is_zero(),
            Self::Object(object) => object.fields.is_empty(),
            Self::Optional(value) => value.is_none(),
            other => other.size() == Some(0),
        }
    }
}

fn read(text: &str, reading: Reading) -> Value<'_> {
    let plain = Value::String(Text::Borrowed(text));
    match reading {
        Reading::Plain | Reading::Double => plain,
        Reading::Bytes => functions::base64_bytes(text).map_or(plain, |bytes| Value::Bytes(bytes.into())),
        Reading::Duration => functions::duration(text).map_or(plain, Value::Duration),
        Reading::Date => functions::timestamp(&format!("{text}T00:00:00Z")).map_or(plain, Value::Timestamp),
        Reading::Timestamp => functions::timestamp(text).map_or(plain, Value::Timestamp),
    }
}

impl<'a> List<'a> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Owned(items) | Self::Kind(items, _) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An item.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items, of) => {
                let element = of.and_then(|of| of.element.as_deref());
                items.get(index).map(|item| Value::json(item, element))
            }
            Self::Owned(items) | Self::Kind(items, _) => items.get(index).cloned(),
        }
    }

    /// All items.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// What is declared of it.
    pub fn declaration(&self) -> Option<&'a Declaration> {
        match self {
            Self::Json(_, of) => *of,
            Self::Kind(_, of) => Some(of),
            Self::Owned(_) => None,
        }
    }

    /// Whether an item is in it.
    pub fn contains(&self, value: &Value<'a>) -> bool {
        self.iter().any(|item| item.equals(value))
    }

    fn equals(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        match self.declaration().map(|of| &of.list) {
            Some(ListKind::Set) => self.iter().all(|item| other.contains(&item)),
            Some(ListKind::Map(keys)) => self.iter().all(|item| {
                let key = map_key(keys, &item);
                other.iter().any(|theirs| same_key(&map_key(keys, &theirs), &key) && theirs.equals(&item))
            }),
            _ => self.iter().zip(other.iter()).all(|(a, b)| a.equals(&b)),
        }
    }
}

/// The values of the keys that tell items of an associative list apart.
pub fn map_key<'a>(keys: &[String], item: &Value<'a>) -> Vec<Option<Value<'a>>> {
    let Value::Map(map) = item else { return Vec::new() };
    keys.iter().map(|key| map.get_text(key)).collect()
}

/// Whether two such keys are one.
pub fn same_key(a: &[Option<Value<'_>>], b: &[Option<Value<'_>>]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => a.equals(b),
            (None, None) => true,
            _ => false,
        })
}

impl<'a> Map<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(members, _) => members.len(),
            Self::Owned(entries) => entries.list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a text, which for objects is the field's name as expressions use it.
    pub fn get_text(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(members, of) => json_member(members, *of, key),
            Self::Owned(entries) => {
                let index = entries.index.get(&Key::Text(key.to_owned()))?;
                Some(entries.list[*index].1.clone())
            }
        }
    }

    /// The value under a key.
    pub fn get(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match (self, key) {
            (_, Value::String(text)) => self.get_text(text),
            (Self::Json(..), _) => None,
            (Self::Owned(entries), key) => entries.index.get(&Key::of(key)?).map(|at| entries.list[*at].1.clone()),
        }
    }

    /// All entries.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> {
        match self {
            Self::Json(members, of) => {
                let element = of.and_then(|of| of.element.as_deref());
                let of = *of;
                Box::new(members.iter().map(move |(key, value)| {
                    let declaration = element.or_else(|| {
                        let object = of.and_then(|of| match &of.of {
                            crate::types::Type::Object(object) => Some(object),
                            _ => None,
                        })?;
                        object.fields.values().find(|field| field.json_name == *key).map(|field| &*field.declaration)
                    });
                    (Value::String(Text::Borrowed(key)), Value::json(value, declaration))
                }))
            }
            Self::Owned(entries) => Box::new(entries.list.iter().cloned()),
        }
    }
}

fn json_member<'a>(
    members: &'a serde_json::Map<String, Json>,
    of: Option<&'a Declaration>,
    name: &str,
) -> Option<Value<'a>> {
    let Some(of) = of else { return members.get(name).map(|value| Value::json(value, None)) };
    match of.field(name) {
        Some(field) => members.get(&field.json_name).map(|value| Value::json(value, Some(&field.declaration))),
        None => members.get(name).map(|value| Value::json(value, of.element.as_deref())),
    }
}
