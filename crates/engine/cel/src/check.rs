//! The type checker: resolves names and overloads, finds the type of every node, and says what does not fit.

mod uniform;
mod unify;

use std::{collections::HashMap, sync::Arc};

use unify::Substitution;

use crate::{
    functions,
    issue::Issue,
    parse::{self, Parsed},
    syntax::{Comprehension, Expr, ExprKind, Id, Literal, operator},
    types::{Declaration, ObjectType, Type},
};

/// What a name or a call turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    /// The environment's variable of this number.
    Variable(usize),
    /// A variable of a comprehension.
    Local(String),
    /// The name of a type.
    TypeName(String),
    /// The overloads that fit, by their places in the function's list.
    Overloads(String, Vec<usize>),
}

/// The names an expression may use, and the types it may make.
pub trait Scope {
    /// The number and declaration of a variable.
    fn variable(&self, name: &str) -> Option<(usize, &Declaration)>;
    /// The type a name stands for, when objects of it may be made.
    fn constructed(&self, name: &str) -> Option<Constructed>;
    /// Where an object is a group of variables: `variables`.
    fn is_group(&self, name: &str) -> bool;
    /// Whether the items of a list must be of one type.
    fn wants_uniform_literals(&self) -> bool;
}

/// A type that expressions may make objects of.
#[derive(Clone)]
pub enum Constructed {
    /// With fields that are known.
    Known(Arc<ObjectType>),
    /// With any fields.
    Open(Arc<str>),
}

/// A checked expression.
#[derive(Debug)]
pub struct Checked {
    /// The type of each node.
    pub types: Vec<Type>,
    /// What names and calls are.
    pub references: HashMap<Id, Reference>,
    /// The type of the whole.
    pub result: Type,
}

/// Checks an expression.
pub fn check(parsed: &Parsed, scope: &dyn Scope) -> Result<Checked, Vec<Issue>> {
    let mut checker = Checker {
        positions: &parsed.positions,
        scope,
        locals: Vec::new(),
        types: vec![Type::Dyn; parsed.positions.len()],
        references: HashMap::new(),
        substitution: Substitution::default(),
        issues: Vec::new(),
    };
    checker.expr(&parsed.root);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let substitution = checker.substitution;
    let types: Vec<Type> = checker.types.iter().map(|of| substitution.settle(of)).collect();
    if scope.wants_uniform_literals() {
        let mixed = uniform::mixed(&parsed.root, &types);
        if !mixed.is_empty() {
            let issue = |(id, message)| Issue { offset: parsed.positions[id], message };
            return Err(mixed.into_iter().map(issue).collect());
        }
    }
    Ok(Checked { result: types[parsed.root.id].clone(), types, references: checker.references })
}

