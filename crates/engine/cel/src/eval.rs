//! Evaluation, with the cost counted on the way.

use std::rc::Rc;

use crate::{
    cost::runtime,
    plan::{Fold, Node},
    syntax::Literal,
    value::{Entries, EvalError, List, Map, Object, Text, Value},
};

/// What an expression's variables stand for.
pub trait Variables<'a> {
    /// The value of the variable of this number.
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError>;
}

impl<'a> Variables<'a> for Vec<Value<'a>> {
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        self.as_slice().get(index).cloned().ok_or_else(|| EvalError::new("no such attribute"))
    }
}

impl<'a, const N: usize> Variables<'a> for [Value<'a>; N] {
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        self.as_slice().get(index).cloned().ok_or_else(|| EvalError::new("no such attribute"))
    }
}

/// What came out, and what it cost.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The value.
    pub outcome: Result<Value<'a>, EvalError>,
    /// Kubernetes' cost units.
    pub cost: u64,
}

const LIST: u64 = 10;
const MAP: u64 = 30;
const OBJECT: u64 = 40;

/// Evaluates up to a limit.
pub fn evaluate<'a>(node: &'a Node, variables: &dyn Variables<'a>, limit: u64) -> Evaluation<'a> {
    let mut evaluator = Evaluator { variables, locals: Vec::new(), cost: 0, limit };
    let outcome = evaluator.eval(node);
    Evaluation { outcome, cost: evaluator.cost }
}

struct Evaluator<'a, 'v> {
    variables: &'v dyn Variables<'a>,
    /// An accumulator may hold an error that a later round gets over.
    locals: Vec<Outcome<'a>>,
    cost: u64,
    limit: u64,
}

type Outcome<'a> = Result<Value<'a>, EvalError>;

impl<'a> Evaluator<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::cost()) } else { Ok(()) }
    }

    fn eval(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Constant(literal) => Ok(constant(literal)),
            Node::Variable(index) => {
                self.charge(1)?;
                self.variables.get(*index)
            }
            Node::Local(slot) => {
                self.charge(1)?;
                self.locals[*slot].clone()
            }
            Node::Type(name) => Ok(Value::Type(name.as_str().into())),
            Node::Select { operand, field, surcharge } => {
                let operand = self.eval(operand)?;
                self.charge(1 + u64::from(*surcharge))?;
                select(&operand, field)
            }
            Node::Has { operand, field } => {
                let operand = self.eval(operand)?;
                Ok(Value::Bool(find(&operand, field)?.is_some()))
            }
            Node::OptSelect { operand, field } => {
                let operand = self.eval(operand)?;
                self.charge(1)?;
                Ok(Value::Optional(find(&operand, field)?.map(Rc::new)))
            }
            Node::Index { operand, index, optional, surcharge } => {
                let operand = self.eval(operand)?;
                let index = self.eval(index)?;
                self.charge(1 + u64::from(*surcharge))?;
                if *optional { optional_item(&operand, &index) } else { item(&operand, &index) }
            }
            Node::And(a, b) => self.logic(a, b, false),
            Node::Or(a, b) => self.logic(a, b, true),
            Node::If(parts) => match self.eval(&parts[0])? {
                Value::Bool(true) => self.eval(&parts[1]),
                Value::Bool(false) => self.eval(&parts[2]),
                _ => Err(EvalError::no_such_overload()),
            },
            Node::OrElse { first, second, unwrap } => match self.eval(first)? {
                Value::Optional(Some(value)) if *unwrap => Ok((*value).clone()),
                Value::Optional(Some(value)) => Ok(Value::Optional(Some(value))),
                Value::Optional(None) => self.eval(second),
                _ => Err(EvalError::no_such_overload()),
            },
            Node::NotStrictlyFalse(inner) => {
                let value = self.eval(inner);
                self.charge(1)?;
                match value {
                    Err(error) if error.is_fatal => Err(error),
                    Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                    _ => Ok(Value::Bool(true)),
                }
            }
            Node::Append { slot, item } => self.append(*slot, item),
            Node::Call { implementation, cost, args } => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.eval(arg)?);
                }
                let result = (implementation.0)(&values)?;
                self.charge(runtime(*cost, &values, &result))?;
                Ok(result)
            }
            Node::List { items, is_constant } => {
                let mut made = Vec::with_capacity(items.len());
                for (item, optional) in items {
                    made.extend(present(self.eval(item)?, *optional)?);
                }
                self.charge(if *is_constant { 0 } else { LIST })?;
                Ok(Value::list(made))
            }
            Node::Map { entries, is_constant } => {
                let mut made = Entries::default();
                for (key, value, optional) in entries {
                    let key = self.eval(key)?;
                    if let Some(value) = present(self.eval(value)?, *optional)? {
                        made.insert(key, value)?;
                    }
                }
                self.charge(if *is_constant { 0 } else { MAP })?;
                Ok(Value::Map(Map::Owned(Rc::new(made))))
            }
            Node::Object { name, fields } => {
                let mut made = Vec::with_capacity(fields.len());
                for (field, value, optional) in fields {
                    if let Some(value) = present(self.eval(value)?, *optional)? {
                        made.push((field.as_str(), value));
                    }
                }
                self.charge(OBJECT)?;
                Ok(Value::Object(Rc::new(Object { name, fields: made })))
            }
            Node::Fold(fold) => {
                let base = self.locals.len();
                let outcome = self.fold(fold);
                self.locals.truncate(base);
                outcome
            }
        }
    }

    /// `&&` and `||`: either side may decide, even when the other one fails.
    fn logic(&mut self, a: &'a Node, b: &'a Node, decides: bool) -> Outcome<'a> {
        let left = self.eval(a);
        match &left {
            Ok(Value::Bool(value)) if *value == decides => return left,
            Err(error) if error.is_fatal => return left,
            _ => {}
        }
        let right = self.eval(b);
        match (&left, right) {
            (_, Err(error)) if error.is_fatal => Err(error),
            (_, Ok(Value::Bool(value))) if value == decides => Ok(Value::Bool(value)),
            (Ok(Value::Bool(_)), Ok(Value::Bool(value))) => Ok(Value::Bool(value)),
            (Err(_), _) => left,
            (_, Err(error)) => Err(error),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// Adds to the list under construction, which nothing else holds.
    fn append(&mut self, slot: usize, item: &'a Node) -> Outcome<'a> {
        self.charge(1)?;
        let item = self.eval(item)?;
        self.charge(LIST + 1)?;
        match std::mem::replace(&mut self.locals[slot], Ok(Value::Null))? {
            Value::List(List::Owned(mut items)) => {
                Rc::make_mut(&mut items).push(item);
                Ok(Value::List(List::Owned(items)))
            }
            other => crate::functions::add(&[other, Value::list(vec![item])]),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init);
        debug_assert_eq!(self.locals.len(), fold.base, "places were planned so");
        self.locals.push(init);
        self.locals.push(Ok(Value::Null));
        if fold.two {
            self.locals.push(Ok(Value::Null));
        }
        match &range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index) else { break };
                    let first = if fold.two { Value::Int(index as i64) } else { item.clone() };
                    if !self.round(fold, first, item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, value) in map.iter() {
                    if !self.round(fold, key, value)? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::no_such_overload()),
        }
        self.locals.truncate(fold.base + 1);
        self.eval(&fold.result)
    }

    /// One round; whether to go on.
    fn round(&mut self, fold: &'a Fold, first: Value<'a>, second: Value<'a>) -> Result<bool, EvalError> {
        match self.eval(&fold.condition)? {
            Value::Bool(true) => {}
            _ => return Ok(false),
        }
        self.locals[fold.base + 1] = Ok(first);
        if fold.two {
            self.locals[fold.base + 2] = Ok(second);
        }
        let next = self.eval(&fold.step);
        let is_final = matches!(fold.condition, Node::Constant(_));
        match &next {
            Err(error) if error.is_fatal || is_final => return Err(error.clone()),
            _ => {}
        }
        self.locals[fold.base] = next;
        Ok(true)
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
    }
}

