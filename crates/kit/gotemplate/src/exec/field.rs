//! Fields, map entries and methods.

use super::{Arguments, At, Cell, Exec, State, Target};
use crate::{
    node::{Operand, OperandKind},
    quote::quote,
    set::MissingKey,
    value::{Dict, DictType, Kind, Member, Str, Value},
};

impl<'t> State<'t, '_, '_> {
    /// A field, variable or chain, the last of whose fields gets the arguments if it is a method.
    pub(super) fn access(&mut self, dot: &Cell, operand: &'t Operand, arguments: Arguments<'t>) -> Exec<Cell> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Variable { name, fields } => {
                let value = self.variable(name)?;
                if fields.is_empty() {
                    self.refuse_arguments(operand, arguments.operands, &arguments.last)?;
                    return Ok(value);
                }
                self.fields(dot, value, operand, fields, arguments)
            }
            OperandKind::Chain { start, fields } => {
                if matches!(start.kind, OperandKind::Nil) {
                    return self.error(format_args!("indirection through explicit nil in {operand}"));
                }
                let value = self.operand(dot, start)?;
                self.fields(dot, value, operand, fields, arguments)
            }
            OperandKind::Field(fields) => self.fields(dot, dot.clone(), operand, fields, arguments),
            _ => unreachable!("only what has fields is accessed"),
        }
    }

    fn variable(&self, name: &str) -> Exec<Cell> {
        match self.variables.iter().rev().find(|(known, _)| **known == *name) {
            Some((_, cell)) => Ok(cell.clone()),
            None => self.error(format_args!("undefined variable: {name}")),
        }
    }

    fn fields(
        &mut self,
        dot: &Cell,
        start: Cell,
        operand: &'t Operand,
        fields: &'t [Str],
        arguments: Arguments<'t>,
    ) -> Exec<Cell> {
        let (last, path) = fields.split_last().expect("a chain has fields");
        let mut receiver = start;
        for name in path {
            receiver = self.field(dot, &receiver, operand, name, Arguments::none())?;
        }
        self.field(dot, &receiver, operand, last, arguments)
    }

    fn field(
        &mut self,
        dot: &Cell,
        receiver: &Cell,
        operand: &'t Operand,
        name: &'t str,
        arguments: Arguments<'t>,
    ) -> Exec<Cell> {
        match &receiver.value {
            Value::Dict(dict) => self.entry(dict, name, &arguments),
            Value::Nil if receiver.boxed => self.error(format_args!("nil pointer evaluating interface {{}}.{name}")),
            Value::Nil => {
                if self.context.missing_key() == MissingKey::Error {
                    return self.error(format_args!("nil data; no entry for key {}", quote(name.as_bytes())));
                }
                Ok(Cell::default())
            }
            Value::Object(object) => match object.member(name) {
                Member::Field(value) => {
                    if !arguments.is_empty() {
                        return self.error(format_args!("{name} has arguments but cannot be invoked as function"));
                    }
                    Ok(Cell::of(value))
                }
                Member::Method { params, rest } => {
                    self.check_count(name, params, rest, &arguments)?;
                    let target = Target::Method(object.clone(), name);
                    self.call_target(dot, target, At::Operand(operand), name, (params, rest), arguments)
                }
                Member::Absent => match (object.kind(), object.underlying()) {
                    (Kind::Map, Some(Value::Dict(dict))) => self.entry(&dict, name, &arguments),
                    _ => self.no_field(receiver, name),
                },
            },
            _ => self.no_field(receiver, name),
        }
    }

    fn no_field(&self, receiver: &Cell, name: &str) -> Exec<Cell> {
        let type_name = if receiver.boxed { "interface {}" } else { receiver.value.type_name() };
        self.error(format_args!("can't evaluate field {name} in type {type_name}"))
    }

    fn entry(&self, dict: &Dict, name: &str, arguments: &Arguments<'_>) -> Exec<Cell> {
        if !arguments.is_empty() {
            return self.error(format_args!("{name} is not a method but has arguments"));
        }
        let boxed = dict.dict_type() != DictType::String;
        match (dict.get(name), self.context.missing_key()) {
            (Some(value), _) => Ok(Cell { value, boxed }),
            (None, MissingKey::Default) => Ok(Cell::default()),
            (None, MissingKey::Zero) => Ok(Cell { value: crate::builtin::zero(dict.dict_type()), boxed }),
            (None, MissingKey::Error) => {
                self.error(format_args!("map has no entry for key {}", quote(name.as_bytes())))
            }
        }
    }
}
