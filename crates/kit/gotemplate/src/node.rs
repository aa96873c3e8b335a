//! The parsed template. Nodes print as Go prints them, since error messages quote them.
//!
//! A large chart has hundreds of thousands of nodes, all held at once: lists have no room to grow, and what is rare and
//! large is boxed.

use std::{fmt, sync::Arc};

use crate::{
    builtin::Builtin,
    function::Function,
    quote::quote,
    value::{Str, Value},
};

/// One template of a set: a file, or what a `define` in it defines.
pub(crate) struct Template {
    pub name: Str,
    /// The file it stands in.
    pub parse_name: Str,
    /// The whole text of that file, to which positions refer.
    pub text: Arc<[u8]>,
    pub body: Box<[Node]>,
}

impl Template {
    /// Whether there is nothing but space in it.
    pub fn is_empty(&self) -> bool {
        self.body.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
    }

    /// `file:line:column` of a position.
    pub fn location(&self, position: u32) -> String {
        let before = &self.text[..(position as usize).min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        format!("{}:{line}:{column}", self.parse_name)
    }
}

pub(crate) enum Node {
    Text(Str),
    Action(Pipe),
    If(Box<Branch>),
    With(Box<Branch>),
    Range(Box<Branch>),
    Template(Invocation),
    Break,
    Continue,
}

pub(crate) struct Branch {
    pub pipe: Pipe,
    pub body: Box<[Node]>,
    pub otherwise: Option<Box<[Node]>>,
}

pub(crate) struct Invocation {
    pub position: u32,
    pub name: Str,
    pub pipe: Option<Pipe>,
}

pub(crate) struct Pipe {
    pub position: u32,
    pub assigns: bool,
    pub variables: Box<[Str]>,
    pub commands: Box<[Command]>,
}

pub(crate) struct Command {
    pub position: u32,
    /// Never empty.
    pub operands: Box<[Operand]>,
}

pub(crate) struct Operand {
    pub position: u32,
    pub kind: OperandKind,
}

pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Box<Number>),
    String { quoted: Str, value: Constant },
    Field(Box<[Str]>),
    Variable { name: Str, fields: Box<[Str]> },
    Function { name: Str, callee: Callee },
    Pipe(Box<Pipe>),
    Chain { start: Box<Operand>, fields: Box<[Str]> },
}

/// A string constant; it is kept apart from [`Value`], which cannot cross threads.
pub(crate) enum Constant {
    Text(Str),
    Bytes(Arc<[u8]>),
}

impl Constant {
    pub fn to_value(&self) -> Value {
        match self {
            Constant::Text(text) => Value::String(text.clone()),
            Constant::Bytes(bytes) => Value::Binary(bytes.clone()),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Callee {
    Builtin(Builtin),
    Table(Function),
}

/// A numeric constant under every type that can hold it.
pub(crate) struct Number {
    pub text: Str,
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: Option<f64>,
}

impl Pipe {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, variable) in self.variables.iter().enumerate() {
            write!(f, "{}{variable}", if index > 0 { ", " } else { "" })?;
        }
        if !self.variables.is_empty() {
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match &operand.kind {
                OperandKind::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => write!(f, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::String { quoted, .. } => f.write_str(quoted),
            OperandKind::Field(fields) => write_fields(f, fields),
            OperandKind::Variable { name, fields } => {
                f.write_str(name)?;
                write_fields(f, fields)
            }
            OperandKind::Function { name, .. } => f.write_str(name),
            OperandKind::Pipe(pipe) => write!(f, "{pipe}"),
            OperandKind::Chain { start, fields } => {
                match &start.kind {
                    OperandKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{start}")?,
                }
                write_fields(f, fields)
            }
        }
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[Str]) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(f, ".{field}"))
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", quote(self.name.as_bytes()))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}
