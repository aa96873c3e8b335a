//! Go's `text/template`: the same language, the same output, the same errors.
//!
//! Templates are parsed once into a [`Set`] and executed any number of times, from any thread. Data are [`Value`]s, which
//! keep the distinctions of Go's types that templates can see: `int` is not `int64`, and a `[]string` is not a
//! `[]interface {}`. Functions come from tables ([`Functions`]) whose signatures the executor checks before it calls.
//!
//! ```
//! use std::{any::Any, sync::Arc};
//!
//! use coracle_gotemplate::*;
//!
//! /// What functions may know of the world: here, nothing.
//! struct Nothing;
//!
//! impl Host for Nothing {
//!     fn now(&mut self) -> (i64, u32) {
//!         (0, 0)
//!     }
//!     fn zone(&self) -> Str {
//!         "UTC".into()
//!     }
//!     fn random(&mut self, buffer: &mut [u8]) {
//!         buffer.fill(0);
//!     }
//!     fn as_any(&mut self) -> &mut dyn Any {
//!         self
//!     }
//! }
//!
//! static SHOUT: &[Function] =
//!     &[Function::new("shout", &[Type::String], |_, arguments| Ok(arguments[0].to_string().to_uppercase().into()))];
//!
//! let mut set = Set::new("letters", Arc::new(Functions::default().with(SHOUT)), MissingKey::Default);
//! set.parse("hello", r#"{{ range .names }}{{ shout . | printf "%q " }}{{ end }}"#).unwrap();
//! let names = Value::list(vec![Value::from("Ada"), Value::from("Bo")]);
//! let data = Value::dict([("names", names)]);
//! let output = execute(&Arc::new(set), "hello", &data, &mut Nothing, Limits::default()).unwrap();
//! assert_eq!(output, br#""ADA" "BO" "#);
//! ```

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
