//! The language's own functions.

mod compare;
mod escape;
mod index;

pub(crate) use index::zero;

use crate::{
    function::{FunctionError, Type},
    printf::{sprint, sprintf_bytes, sprintln},
    value::Value,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    And,
    Or,
    Not,
    Call,
    Html,
    Index,
    Slice,
    Js,
    Len,
    Print,
    Printf,
    Println,
    Urlquery,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Builtin {
    pub fn named(name: &str) -> Option<Builtin> {
        Some(match name {
            "and" => Builtin::And,
            "or" => Builtin::Or,
            "not" => Builtin::Not,
            "call" => Builtin::Call,
            "html" => Builtin::Html,
            "index" => Builtin::Index,
            "slice" => Builtin::Slice,
            "js" => Builtin::Js,
            "len" => Builtin::Len,
            "print" => Builtin::Print,
            "printf" => Builtin::Printf,
            "println" => Builtin::Println,
            "urlquery" => Builtin::Urlquery,
            "eq" => Builtin::Eq,
            "ne" => Builtin::Ne,
            "lt" => Builtin::Lt,
            "le" => Builtin::Le,
            "gt" => Builtin::Gt,
            "ge" => Builtin::Ge,
            _ => return None,
        })
    }

    /// The fixed parameters, and the type of those that may follow.
    pub fn signature(self) -> (&'static [Type], Option<Type>) {
        match self {
            Builtin::Not | Builtin::Len => (&[Type::Any], None),
            Builtin::Html | Builtin::Js | Builtin::Urlquery | Builtin::Print | Builtin::Println => {
                (&[], Some(Type::Any))
            }
            Builtin::Printf => (&[Type::String], Some(Type::Any)),
            Builtin::And | Builtin::Or | Builtin::Call | Builtin::Index | Builtin::Slice | Builtin::Eq => {
                (&[Type::Any], Some(Type::Any))
            }
            Builtin::Ne | Builtin::Lt | Builtin::Le | Builtin::Gt | Builtin::Ge => (&[Type::Any, Type::Any], None),
        }
    }

    /// Runs it; `and`, `or` and `call` do not come here, as they need more than the values of their arguments.
    pub fn call(self, arguments: &[Value]) -> Result<Value, FunctionError> {
        match self {
            Builtin::And | Builtin::Or | Builtin::Call => unreachable!("the executor knows these itself"),
            Builtin::Not => Ok(Value::Bool(!arguments[0].is_true())),
            Builtin::Html => Ok(escape::html(&text(arguments))),
            Builtin::Js => Ok(escape::js(&text(arguments))),
            Builtin::Urlquery => Ok(escape::url_query(&text(arguments))),
            Builtin::Index => index::index(&arguments[0], &arguments[1..]),
            Builtin::Slice => index::slice(&arguments[0], &arguments[1..]),
            Builtin::Len => index::len(&arguments[0]),
            Builtin::Print => Ok(sprint(arguments)),
            Builtin::Println => Ok(sprintln(arguments)),
            Builtin::Printf => {
                let format = arguments[0].as_bytes().expect("the signature asks for a string");
                Ok(Value::string_from_bytes(sprintf_bytes(format, &arguments[1..])))
            }
            Builtin::Eq => compare::equal_to_any(&arguments[0], &arguments[1..]).map(Value::Bool),
            Builtin::Ne => compare::equal(&arguments[0], &arguments[1]).map(|equal| Value::Bool(!equal)),
            Builtin::Lt => compare::less(&arguments[0], &arguments[1]).map(Value::Bool),
            Builtin::Le => compare::less_or_equal(&arguments[0], &arguments[1]).map(Value::Bool),
            Builtin::Gt => compare::less_or_equal(&arguments[0], &arguments[1]).map(|less| Value::Bool(!less)),
            Builtin::Ge => compare::less(&arguments[0], &arguments[1]).map(|less| Value::Bool(!less)),
        }
    }
}

/// What the escaping functions escape: a lone string as it is, else what `print` makes of the arguments.
fn text(arguments: &[Value]) -> Vec<u8> {
    match arguments {
        [Value::String(text)] => text.as_bytes().to_vec(),
        [Value::Binary(bytes)] => bytes.to_vec(),
        _ => {
            let shown: Vec<Value> = arguments
                .iter()
                .map(|argument| if argument.is_nil() { Value::from("<no value>") } else { argument.clone() })
                .collect();
            sprint(&shown).as_bytes().unwrap_or_default().to_vec()
        }
    }
}
