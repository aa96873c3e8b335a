//! Go's `text/template`: the same language, the same output, the same errors.
//!
//! Templates are parsed once into a [`Set`] and executed any number of times, from any thread. Data are [`Value`]s, which
//! keep the distinctions of Go's types that templates can see: `int` is not `int64`, and a `[]string` is not a
//! `[]interface {}`. Functions come from tables ([`Functions`]) whose signatures the executor checks before it calls.

mod builtin;
mod exec;
mod format;
mod function;
mod lex;
mod node;
pub mod number;
mod parse;
mod printf;
mod quote;
mod set;
mod stack;
mod value;

pub use exec::ExecError;
pub use function::{Call, Context, Function, FunctionError, Functions, Host, TextError, Type};
pub use parse::ParseError;
pub use printf::{sprint, sprintf, sprintln};
pub use quote::{is_print, quote};
pub use set::{Limits, MissingKey, Parsed, Set, execute};
pub use value::{Dict, DictType, Kind, List, ListType, Member, Object, Str, Value};
