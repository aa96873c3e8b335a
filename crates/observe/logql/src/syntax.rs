//! LogQL as text: reading, checking, printing.

mod ast;
mod lexer;
mod parser;
mod pretty;
mod print;

pub use ast::*;
pub use parser::{ParseError, parse, parse_selector};
pub use pretty::pretty;
