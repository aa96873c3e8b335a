//! The form an expression is evaluated in: names are places, calls are functions.

use std::collections::HashMap;

use crate::{
    check::{Checked, Reference},
    functions::{self, Cost, Implementation},
    syntax::{Comprehension, Expr, ExprKind, Id, Literal, operator},
};

/// A step of the evaluation.
#[derive(Debug)]
pub enum Node {
    /// A constant.
    Constant(Literal),
    /// A variable of the environment.
    Variable(usize),
    /// A variable of a comprehension, by its place on the stack.
    Local(usize),
    /// A type.
    Type(String),
    /// `operand.field`.
    Select { operand: Box<Node>, field: String, surcharge: bool },
    /// `has(operand.field)`.
    Has { operand: Box<Node>, field: String },
    /// `operand.?field`.
    OptSelect { operand: Box<Node>, field: String },
    /// `operand[index]`, or `operand[?index]`.
    Index { operand: Box<Node>, index: Box<Node>, optional: bool, surcharge: bool },
    /// `a && b`.
    And(Box<Node>, Box<Node>),
    /// `a || b`.
    Or(Box<Node>, Box<Node>),
    /// `condition ? yes : no`.
    If(Box<[Node; 3]>),
    /// `first.or(second)` and `first.orValue(second)`.
    OrElse { first: Box<Node>, second: Box<Node>, unwrap: bool },
    /// What keeps `all` and `exists` going over errors.
    NotStrictlyFalse(Box<Node>),
    /// `accumulator + [item]`, without copying the accumulator.
    Append { slot: usize, item: Box<Node> },
    /// Everything else.
    Call { implementation: Called, cost: Cost, args: Vec<Node> },
    /// A new list. One of constants costs nothing, as if it had been made beforehand.
    List { items: Vec<(Node, bool)>, is_constant: bool },
    /// A new map, likewise.
    Map { entries: Vec<(Node, Node, bool)>, is_constant: bool },
    /// A new object.
    Object { name: String, fields: Vec<(String, Node, bool)> },
    /// A comprehension.
    Fold(Box<Fold>),
}

/// A function to call.
#[derive(Clone, Copy)]
pub struct Called(pub Implementation);

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A comprehension; its variables lie on the stack from `base` on: accumulator, first, second.
#[derive(Debug)]
pub struct Fold {
    pub base: usize,
    pub two: bool,
    pub range: Node,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

/// Plans a checked expression.
pub fn plan(root: &Expr, checked: &Checked) -> Node {
    Planner { references: &checked.references, locals: Vec::new() }.node(root)
}

struct Planner<'a> {
    references: &'a HashMap<Id, Reference>,
    locals: Vec<String>,
}

