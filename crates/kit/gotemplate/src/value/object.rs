//! Values with fields and methods of their own.

use std::{any::Any, fmt};

use super::{Kind, Value};
use crate::function::{Context, FunctionError, Type};

/// What a name means on an object.
pub enum Member {
    /// A field, or a method without arguments that cannot fail.
    Field(Value),
    /// A method; its parameters, and the type of those that may follow. It is run by [`Object::call`].
    Method { params: &'static [Type], rest: Option<Type> },
    /// Neither.
    Absent,
}

/// A Go struct, pointer or named type that templates can look into.
pub trait Object: Any {
    /// The type as `%T` prints it, such as `*semver.Version` or `time.Time`.
    fn type_name(&self) -> &str;

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn member(&self, _name: &str) -> Member {
        Member::Absent
    }

    /// Runs a method that [`Object::member`] promised, with arguments that fit its parameters.
    fn call(&self, name: &str, _context: &mut Context<'_>, _arguments: &[Value]) -> Result<Value, FunctionError> {
        Err(FunctionError::new(format!("{name} is not a method")))
    }

    /// `%v`: what `String()` or `Error()` returns, or how Go prints the struct.
    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// A struct is always true; a pointer is when it is not nil.
    fn is_true(&self) -> bool {
        true
    }

    /// What `range`, `len` and `index` see: a list or a dict, when the type's underlying type is one.
    fn underlying(&self) -> Option<Value> {
        None
    }

    /// What `encoding/json` makes of it.
    fn json(&self) -> Option<Value> {
        self.underlying()
    }

    fn as_any(&self) -> &dyn Any;
}