/// What an element is, where it is there.
fn present(value: Value<'_>, optional: bool) -> Result<Option<Value<'_>>, EvalError> {
    match value {
        value if !optional => Ok(Some(value)),
        Value::Optional(inner) => Ok(inner.map(|inner| (*inner).clone())),
        other => {
            Err(EvalError::new(format!("cannot initialize optional entry from non-optional value {}", other.to_text())))
        }
    }
}

fn select<'a>(operand: &Value<'a>, field: &str) -> Outcome<'a> {
    if let Value::Optional(_) = operand {
        return Ok(Value::Optional(find(operand, field)?.map(Rc::new)));
    }
    find(operand, field)?.ok_or_else(|| EvalError::no_such_key(field))
}

/// A field, where it is there; through optionals too.
fn find<'a>(operand: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, EvalError> {
    match operand {
        Value::Map(map) => Ok(map.get_text(field)),
        Value::Object(object) => {
            Ok(object.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone()))
        }
        Value::Optional(None) => Ok(None),
        Value::Optional(Some(inner)) => find(inner, field),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn whole_index(index: &Value<'_>) -> Option<i64> {
    match index {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        Value::Double(index) if index.fract() == 0.0 => Some(*index as i64),
        _ => None,
    }
}

fn item<'a>(operand: &Value<'a>, index: &Value<'a>) -> Outcome<'a> {
    match operand {
        Value::List(list) => {
            let at = whole_index(index).ok_or_else(|| match index {
                Value::Double(_) => EvalError::new(format!("unsupported index value: {}", index.to_text())),
                _ => EvalError::no_such_overload(),
            })?;
            let found = usize::try_from(at).ok().and_then(|at| list.get(at));
            found.ok_or_else(|| EvalError::new(format!("index out of bounds: {at}")))
        }
        Value::Map(map) => map.get(index).ok_or_else(|| EvalError::no_such_key(index.to_text())),
        Value::Object(_) => match index {
            Value::String(field) => select(operand, field),
            _ => Err(EvalError::no_such_overload()),
        },
        Value::Optional(_) => optional_item(operand, index),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn optional_item<'a>(operand: &Value<'a>, index: &Value<'a>) -> Outcome<'a> {
    let found = match operand {
        Value::Optional(None) => None,
        Value::Optional(Some(inner)) => return optional_item(inner, index),
        Value::List(list) => {
            let at = whole_index(index).ok_or_else(EvalError::no_such_overload)?;
            usize::try_from(at).ok().and_then(|at| list.get(at))
        }
        Value::Map(map) => map.get(index),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Optional(found.map(Rc::new)))
}