impl Planner<'_> {
    fn boxed(&mut self, expr: &Expr) -> Box<Node> {
        Box::new(self.node(expr))
    }

    fn node(&mut self, expr: &Expr) -> Node {
        match self.references.get(&expr.id) {
            Some(Reference::Variable(index)) => return Node::Variable(*index),
            Some(Reference::TypeName(name)) => return Node::Type(name.clone()),
            Some(Reference::Local(name)) => {
                let slot = self.locals.iter().rposition(|known| known == name);
                return Node::Local(slot.expect("the checker found it in scope"));
            }
            _ => {}
        }
        match &expr.kind {
            ExprKind::Literal(literal) => Node::Constant(literal.clone()),
            ExprKind::Ident(_) => unreachable!("the checker resolves all names"),
            ExprKind::Select { operand, field, test_only: true } => {
                Node::Has { operand: self.boxed(operand), field: field.clone() }
            }
            ExprKind::Select { operand, field, .. } => {
                let operand = self.boxed(operand);
                Node::Select { surcharge: starts_attribute(&operand), operand, field: field.clone() }
            }
            ExprKind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            ExprKind::List(elements) => {
                let items: Vec<_> =
                    elements.iter().map(|element| (self.node(&element.value), element.optional)).collect();
                let is_constant = items.iter().all(|(item, _)| item.is_constant());
                Node::List { items, is_constant }
            }
            ExprKind::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| (self.node(&entry.key), self.node(&entry.value), entry.optional))
                    .collect();
                let is_constant = entries.iter().all(|(key, value, _)| key.is_constant() && value.is_constant());
                Node::Map { entries, is_constant }
            }
            ExprKind::Struct { name, fields } => Node::Object {
                name: name.clone(),
                fields: fields.iter().map(|f| (f.name.clone(), self.node(&f.value), f.optional)).collect(),
            },
            ExprKind::Comprehension(fold) => self.fold(fold),
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Node {
        let two = |planner: &mut Self| (planner.boxed(&args[0]), planner.boxed(&args[1]));
        match function {
            operator::AND => {
                let (a, b) = two(self);
                return Node::And(a, b);
            }
            operator::OR => {
                let (a, b) = two(self);
                return Node::Or(a, b);
            }
            operator::CONDITIONAL => {
                return Node::If(Box::new([self.node(&args[0]), self.node(&args[1]), self.node(&args[2])]));
            }
            operator::NOT_STRICTLY_FALSE => return Node::NotStrictlyFalse(self.boxed(&args[0])),
            operator::INDEX | operator::OPT_INDEX => {
                let (operand, index) = two(self);
                let surcharge = starts_attribute(&operand);
                return Node::Index { operand, index, optional: function == operator::OPT_INDEX, surcharge };
            }
            operator::OPT_SELECT => {
                if let ExprKind::Literal(Literal::String(field)) = &args[1].kind {
                    return Node::OptSelect { operand: self.boxed(&args[0]), field: field.clone() };
                }
            }
            operator::ADD => {
                if let Some(append) = self.append(args) {
                    return append;
                }
            }
            _ => {}
        }
        let Some(Reference::Overloads(name, fitting)) = self.references.get(&expr.id) else {
            unreachable!("the checker resolves all calls")
        };
        let known = functions::find(name).expect("the checker found it");
        let is_member = known.overloads[fitting[0]].is_member;
        let mut costs = fitting.iter().map(|index| known.overloads[*index].cost);
        let first = costs.next().unwrap_or(Cost::Unit);
        let cost = if costs.all(|cost| cost == first) { first } else { Cost::Unit };
        let args: Vec<Node> = target.filter(|_| is_member).into_iter().chain(args).map(|arg| self.node(arg)).collect();
        // What is looked for in a list of constants is found without walking it.
        let in_constants = name == operator::IN && matches!(args.get(1), Some(Node::List { is_constant: true, .. }));
        let is_known = CONVERSIONS.contains(&name.as_str()) && args.iter().all(Node::is_constant);
        let cost = if is_known || in_constants { Cost::Free } else { cost };
        if cost == Cost::Nothing {
            let mut sides = args.into_iter();
            if let (Some(first), Some(second)) = (sides.next(), sides.next()) {
                return Node::OrElse { first: first.into(), second: second.into(), unwrap: name == "orValue" };
            }
            unreachable!("both have two parameters")
        }
        Node::Call { implementation: Called(known.implementation), cost, args }
    }

    /// `@result + [item]`, as the macros write it.
    fn append(&mut self, args: &[Expr]) -> Option<Node> {
        let [accumulator, list] = args else { return None };
        let Some(Reference::Local(name)) = self.references.get(&accumulator.id) else { return None };
        let ExprKind::List(elements) = &list.kind else { return None };
        let [element] = &elements[..] else { return None };
        if name != crate::syntax::ACCUMULATOR || element.optional {
            return None;
        }
        let slot = self.locals.iter().rposition(|known| known == name)?;
        Some(Node::Append { slot, item: self.boxed(&element.value) })
    }

    fn fold(&mut self, fold: &Comprehension) -> Node {
        let range = self.node(&fold.range);
        let init = self.node(&fold.init);
        let base = self.locals.len();
        self.locals.push(fold.accumulator.clone());
        self.locals.push(fold.variable.clone());
        self.locals.extend(fold.second.clone());
        let condition = self.node(&fold.condition);
        let step = self.node(&fold.step);
        self.locals.truncate(base + 1);
        let result = self.node(&fold.result);
        self.locals.truncate(base);
        Node::Fold(Box::new(Fold { base, two: fold.second.is_some(), range, init, condition, step, result }))
    }
}

impl Node {
    /// Whether it is known beforehand.
    fn is_constant(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::List { is_constant, .. } | Self::Map { is_constant, .. } => *is_constant,
            Self::Call { cost: Cost::Free, args, .. } => args.iter().all(Self::is_constant),
            _ => false,
        }
    }
}

/// Conversions of constants are constants.
const CONVERSIONS: [&str; 9] = ["dyn", "bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint"];

/// Whether a selection from this begins a chain of its own, which costs one more than a step of a chain.
fn starts_attribute(operand: &Node) -> bool {
    !matches!(operand, Node::Variable(_) | Node::Local(_) | Node::Select { .. } | Node::Index { .. } | Node::Type(_))
}
