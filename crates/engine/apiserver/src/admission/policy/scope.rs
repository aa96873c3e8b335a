//! What a policy's expressions may name, and what that stands for while a request is looked at.

use std::cell::{Cell, RefCell};

use coracle_cel::{
    Authorize, Check, CheckValue, Declaration, Environment, EvalError, Program, Type, Value, Variables, limits,
    schema::{declare, object_of},
};
use serde_json::json;

/// How many variables there are before a policy's own.
const FIXED: usize = 7;

/// What an environment has beside objects and the request.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    /// `params`.
    pub params: bool,
    /// `authorizer`.
    pub authorizer: bool,
    /// `Object{…}` and `JSONPatch{…}`.
    pub mutations: bool,
}

/// The types of objects, where they are checked against one.
#[derive(Clone)]
pub struct ObjectTypes {
    /// Of `object` and `oldObject`.
    pub object: Declaration,
    /// Of `params`.
    pub params: Declaration,
}

impl Default for ObjectTypes {
    fn default() -> Self {
        Self { object: Declaration::of(Type::Dyn), params: Declaration::of(Type::Dyn) }
    }
}

/// The environment of a policy's expressions. What an expression may not name is declared under a name nobody can write,
/// so that every variable has the same place everywhere.
pub fn environment(extras: Extras, types: &ObjectTypes) -> Environment {
    let of = |name: &'static str| Declaration::of(Type::Opaque(name));
    let environment = Environment::new()
        .with("object", types.object.clone())
        .with("oldObject", types.object.clone())
        .with("request", request_type())
        .with("namespaceObject", namespace_type())
        .with(if extras.params { "params" } else { "@params" }, types.params.clone())
        .with(if extras.authorizer { "authorizer" } else { "@authorizer" }, of("kubernetes.authorization.Authorizer"))
        .with(
            if extras.authorizer { "authorizer.requestResource" } else { "@resource" },
            of("kubernetes.authorization.ResourceCheck"),
        );
    if extras.mutations { environment.with_mutations() } else { environment }
}

fn text() -> Declaration {
    Declaration::of(Type::String)
}

fn request_type() -> Declaration {
    let kind = object_of("kubernetes.GroupVersionKind", [("group", text()), ("version", text()), ("kind", text())], 2);
    let resource =
        object_of("kubernetes.GroupVersionResource", [("group", text()), ("version", text()), ("resource", text())], 2);
    let texts = Type::list(Type::String);
    let user = object_of(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", Declaration::of(texts.clone())),
            ("extra", Declaration::of(Type::map(Type::String, texts))),
        ],
        2,
    );
    object_of(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Declaration::of(Type::Bool)),
            ("options", Declaration::of(Type::Dyn)),
        ],
        2,
    )
}

/// As much of a namespace as expressions may see.
pub fn namespace_type() -> Declaration {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let texts = json!({"type": "array", "items": text});
    let map = json!({"type": "object", "additionalProperties": text});
    let number = json!({"type": "integer"});
    let condition = json!({"type": "object", "properties":
        {"status": text, "type": text, "lastTransitionTime": time, "message": text, "reason": text}});
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "labels": map, "annotations": map, "UID": text,
            "creationTimestamp": time, "deletionGracePeriodSeconds": number, "deletionTimestamp": time,
            "generation": number, "resourceVersion": text, "finalizers": texts,
        }},
        "spec": {"type": "object", "properties": {"finalizers": texts}},
        "status": {"type": "object", "properties": {
            "phase": text, "conditions": {"type": "array", "items": condition},
        }},
    }});
    declare(&schema, false).unwrap_or_else(|| Declaration::of(Type::Dyn))
}

/// What the variables stand for; a policy's own are worked out when they are first asked for.
pub struct Scope<'a> {
    fixed: [Value<'a>; FIXED],
    programs: &'a [(String, Program)],
    known: RefCell<Vec<Option<Result<Value<'a>, EvalError>>>>,
    cost: Cell<u64>,
}

/// What a [`Scope`] is made of.
#[derive(Clone)]
pub struct Subject<'a> {
    /// The object as it will be; null for deletions.
    pub object: &'a serde_json::Value,
    /// The object as it was; null for what is new.
    pub old: &'a serde_json::Value,
    /// What is asked.
    pub request: &'a serde_json::Value,
    /// The namespace; null for what is in none.
    pub namespace: &'a serde_json::Value,
    /// The parameters; null without.
    pub params: &'a serde_json::Value,
    /// Who may.
    pub authorizer: &'a dyn Authorize,
    /// What the request is about, as a question to the authorizer.
    pub resource: Check,
    /// The declaration of [`Self::namespace`].
    pub namespace_type: &'a Declaration,
}

impl<'a> Scope<'a> {
    /// The variables of a request, and a policy's own.
    pub fn new(subject: &Subject<'a>, programs: &'a [(String, Program)]) -> Self {
        let fixed = [
            Value::json(subject.object, None),
            Value::json(subject.old, None),
            Value::json(subject.request, None),
            Value::json(subject.namespace, Some(subject.namespace_type)),
            Value::json(subject.params, None),
            CheckValue::authorizer(subject.authorizer),
            CheckValue::resource(subject.authorizer, subject.resource.clone()),
        ];
        Self { fixed, programs, known: RefCell::new(vec![None; programs.len()]), cost: Cell::new(0) }
    }

    /// Evaluates an expression and takes what it cost, with the variables it was the first to ask for, from the budget.
    pub fn evaluate(&self, program: &'a Program, budget: &mut u64) -> Result<Value<'a>, EvalError> {
        self.cost.set(0);
        let evaluation = program.evaluate(self, limits::PER_CALL);
        let cost = evaluation.cost.saturating_add(self.cost.get());
        match budget.checked_sub(cost) {
            Some(left) => *budget = left,
            None => return Err(out_of_budget()),
        }
        evaluation.outcome
    }
}

/// What is said when there is nothing left to spend.
pub fn out_of_budget() -> EvalError {
    EvalError {
        message: "validation failed due to running out of cost budget, no further validation rules will be run".into(),
        is_fatal: true,
    }
}

impl<'a> Variables<'a> for Scope<'a> {
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        if let Some(value) = self.fixed.as_slice().get(index) {
            return Ok(value.clone());
        }
        let own = index - FIXED;
        if let Some(known) = &self.known.borrow()[own] {
            return known.clone();
        }
        let (name, program) = &self.programs[own];
        let evaluation = program.evaluate(self, limits::PER_CALL);
        self.cost.set(self.cost.get().saturating_add(evaluation.cost));
        let outcome = evaluation.outcome.map_err(|error| EvalError {
            message: format!("composited variable {name:?} fails to evaluate: {error}"),
            ..error
        });
        self.known.borrow_mut()[own] = Some(outcome.clone());
        outcome
    }
}
