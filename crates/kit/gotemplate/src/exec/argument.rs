//! Arguments, and whether they fit the parameters they are for.

use super::{Arguments, At, Cell, Exec, State};
use crate::{
    function::Type,
    node::{Operand, OperandKind},
    value::Value,
};

impl<'t> State<'t, '_, '_> {
    /// An operand where any value will do and its box does not matter.
    pub(super) fn operand(&mut self, dot: &Cell, operand: &'t Operand) -> Exec<Cell> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Cell::default()),
            OperandKind::Bool(value) => Ok(Cell::of(Value::Bool(*value))),
            OperandKind::Number(number) => self.constant(number),
            OperandKind::String { value, .. } => Ok(Cell::of(value.to_value())),
            OperandKind::Field(_) | OperandKind::Variable { .. } | OperandKind::Chain { .. } => {
                self.access(dot, operand, Arguments::none())
            }
            OperandKind::Function { name, callee } => {
                self.call(dot, *callee, At::Operand(operand), name, Arguments::none())
            }
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
        }
    }

    /// An operand for a parameter of the given type.
    pub(super) fn argument(&mut self, dot: &Cell, operand: &'t Operand, wanted: Type) -> Exec<Value> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Nil => {
                if wanted.admits_nil() {
                    return Ok(Value::Nil);
                }
                self.error(format_args!("cannot assign nil to {}", wanted.name()))
            }
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. } => {
                self.literal(dot, operand, wanted)
            }
            _ => {
                let cell = self.operand(dot, operand)?;
                self.admit(cell, wanted)
            }
        }
    }

    /// Constants take the type that is wanted, if they can.
    fn literal(&mut self, dot: &Cell, operand: &'t Operand, wanted: Type) -> Exec<Value> {
        let expected = |what: &str| self.error(format_args!("expected {what}; found {operand}"));
        match (wanted, &operand.kind) {
            (Type::Any, _) => Ok(self.operand(dot, operand)?.value),
            (Type::Bool, OperandKind::Bool(value)) => Ok(Value::Bool(*value)),
            (Type::Bool, _) => expected("bool"),
            (Type::String, OperandKind::String { value, .. }) => Ok(value.to_value()),
            (Type::String, _) => expected("string"),
            (Type::Int | Type::Int64, OperandKind::Number(number)) => match number.int {
                Some(int) if wanted == Type::Int => Ok(Value::Int(int)),
                Some(int) => Ok(Value::Int64(int)),
                None => expected("integer"),
            },
            (Type::Int | Type::Int64, _) => expected("integer"),
            (Type::Float64, OperandKind::Number(number)) => match number.float {
                Some(float) => Ok(Value::Float(float)),
                None => expected("float"),
            },
            (Type::Float64, _) => expected("float"),
            _ => self.error(format_args!("can't handle {operand} for arg of type {}", wanted.name())),
        }
    }

    /// Whether a value fits a parameter.
    pub(super) fn admit(&self, cell: Cell, wanted: Type) -> Exec<Value> {
        if cell.value.is_nil() {
            if wanted == Type::Any || !cell.boxed && wanted.admits_nil() {
                return Ok(Value::Nil);
            }
            if cell.boxed {
                let wanted = wanted.name();
                return self.error(format_args!("wrong type for value; expected {wanted}; got interface {{}}"));
            }
            return self.error(format_args!("invalid value; expected {}", wanted.name()));
        }
        if wanted.admits(&cell.value) {
            return Ok(cell.value);
        }
        let (wanted, got) = (wanted.name(), cell.value.type_name());
        self.error(format_args!("wrong type for value; expected {wanted}; got {got}"))
    }
}
