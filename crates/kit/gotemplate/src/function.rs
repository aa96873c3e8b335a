//! Functions that templates call, and the tables they stand in.

mod context;

use std::{any::Any, collections::HashMap};

use crate::{
    exec::ExecError,
    value::{DictType, ListType, Str, Value},
};

pub use context::{Context, TextError};

/// The Go type of a parameter. The executor converts or refuses arguments before it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`: anything, nil included.
    Any,
    Bool,
    Int,
    Int64,
    Float64,
    /// Arrives as [`Value::String`] or [`Value::Binary`].
    String,
    /// `[]interface {}`: arrives as [`Value::List`] or, for a nil slice, [`Value::Nil`].
    List,
    /// `[]string`: as [`Type::List`].
    Strings,
    /// `map[string]interface {}`: arrives as [`Value::Dict`] or, for a nil map, [`Value::Nil`].
    Dict,
    /// `[]byte`: arrives as [`Value::Bytes`] or [`Value::Nil`].
    Bytes,
    /// An object's type, by the name `%T` prints for it.
    Object(&'static str),
}

impl Type {
    /// The type as Go prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Any => "interface {}",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Int64 => "int64",
            Type::Float64 => "float64",
            Type::String => "string",
            Type::List => "[]interface {}",
            Type::Strings => "[]string",
            Type::Dict => "map[string]interface {}",
            Type::Bytes => "[]uint8",
            Type::Object(name) => name,
        }
    }

    /// Whether nil can be passed for it.
    pub(crate) fn admits_nil(self) -> bool {
        match self {
            Type::Any | Type::List | Type::Strings | Type::Dict | Type::Bytes => true,
            Type::Bool | Type::Int | Type::Int64 | Type::Float64 | Type::String => false,
            Type::Object(name) => name.starts_with('*'),
        }
    }

    /// Whether Go would assign the value, which is not nil, to a parameter of this type.
    pub(crate) fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Any, _)
            | (Type::Bool, Value::Bool(_))
            | (Type::Int, Value::Int(_))
            | (Type::Int64, Value::Int64(_))
            | (Type::Float64, Value::Float(_))
            | (Type::String, Value::String(_) | Value::Binary(_))
            | (Type::Bytes, Value::Bytes(_)) => true,
            (Type::List, Value::List(list)) => list.list_type() == ListType::Any,
            (Type::Strings, Value::List(list)) => list.list_type() == ListType::String,
            (Type::Dict, Value::Dict(dict)) => matches!(dict.dict_type(), DictType::Any | DictType::Named(_)),
            (Type::Object(name), Value::Object(object)) => object.type_name() == name,
            _ => false,
        }
    }
}

/// A function's body. It may rely on its arguments' number and types being those of its table entry.
pub type Call = fn(&mut Context<'_>, &[Value]) -> Result<Value, FunctionError>;

/// One entry of a function table.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    pub params: &'static [Type],
    /// The type of each argument after `params`, for a variadic function.
    pub rest: Option<Type>,
    pub call: Call,
}

impl Function {
    pub const fn new(name: &'static str, params: &'static [Type], call: Call) -> Function {
        Function { name, params, rest: None, call }
    }

    pub const fn variadic(name: &'static str, params: &'static [Type], rest: Type, call: Call) -> Function {
        Function { name, params, rest: Some(rest), call }
    }
}

/// Functions by name; later tables win over earlier ones, and all win over none of the language's own.
#[derive(Clone, Default)]
pub struct Functions {
    by_name: HashMap<&'static str, Function>,
}

impl Functions {
    /// Adds a table's functions, in place of those of the same names.
    #[must_use]
    pub fn with(mut self, table: &[Function]) -> Functions {
        self.by_name.extend(table.iter().map(|function| (function.name, *function)));
        self
    }

    /// Takes functions away.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Functions {
        self.by_name.retain(|name, _| !names.contains(name));
        self
    }

    pub fn get(&self, name: &str) -> Option<Function> {
        self.by_name.get(name).copied()
    }
}

/// Why a function failed: what Go's error says, or its panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FunctionError {
    message: String,
    /// The template that failed, when the function ran one.
    cause: Option<Box<ExecError>>,
}

impl FunctionError {
    pub fn new(message: impl Into<String>) -> FunctionError {
        FunctionError { message: message.into(), cause: None }
    }

    /// A message that says more about a template's failure.
    pub fn wrapping(message: impl Into<String>, cause: ExecError) -> FunctionError {
        FunctionError { message: message.into(), cause: Some(Box::new(cause)) }
    }

    pub(crate) fn into_cause(self) -> Option<ExecError> {
        self.cause.map(|cause| *cause)
    }

    pub(crate) fn cause(&self) -> Option<&ExecError> {
        self.cause.as_deref()
    }
}

impl From<ExecError> for FunctionError {
    fn from(error: ExecError) -> FunctionError {
        FunctionError { message: error.to_string(), cause: Some(Box::new(error)) }
    }
}

impl From<String> for FunctionError {
    fn from(message: String) -> FunctionError {
        FunctionError::new(message)
    }
}

impl From<&str> for FunctionError {
    fn from(message: &str) -> FunctionError {
        FunctionError::new(message)
    }
}

/// The world outside, which functions reach through their caller: a pure room has no clock and no dice of its own.
pub trait Host {
    /// Seconds and nanoseconds since 1970.
    fn now(&mut self) -> (i64, u32);

    /// The local time zone's name in the IANA data base.
    fn zone(&self) -> Str {
        "UTC".into()
    }

    /// Fills the buffer with random bytes.
    fn random(&mut self, buffer: &mut [u8]);

    /// The object a cluster holds, by API version, kind, namespace and name; most hosts know no cluster.
    fn lookup(&mut self, _question: [&str; 4]) -> Result<Value, String> {
        Err("there is no cluster to look things up in".to_owned())
    }

    /// The host itself, for functions that belong to it.
    fn as_any(&mut self) -> &mut dyn Any;
}
