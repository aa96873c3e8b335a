//! Types as the checker sees them, and declarations: a type with the sizes its values may have.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A type.
#[derive(Clone, Debug)]
pub enum Type {
    /// Anything; checked when it is evaluated.
    Dyn,
    /// The type of what did not check.
    Error,
    /// The type of `null`.
    Null,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `list(T)`.
    List(Arc<Type>),
    /// `map(K, V)`.
    Map(Arc<Type>, Arc<Type>),
    /// `optional_type(T)`.
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// An object with known fields.
    Object(Arc<ObjectType>),
    /// A type of a library, such as `kubernetes.Quantity`.
    Opaque(&'static str),
    /// An object whose fields are not known, by its name.
    Named(Arc<str>),
    /// Stands for a type that is found while checking.
    Param(usize),
}

/// An object type.
#[derive(Debug)]
pub struct ObjectType {
    /// What messages call it.
    pub name: String,
    /// Its fields by the name expressions use.
    pub fields: BTreeMap<String, Field>,
}

/// A field of an object type.
#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub json_name: String,
    /// What it holds.
    pub declaration: Arc<Declaration>,
}

/// How lists are compared and added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// In their order.
    Atomic,
    /// As sets.
    Set,
    /// By their keys.
    Map(Vec<String>),
}

/// A type, and what a schema says of the sizes of its values.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The type.
    pub of: Type,
    /// The most characters, bytes, items or entries.
    pub max_elements: u64,
    /// The fewest bytes a value takes in JSON.
    pub min_size: u64,
    /// Of the items of a list or the values of a map.
    pub element: Option<Arc<Declaration>>,
    /// How a list is compared.
    pub list: ListKind,
    /// Whether a text is read in another way.
    pub reading: Reading,
}

/// How JSON is read for a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it is.
    Plain,
    /// A number, with or without a point.
    Double,
    /// Base64.
    Bytes,
    /// A span of time.
    Duration,
    /// A day.
    Date,
    /// A point in time.
    Timestamp,
}

impl Declaration {
    /// A plain type with no bounds.
    pub fn of(of: Type) -> Self {
        Self { of, max_elements: u64::MAX, min_size: 0, element: None, list: ListKind::Atomic, reading: Reading::Plain }
    }

    /// The declaration of a field, by the name expressions use.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match &self.of {
            Type::Object(object) => object.fields.get(name),
            _ => None,
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b))
            | (Self::Optional(a), Self::Optional(b))
            | (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Map(k, v), Self::Map(other_k, other_v)) => k == other_k && v == other_v,
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
            (Self::Object(a), Self::Named(b)) | (Self::Named(b), Self::Object(a)) => a.name == **b,
            (Self::Named(a), Self::Named(b)) => a == b,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Param(a), Self::Param(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Type {
    /// `list(T)`.
    pub fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    /// `map(K, V)`.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// `optional_type(T)`.
    pub fn optional(of: Self) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// Whether nothing is known of it.
    pub fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The name values of this type answer `type()` with.
    pub fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn | Self::Error | Self::Param(_) => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Object(object) => &object.name,
            Self::Opaque(name) => name,
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Param(id) => write!(f, "_var{id}"),
            other => f.write_str(other.runtime_name()),
        }
    }
}