struct Checker<'a> {
    positions: &'a [usize],
    scope: &'a dyn Scope,
    locals: Vec<(String, Type)>,
    types: Vec<Type>,
    references: HashMap<Id, Reference>,
    substitution: Substitution,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn report(&mut self, at: Id, message: impl Into<String>) {
        self.issues.push(Issue { offset: self.positions[at], message: message.into() });
    }

    fn shown(&self, of: &Type) -> String {
        self.substitution.show(of).to_string()
    }

    fn set(&mut self, id: Id, of: Type) -> Type {
        self.types[id] = of.clone();
        of
    }

    /// The type of an expression, as far as it is known by now.
    fn expr(&mut self, expr: &Expr) -> Type {
        let of = match &expr.kind {
            ExprKind::Literal(literal) => literal_type(literal),
            ExprKind::Ident(name) => self.ident(expr, name),
            ExprKind::Select { operand, field, test_only } => self.select(expr, operand, field, *test_only),
            ExprKind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            ExprKind::List(elements) => {
                let mut item: Option<Type> = None;
                for element in elements {
                    let mut found = self.expr(&element.value);
                    if element.optional {
                        found = self.unwrapped(element.value.id, found);
                    }
                    item = Some(self.joined(item, found));
                }
                let item = item.unwrap_or_else(|| self.substitution.fresh());
                Type::list(item)
            }
            ExprKind::Map(entries) => {
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    let found = self.expr(&entry.key);
                    key = Some(self.joined(key, found));
                    let mut found = self.expr(&entry.value);
                    if entry.optional {
                        found = self.unwrapped(entry.value.id, found);
                    }
                    value = Some(self.joined(value, found));
                }
                let key = key.unwrap_or_else(|| self.substitution.fresh());
                let value = value.unwrap_or_else(|| self.substitution.fresh());
                Type::map(key, value)
            }
            ExprKind::Struct { .. } => self.object(expr),
            ExprKind::Comprehension(comprehension) => self.comprehension(comprehension),
        };
        self.set(expr.id, of)
    }

    /// The type inside an optional that stands in a list or a map.
    fn unwrapped(&mut self, at: Id, of: Type) -> Type {
        match self.substitution.resolve(&of) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let found = self.shown(&other);
                self.report(at, format!("expected type 'optional_type({found})' but found '{found}'"));
                Type::Error
            }
        }
    }

    /// The type that both have, or anything.
    fn joined(&mut self, so_far: Option<Type>, found: Type) -> Type {
        let Some(so_far) = so_far else { return found };
        if self.substitution.assignable(&so_far, &found) {
            return self.substitution.more_general(so_far, found);
        }
        Type::Dyn
    }

    fn local(&self, name: &str) -> Option<Type> {
        self.locals.iter().rev().find(|(known, _)| known == name).map(|(_, of)| of.clone())
    }

    /// A whole name in the environment.
    fn look_up(&mut self, id: Id, name: &str) -> Option<Type> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((index, declaration)) = self.scope.variable(name) {
            let of = declaration.of.clone();
            self.references.insert(id, Reference::Variable(index));
            return Some(of);
        }
        let of = named_type(name).or_else(|| match self.scope.constructed(name)? {
            Constructed::Known(object) => Some(Type::Object(object)),
            Constructed::Open(name) => Some(Type::Named(name)),
        })?;
        self.references.insert(id, Reference::TypeName(name.to_owned()));
        Some(Type::Type(of.into()))
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Type {
        if let Some(of) = self.local(name) {
            self.references.insert(expr.id, Reference::Local(name.to_owned()));
            return of;
        }
        if let Some(of) = self.look_up(expr.id, name) {
            return of;
        }
        self.report(expr.id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test_only: bool) -> Type {
        // The longest name wins: `a.b.c` may be one variable.
        if !test_only && let Some(name) = parse::qualified_name(expr) {
            let first = name.split('.').next().unwrap_or_default();
            if self.local(first).is_none()
                && let Some(of) = self.look_up(expr.id, &name)
            {
                return of;
            }
            if let ExprKind::Ident(group) = &operand.kind
                && self.scope.is_group(group)
                && self.local(group).is_none()
            {
                self.report(expr.id, format!("undefined field '{field}'"));
                return Type::Error;
            }
        }
        let of = self.expr(operand);
        let of = self.substitution.resolve(&of);
        let found = self.field_type(expr.id, &of, field);
        if test_only { Type::Bool } else { found }
    }

    fn field_type(&mut self, at: Id, of: &Type, field: &str) -> Type {
        match of {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.declaration.of.clone(),
                None => {
                    self.report(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Named(name) => match self.scope.constructed(name) {
                Some(Constructed::Known(object)) => self.field_type(at, &Type::Object(object), field),
                _ => Type::Dyn,
            },
            // Nothing is known of it yet: it will be something with fields.
            Type::Param(_) => {
                self.substitution.assignable(of, &Type::Dyn);
                Type::Dyn
            }
            Type::Optional(inner) => {
                let inner = self.substitution.resolve(inner);
                let found = self.field_type(at, &inner, field);
                if found == Type::Error { Type::Error } else { Type::optional(found) }
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                let shown = self.shown(other);
                self.report(at, format!("type '{shown}' does not support field selection"));
                Type::Error
            }
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        if function == operator::OPT_SELECT {
            return self.optional_select(expr, args);
        }
        let Some(target) = target else {
            let types: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
            let name = function.strip_prefix('.').unwrap_or(function);
            if functions::find(name).is_none() {
                self.report(expr.id, format!("undeclared reference to '{name}' (in container '')"));
                return Type::Error;
            }
            return self.overload(expr.id, name, None, args, &types);
        };
        // A method of a name may be a function with a dot in its name.
        if let Some(prefix) = parse::qualified_name(target) {
            let name = format!("{prefix}.{function}");
            let first = prefix.split('.').next().unwrap_or_default();
            if self.local(first).is_none()
                && functions::find(&name).is_some_and(|known| known.overloads.iter().any(|o| !o.is_member))
            {
                let types: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
                return self.overload(expr.id, &name, None, args, &types);
            }
        }
        let receiver = self.expr(target);
        let types: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
        if functions::find(function).is_none() {
            self.report(expr.id, format!("undeclared reference to '{function}' (in container '')"));
            return Type::Error;
        }
        self.overload(expr.id, function, Some(receiver), args, &types)
    }

    fn overload(&mut self, id: Id, function: &str, receiver: Option<Type>, arg_exprs: &[Expr], args: &[Type]) -> Type {
        let is_member = receiver.is_some();
        let given: Vec<Type> = receiver.iter().chain(args).cloned().collect();
        let known = functions::find(function).map(|known| &known.overloads[..]).unwrap_or_default();
        let mut fitting = Vec::new();
        let mut result: Option<Type> = None;
        for (index, overload) in known.iter().enumerate() {
            if overload.is_member != is_member || overload.params.len() != given.len() {
                continue;
            }
            let vars: Vec<Type> = (0..overload.type_params).map(|_| self.substitution.fresh()).collect();
            let params: Vec<Type> = overload.params.iter().map(|of| instantiate(of, &vars)).collect();
            let before = self.substitution.mark();
            if !params.iter().zip(&given).all(|(param, arg)| self.substitution.assignable(param, arg)) {
                self.substitution.reset(before);
                continue;
            }
            fitting.push(index);
            let found = self.substitution.settle_known(&instantiate(&overload.result, &vars));
            result = Some(match result.take() {
                None => found,
                Some(earlier) if earlier == found => earlier,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let shown: Vec<String> = args.iter().map(|of| self.shown(of)).collect();
            let list = shown.join(", ");
            let applied = match &receiver {
                Some(receiver) => format!("{}.({list})", self.shown(receiver)),
                None => format!("({list})"),
            };
            self.report(id, format!("found no matching overload for '{function}' applied to '{applied}'"));
            return Type::Error;
        };
        self.references.insert(id, Reference::Overloads(function.to_owned(), fitting));
        self.literals(function, arg_exprs);
        result
    }

    /// Constants that are wrong for what they are given to.
    fn literals(&mut self, function: &str, args: &[Expr]) {
        let (Some(arg), true) = (args.last(), matches!(function, "duration" | "timestamp" | "matches")) else { return };
        let ExprKind::Literal(Literal::String(text)) = &arg.kind else { return };
        let problem = match function {
            "duration" if functions::duration(text).is_none() => true,
            "timestamp" if functions::timestamp(text).is_none() => true,
            "matches" if functions::compiled_regex(text).is_err() => true,
            _ => false,
        };
        if problem {
            self.report(arg.id, format!("invalid {function} argument"));
        }
    }

    fn optional_select(&mut self, expr: &Expr, args: &[Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        self.set(field.id, Type::String);
        let of = self.expr(operand);
        let of = match self.substitution.resolve(&of) {
            Type::Optional(inner) => self.substitution.resolve(&inner),
            other => other,
        };
        let ExprKind::Literal(Literal::String(name)) = &field.kind else { return Type::Error };
        let found = self.field_type(expr.id, &of, name);
        if found == Type::Error { Type::Error } else { Type::optional(found) }
    }

    fn object(&mut self, expr: &Expr) -> Type {
        let ExprKind::Struct { name, fields } = &expr.kind else { return Type::Error };
        let name = name.strip_prefix('.').unwrap_or(name);
        let Some(constructed) = self.scope.constructed(name) else {
            self.report(expr.id, format!("undeclared reference to '{name}' (in container '')"));
            fields.iter().for_each(|field| drop(self.expr(&field.value)));
            return Type::Error;
        };
        for field in fields {
            let mut found = self.expr(&field.value);
            if field.optional {
                found = self.unwrapped(field.value.id, found);
            }
            let Constructed::Known(object) = &constructed else { continue };
            match object.fields.get(&field.name) {
                None => self.report(field.id, format!("undefined field '{}'", field.name)),
                Some(known) => {
                    let wanted = known.declaration.of.clone();
                    if !self.substitution.assignable(&wanted, &found) {
                        let (wanted, found) = (self.shown(&wanted), self.shown(&found));
                        let text = format!(
                            "expected type of field '{}' is '{wanted}' but provided type is '{found}'",
                            field.name
                        );
                        self.report(field.id, text);
                    }
                }
            }
        }
        match constructed {
            Constructed::Known(object) => Type::Object(object),
            Constructed::Open(name) => Type::Named(name),
        }
    }

    fn comprehension(&mut self, fold: &Comprehension) -> Type {
        let range = self.expr(&fold.range);
        let init = self.expr(&fold.init);
        let two = fold.second.is_some();
        let (first, second) = match self.substitution.resolve(&range) {
            Type::List(item) if two => (Type::Int, (*item).clone()),
            Type::List(item) => ((*item).clone(), Type::Dyn),
            Type::Map(key, value) => ((*key).clone(), (*value).clone()),
            Type::Dyn | Type::Error => (Type::Dyn, Type::Dyn),
            param @ Type::Param(_) => {
                self.substitution.assignable(&param, &Type::Dyn);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let shown = self.shown(&other);
                self.report(
                    fold.range.id,
                    format!("expression of type '{shown}' cannot be range of a comprehension (must be list, map, or dynamic)"),
                );
                (Type::Error, Type::Error)
            }
        };
        let depth = self.locals.len();
        self.locals.push((fold.accumulator.clone(), init.clone()));
        self.locals.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        let condition = self.expr(&fold.condition);
        self.must_be(&Type::Bool, &condition, fold.condition.id);
        let step = self.expr(&fold.step);
        self.must_be(&init, &step, fold.step.id);
        self.locals.truncate(depth);
        self.locals.push((fold.accumulator.clone(), init));
        let result = self.expr(&fold.result);
        self.locals.truncate(depth);
        self.substitution.settle_known(&result)
    }

    fn must_be(&mut self, wanted: &Type, found: &Type, at: Id) {
        if !self.substitution.assignable(wanted, found) {
            let (wanted, found) = (self.shown(wanted), self.shown(found));
            self.report(at, format!("expected type '{wanted}' but found '{found}'"));
        }
    }
}

fn instantiate(of: &Type, vars: &[Type]) -> Type {
    match of {
        Type::Param(index) => vars[*index].clone(),
        Type::List(of) => Type::list(instantiate(of, vars)),
        Type::Optional(of) => Type::optional(instantiate(of, vars)),
        Type::Type(of) => Type::Type(instantiate(of, vars).into()),
        Type::Map(key, value) => Type::map(instantiate(key, vars), instantiate(value, vars)),
        other => other.clone(),
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// The types that have names of their own.
fn named_type(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "type" => Type::Type(Type::Dyn.into()),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "net.IP" => Type::Opaque("net.IP"),
        "net.CIDR" => Type::Opaque("net.CIDR"),
        "kubernetes.Quantity" => Type::Opaque("kubernetes.Quantity"),
        "kubernetes.URL" => Type::Opaque("kubernetes.URL"),
        "kubernetes.Semver" => Type::Opaque("kubernetes.Semver"),
        _ => return None,
    })
}
