//! The rules in a custom resource's schema, over an object that is about to be written.

use serde_json::Value;

use crate::{status::Cause, verbs::Call};

/// What keeps rules from being run: an object of such a shape would only make them fail.
const BLOCKING: [&str; 4] = ["FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];

/// Adds what the rules say; what is wrong but was so before becomes a warning.
pub fn check(call: &Call<'_>, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(rules) = &call.resource.rules else { return };
    if causes.iter().any(|cause| BLOCKING.contains(&cause.reason.as_str())) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        return causes.push(Cause::invalid("<nil>", "\"null\"", detail));
    }
    let findings = rules.check(object, old);
    causes.extend(findings.errors.iter().map(Cause::from));
    findings.warnings.into_iter().for_each(|warning| call.request.warn(warning));
}
