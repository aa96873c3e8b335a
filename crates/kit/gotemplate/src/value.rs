//! What templates compute with.

mod container;
mod object;

use std::{rc::Rc, sync::Arc};

pub use container::{Dict, DictType, List, ListType};
pub use object::{Member, Object};

/// A shared, immutable piece of UTF-8 text.
pub type Str = Arc<str>;

/// A Go value as a template sees it. Copies are cheap: everything large is shared, and maps are shared *mutably*, as
/// Go's are, because functions such as Sprig's `set` change a map for everybody who holds it.
#[derive(Clone, Default)]
pub enum Value {
    /// `nil`: an absent value, or an empty interface.
    #[default]
    Nil,
    Bool(bool),
    /// `int`: literals, `len`, loop indices.
    Int(i64),
    Int64(i64),
    Uint8(u8),
    Uint64(u64),
    Float(f64),
    String(Str),
    /// A Go `string` whose bytes are not UTF-8; text that is UTF-8 is always a [`Value::String`].
    Binary(Arc<[u8]>),
    /// `[]byte`.
    Bytes(Arc<[u8]>),
    List(Rc<List>),
    Dict(Rc<Dict>),
    /// Anything else with fields or methods: a time, a version, a chart's files.
    Object(Rc<dyn Object>),
}

/// Go's `reflect.Kind`, as far as templates meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    Bool,
    Int,
    Int64,
    Uint8,
    Uint64,
    Float64,
    String,
    Slice,
    Map,
    Struct,
    Ptr,
    Func,
}

impl Kind {
    /// The kind as Go spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Int64 => "int64",
            Kind::Uint8 => "uint8",
            Kind::Uint64 => "uint64",
            Kind::Float64 => "float64",
            Kind::String => "string",
            Kind::Slice => "slice",
            Kind::Map => "map",
            Kind::Struct => "struct",
            Kind::Ptr => "ptr",
            Kind::Func => "func",
        }
    }
}

impl Value {
    /// Text, from anything that becomes shared text.
    pub fn string(text: impl Into<Str>) -> Value {
        Value::String(text.into())
    }

    /// A Go `string` of any bytes.
    pub fn string_from_bytes(bytes: Vec<u8>) -> Value {
        match String::from_utf8(bytes) {
            Ok(text) => Value::String(text.into()),
            Err(error) => Value::Binary(error.into_bytes().into()),
        }
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(List::new(ListType::Any, items)))
    }

    /// A `[]string`.
    pub fn strings<T: Into<Str>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::List(Rc::new(List::new(ListType::String, items.into_iter().map(Value::string).collect())))
    }

    /// A `map[string]interface {}`.
    pub fn dict<K: Into<Str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Dict(Rc::new(Dict::from_entries(DictType::Any, entries)))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Value::Nil => Kind::Invalid,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) => Kind::Int,
            Value::Int64(_) => Kind::Int64,
            Value::Uint8(_) => Kind::Uint8,
            Value::Uint64(_) => Kind::Uint64,
            Value::Float(_) => Kind::Float64,
            Value::String(_) | Value::Binary(_) => Kind::String,
            Value::Bytes(_) | Value::List(_) => Kind::Slice,
            Value::Dict(_) => Kind::Map,
            Value::Object(object) => object.kind(),
        }
    }

    /// The type as Go's `%T` prints it; `<nil>` for nil.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Uint8(_) => "uint8",
            Value::Uint64(_) => "uint64",
            Value::Float(_) => "float64",
            Value::String(_) | Value::Binary(_) => "string",
            Value::Bytes(_) => "[]uint8",
            Value::List(list) => list.list_type().name(),
            Value::Dict(dict) => dict.dict_type().name(),
            Value::Object(object) => object.type_name(),
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// The text of a Go `string` that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a Go `string` or `[]byte`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::String(text) => Some(text.as_bytes()),
            Value::Binary(bytes) | Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&List> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// The object within, if it is a `T`.
    pub fn as_object<T: Object>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Go's notion of truth in `if`, `with`, `and` and `or`: not the zero value, not empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::Int64(value) => *value != 0,
            Value::Uint8(value) => *value != 0,
            Value::Uint64(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::Binary(bytes) | Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
            Value::Object(object) => object.is_true(),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text.into())
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Value {
        Value::String(text)
    }
}
