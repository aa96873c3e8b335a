//! ValidatingAdmissionPolicies: expressions that must hold for a request to go on.

use coracle_cel::{Value as CelValue, limits, rules::usable};
use serde_json::{Value, json};

use super::{
    check::{Denial, View, refusal},
    is_exempt,
    parse::{AuditAnnotation, Body, Policy},
    scope::Scope,
};
use crate::{admission::Attributes, status::Failure};

/// Where auditors find what did not hold.
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

/// What one evaluation of a policy found wrong.
struct Decision {
    message: String,
    reason: String,
    /// Which validation.
    index: usize,
}

/// Lets policies refuse the request. The object is `None` for deletions and connections.
pub async fn validate(request: &Attributes<'_>, object: Option<&Value>) -> Result<(), Failure> {
    let policies = request.server.policies.validating(&request.server.store.snapshot());
    if policies.is_empty() || is_exempt(request) {
        return Ok(());
    }
    let served = request.server.registry.served();
    let mut first: Option<Denial> = None;
    for policy in policies.iter() {
        let found = super::check::invocations(request, policy, object, &served).await?;
        let mut denials = found.problems;
        let mut audited = Vec::new();
        for invocation in found.invocations {
            let binding = &policy.bindings[invocation.binding];
            let decisions = decide(request, policy, &found.views[invocation.view], &invocation.params);
            for decision in decisions {
                for action in &binding.actions {
                    match action.as_str() {
                        "Deny" => denials.push(Denial {
                            binding: Some(binding.name.clone()),
                            message: decision.message.clone(),
                            reason: decision.reason.clone(),
                        }),
                        "Warn" => request.request.warn(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                            policy.name, binding.name, decision.message
                        )),
                        "Audit" => audited.push(json!({
                            "message": decision.message, "policy": policy.name, "binding": binding.name,
                            "expressionIndex": decision.index, "validationActions": binding.actions,
                        })),
                        _ => {}
                    }
                }
            }
        }
        if !audited.is_empty() {
            request.request.annotate(FAILURES, Value::Array(audited).to_string());
        }
        if let (None, Some(denial)) = (&first, denials.into_iter().next()) {
            let by = match &denial.binding {
                Some(binding) => format!("ValidatingAdmissionPolicy '{}' with binding '{binding}'", policy.name),
                None => format!("ValidatingAdmissionPolicy '{}'", policy.name),
            };
            let message = format!("{by} denied request: {}", denial.message);
            first = Some(Denial { message, ..denial });
        }
    }
    match first {
        Some(denial) => Err(refusal(request, denial)),
        None => Ok(()),
    }
}

fn decide(request: &Attributes<'_>, policy: &Policy, view: &View<'_>, params: &Value) -> Vec<Decision> {
    let failed = |message: String| match policy.ignores_failure {
        true => Vec::new(),
        false => vec![Decision { message, reason: String::new(), index: 0 }],
    };
    if let Some(problem) = &policy.problem {
        return failed(problem.clone());
    }
    let Body::Validate { validations, audit } = &policy.body else { return Vec::new() };
    view.with_subject(request, params, |subject| {
        match policy.conditions.hold(subject) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(problem) => return failed(problem),
        }
        let scope = Scope::new(subject, &policy.variables);
        let mut budget = limits::PER_OBJECT;
        let mut decisions = Vec::new();
        for (index, validation) in validations.iter().enumerate() {
            match scope.evaluate(&validation.program, &mut budget) {
                Ok(CelValue::Bool(true)) => {}
                Ok(_) => {
                    let program = validation.message_program.as_ref();
                    let made = program.and_then(|program| match scope.evaluate(program, &mut budget) {
                        Ok(CelValue::String(text)) => usable(&text),
                        _ => None,
                    });
                    let written = || Some(validation.message.trim().to_owned()).filter(|text| !text.is_empty());
                    let plain = || format!("failed expression: {}", validation.text.trim());
                    let message = made.or_else(written).unwrap_or_else(plain);
                    decisions.push(Decision { message, reason: validation.reason.clone(), index });
                }
                Err(error) if error == super::scope::out_of_budget() => return failed(error.to_string()),
                Err(error) => {
                    decisions.extend(failed(format!("expression '{}' resulted in error: {error}", validation.text)));
                }
            }
        }
        decisions.extend(notes(request, policy, &scope, audit).into_iter().flat_map(failed));
        decisions
    })
}

/// Notes for auditors; what is wrong with them is returned.
fn notes<'a>(
    request: &Attributes<'_>,
    policy: &Policy,
    scope: &Scope<'a>,
    audit: &'a [AuditAnnotation],
) -> Vec<String> {
    let mut budget = limits::PER_OBJECT;
    let mut problems = Vec::new();
    for note in audit {
        match scope.evaluate(&note.program, &mut budget) {
            Ok(CelValue::Null) => {}
            Ok(CelValue::String(text)) => {
                let text = CelValue::String(text).to_text();
                request.request.annotate(&format!("{}/{}", policy.name, note.key), text);
            }
            Ok(other) => problems.push(format!(
                "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                note.text,
                other.type_name()
            )),
            Err(error) => problems.push(format!("expression '{}' resulted in error: {error}", note.text)),
        }
    }
    problems
}
