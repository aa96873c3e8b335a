//! Go's `text/template`: the same language, the same output, the same errors.
//!
//! Templates are parsed once into a [`Set`] and executed any number of times, from any thread. Data are [`Value`]s, which
//! keep the distinctions of Go's types that templates can see: `int` is not `int64`, and a `[]string` is not a
//! `[]interface {}`. Functions come from tables ([`Functions`]) whose signatures the executor checks before it calls.

mod format;
mod function;
pub mod number;
mod value;

pub use function::{Call, Context, Function, FunctionError, Functions, Host, Type};
pub use value::{Dict, DictType, Kind, List, ListType, Member, Object, Str, Value};
