//! `matchConditions`: expressions that must all hold before a policy, or a webhook, is asked.

use coracle_cel::{Environment, Program, Type, limits};
use serde_json::Value;

use crate::{
    admission::Attributes,
    registry::Resource,
    status::{Cause, Failure},
};

use super::{
    check::View,
    parse::compile,
    scope::{Extras, ObjectTypes, Scope, Subject, environment, out_of_budget},
};

/// More than so many are refused.
const MOST: usize = 64;

/// What is wrong with `matchConditions` when they are written at the field `at`.
pub fn problems(at: &str, conditions: &Value, params: bool) -> Vec<Cause> {
    let all = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return Vec::new();
    }
    let environment = environment(Extras { params, authorizer: true, mutations: false }, &ObjectTypes::default());
    let mut causes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, condition) in all.iter().enumerate() {
        let name = condition["name"].as_str().unwrap_or_default();
        let field = format!("{at}[{index}].name");
        if name.is_empty() {
            causes.push(Cause::required(&field, ""));
        } else if names.contains(&name) {
            causes.push(Cause::duplicate(&field, name));
        }
        names.push(name);
        let field = format!("{at}[{index}].expression");
        causes.extend(expression_problem(&field, &condition["expression"], &environment, &[Type::Bool]));
    }
    if all.len() > MOST {
        causes.push(Cause::too_many(at, all.len(), MOST));
    }
    causes
}

/// What is wrong with an expression that has to be there.
pub fn expression_problem(field: &str, value: &Value, environment: &Environment, wanted: &[Type]) -> Option<Cause> {
    let text = value.as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Some(Cause::required(field, "expression is not specified"));
    }
    let problem = compile(environment, text, wanted).err()?;
    Some(Cause::invalid(field, format!("{text:?}"), &problem))
}

/// Compiled conditions. Nothing is evaluated where there are none.
#[derive(Default)]
pub struct Conditions(Vec<(String, Program)>);

impl Conditions {
    /// Compiles `matchConditions`; the error says what is wrong.
    pub fn parse(conditions: &Value, params: bool) -> Result<Self, String> {
        let extras = Extras { params, authorizer: true, mutations: false };
        let all = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.is_empty() {
            return Ok(Self::default());
        }
        let environment = environment(extras, &ObjectTypes::default());
        let compiled = all.iter().map(|condition| {
            let text = condition["expression"].as_str().unwrap_or_default();
            Ok((text.to_owned(), compile(&environment, text, &[Type::Bool])?))
        });
        compiled.collect::<Result<_, String>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not hold decides, even beside one that fails.
    pub fn hold(&self, subject: &Subject<'_>) -> Result<bool, String> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let scope = Scope::new(subject, &[]);
        let mut budget = limits::MATCH_CONDITIONS;
        let mut problems = Vec::new();
        for (text, program) in &self.0 {
            match scope.evaluate(program, &mut budget) {
                Ok(coracle_cel::Value::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(error) if error == out_of_budget() => return Err(error.to_string()),
                Err(error) => problems.push(format!("expression '{text}' resulted in error: {error}")),
            }
        }
        match &problems[..] {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

/// Whether the conditions of a webhook hold for a request in the version it names; the error is one of evaluation.
pub async fn hold_for<'a>(
    conditions: &Conditions,
    request: &Attributes<'a>,
    seen_as: &'a Resource,
    object: Option<&'a Value>,
) -> Result<Result<bool, String>, Failure> {
    if conditions.is_empty() {
        return Ok(Ok(true));
    }
    let view = View::new(request, seen_as, object).await?;
    Ok(view.with_subject(request, &Value::Null, |subject| conditions.hold(subject)))
}
