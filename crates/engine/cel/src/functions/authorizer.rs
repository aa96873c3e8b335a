//! The authorizer: what the one who asks, or a service account, may do.

use super::Implementation;
use crate::value::{EvalError, Opaque, Value};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Whose rights; the requester's where nobody is named: namespace and name of a service account.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Part of it.
    pub subresource: String,
    /// Where.
    pub namespace: String,
    /// Which.
    pub name: String,
    /// Verb, lower case for paths.
    pub verb: String,
    /// Only objects whose fields are like this.
    pub field_selector: String,
    /// Only objects whose labels are like this.
    pub label_selector: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Whether it may.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong while deciding.
    pub error: Option<String>,
}

/// Who decides.
pub trait Authorize: std::fmt::Debug {
    /// Answers.
    fn check(&self, check: &Check) -> Decided;
}

/// An answer as a value.
pub type DecisionValue = Decided;

/// How far a question has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
}

/// The authorizer, or a question under construction.
#[derive(Clone, Debug)]
pub struct CheckValue<'a> {
    authorizer: &'a dyn Authorize,
    stage: Stage,
    check: Check,
}

impl<'a> CheckValue<'a> {
    /// The value of the variable `authorizer`.
    pub fn authorizer(authorizer: &'a dyn Authorize) -> Value<'a> {
        Value::opaque(Opaque::Check(Self { authorizer, stage: Stage::Authorizer, check: Check::default() }))
    }

    /// The value of `authorizer.requestResource`: a question about what the request is about.
    pub fn resource(authorizer: &'a dyn Authorize, check: Check) -> Value<'a> {
        Value::opaque(Opaque::Check(Self { authorizer, stage: Stage::Resource, check }))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "path" => |args| step(args, Stage::Authorizer, Stage::Path, |check, text| check.path = Some(text)),
        "group" => |args| step(args, Stage::Authorizer, Stage::Group, |check, text| check.group = text),
        "serviceAccount" => |args| match args {
            [value, Value::String(namespace), Value::String(name)] => {
                let mut next = of(value, Stage::Authorizer)?;
                next.check.service_account = Some((namespace.to_string(), name.to_string()));
                Ok(Value::opaque(Opaque::Check(next)))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "resource" => |args| step(args, Stage::Group, Stage::Resource, |check, text| check.resource = text),
        "subresource" => |args| step(args, Stage::Resource, Stage::Resource, |check, text| check.subresource = text),
        "namespace" => |args| step(args, Stage::Resource, Stage::Resource, |check, text| check.namespace = text),
        "name" => |args| step(args, Stage::Resource, Stage::Resource, |check, text| check.name = text),
        "fieldSelector" => {
            |args| step(args, Stage::Resource, Stage::Resource, |check, text| check.field_selector = text)
        }
        "labelSelector" => {
            |args| step(args, Stage::Resource, Stage::Resource, |check, text| check.label_selector = text)
        }
        "check" => decide,
        "allowed" => |args| decision(args, |decided| Value::Bool(decided.allowed)),
        "errored" => |args| decision(args, |decided| Value::Bool(decided.error.is_some())),
        "error" => |args| decision(args, |decided| Value::text(decided.error.clone().unwrap_or_default())),
        "reason" => |args| decision(args, |decided| Value::text(decided.reason.clone())),
        _ => return None,
    })
}

fn of<'a>(value: &Value<'a>, stage: Stage) -> Result<CheckValue<'a>, EvalError> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Check(check) if check.stage == stage => Ok(check.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn step<'a>(args: &[Value<'a>], from: Stage, to: Stage, set: fn(&mut Check, String)) -> Result<Value<'a>, EvalError> {
    let [value, Value::String(text)] = args else { return Err(EvalError::no_such_overload()) };
    let mut next = of(value, from)?;
    set(&mut next.check, text.to_string());
    next.stage = to;
    Ok(Value::opaque(Opaque::Check(next)))
}

fn decide<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [value, Value::String(verb)] = args else { return Err(EvalError::no_such_overload()) };
    let mut check = of(value, Stage::Resource).or_else(|_| of(value, Stage::Path))?;
    check.check.verb = verb.to_string();
    Ok(Value::opaque(Opaque::Decision(check.authorizer.check(&check.check))))
}

fn decision<'a>(args: &[Value<'a>], answer: fn(&Decided) -> Value<'static>) -> Result<Value<'a>, EvalError> {
    if let [Value::Opaque(opaque)] = args
        && let Opaque::Decision(decided) = &**opaque
    {
        return Ok(answer(decided));
    }
    Err(EvalError::no_such_overload())
}
