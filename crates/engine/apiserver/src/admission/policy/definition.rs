//! What is wrong with a policy when it is written.

use coracle_cel::{Environment, Type};
use serde_json::Value;

use super::{
    conditions,
    parse::patch_list,
    scope::{Extras, ObjectTypes, environment},
};
use crate::status::Cause;

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

/// What is wrong with a policy's spec.
pub fn problems(spec: &Value, mutates: bool) -> Vec<Cause> {
    let mut checker = Checker { causes: Vec::new() };
    checker.common(spec);
    let extras = Extras { params: spec["paramKind"].is_object(), authorizer: true, mutations: mutates };
    let environment = checker.variables(spec, extras);
    if mutates {
        checker.mutations(spec, &environment);
    } else {
        let for_messages = Checker { causes: Vec::new() }.variables(spec, Extras { authorizer: false, ..extras });
        checker.validations(spec, &environment, &for_messages);
    }
    checker.causes
}

struct Checker {
    causes: Vec<Cause>,
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Checker {
    fn required(&mut self, field: &str, detail: &str) {
        self.causes.push(Cause::required(field, detail));
    }

    fn invalid(&mut self, field: &str, value: &str, detail: &str) {
        self.causes.push(Cause::invalid(field, format!("{value:?}"), detail));
    }

    fn one_of(&mut self, field: &str, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.causes.push(Cause::unsupported(field, value, supported));
        }
    }

    /// Compiles an expression that has to be there.
    fn expression(&mut self, field: &str, value: &Value, environment: &Environment, wanted: &[Type]) {
        self.causes.extend(conditions::expression_problem(field, value, environment, wanted));
    }

    fn common(&mut self, spec: &Value) {
        match text(&spec["failurePolicy"]) {
            "" => self.required("spec.failurePolicy", ""),
            policy => self.one_of("spec.failurePolicy", policy, &["Fail", "Ignore"]),
        }
        if let Some(kind) = spec.get("paramKind") {
            for field in ["apiVersion", "kind"] {
                if text(&kind[field]).is_empty() {
                    self.required(&format!("spec.paramKind.{field}"), "");
                }
            }
        }
        let matching = &spec["matchConstraints"];
        if !matching.is_object() {
            self.required("spec.matchConstraints", "");
        } else {
            if list(&matching["resourceRules"]).next().is_none() {
                self.required("spec.matchConstraints.resourceRules", "");
            }
            self.rules(matching);
        }
        let params = spec["paramKind"].is_object();
        self.causes.extend(conditions::problems("spec.matchConditions", &spec["matchConditions"], params));
    }

    fn rules(&mut self, matching: &Value) {
        for field in ["resourceRules", "excludeResourceRules"] {
            for (index, rule) in list(&matching[field]).enumerate() {
                for part in ["operations", "apiGroups", "apiVersions", "resources"] {
                    if list(&rule[part]).next().is_none() {
                        self.required(&format!("spec.matchConstraints.{field}[{index}].{part}"), "");
                    }
                }
            }
        }
    }

    /// Checks the variables; the environment that has those that compile.
    fn variables(&mut self, spec: &Value, extras: Extras) -> Environment {
        let mut environment = environment(extras, &ObjectTypes::default());
        for (index, variable) in list(&spec["variables"]).enumerate() {
            let at = format!("spec.variables[{index}]");
            let name = text(&variable["name"]);
            if name.is_empty() {
                self.required(&format!("{at}.name"), "name is not specified");
            } else if !is_identifier(name) {
                self.invalid(&format!("{at}.name"), name, "name is not a valid CEL identifier");
            }
            self.expression(&format!("{at}.expression"), &variable["expression"], &environment, &[]);
            let of = environment.compile(text(&variable["expression"]));
            let of = of.map_or(Type::Dyn, |program| program.result_type().clone());
            environment.declare(&format!("variables.{name}"), coracle_cel::Declaration::of(of));
        }
        environment
    }

    fn validations(&mut self, spec: &Value, environment: &Environment, for_messages: &Environment) {
        let is_empty = |field: &str| list(&spec[field]).next().is_none();
        if is_empty("validations") && is_empty("auditAnnotations") {
            let detail = "validations or auditAnnotations must contain at least one item";
            self.required("spec.validations", detail);
            self.required("spec.auditAnnotations", detail);
        }
        for (index, validation) in list(&spec["validations"]).enumerate() {
            let at = |field: &str| format!("spec.validations[{index}].{field}");
            self.expression(&at("expression"), &validation["expression"], environment, &[Type::Bool]);
            let message = text(&validation["messageExpression"]);
            if !message.is_empty() {
                let field = at("messageExpression");
                self.expression(&field, &validation["messageExpression"], for_messages, &[Type::String]);
            }
            let written = text(&validation["message"]);
            if !written.is_empty() && written.trim().is_empty() {
                self.invalid(&at("message"), written, "message must be non-empty if specified");
            } else if written.trim().contains(['\n', '\r']) {
                self.invalid(&at("message"), written, "message must not contain line breaks");
            } else if text(&validation["expression"]).trim().contains(['\n', '\r']) && written.is_empty() {
                self.required(&at("message"), "message must be specified if expression contains line breaks");
            }
            let reason = text(&validation["reason"]);
            if !reason.is_empty() {
                self.one_of(&at("reason"), reason, &REASONS);
            }
        }
        for (index, note) in list(&spec["auditAnnotations"]).enumerate() {
            let at = format!("spec.auditAnnotations[{index}]");
            if text(&note["key"]).is_empty() {
                self.required(&format!("{at}.key"), "");
            }
            let wanted = [Type::String, Type::Null, Type::Dyn];
            self.expression(&format!("{at}.valueExpression"), &note["valueExpression"], environment, &wanted);
        }
    }

    fn mutations(&mut self, spec: &Value, environment: &Environment) {
        if list(&spec["mutations"]).next().is_none() {
            self.required("spec.mutations", "mutations must contain at least one item");
        }
        match text(&spec["reinvocationPolicy"]) {
            "" => self.required("spec.reinvocationPolicy", ""),
            policy => self.one_of("spec.reinvocationPolicy", policy, &["IfNeeded", "Never"]),
        }
        for (index, mutation) in list(&spec["mutations"]).enumerate() {
            let at = format!("spec.mutations[{index}]");
            let (own, wanted) = match text(&mutation["patchType"]) {
                "" => {
                    self.required(&format!("{at}.patchType"), "");
                    continue;
                }
                "ApplyConfiguration" => ("applyConfiguration", Type::Named("Object".into())),
                "JSONPatch" => ("jsonPatch", patch_list()),
                other => {
                    self.one_of(&format!("{at}.patchType"), other, &["ApplyConfiguration", "JSONPatch"]);
                    continue;
                }
            };
            if !mutation[own].is_object() {
                self.required(&format!("{at}.{own}"), "");
                continue;
            }
            self.expression(&format!("{at}.{own}.expression"), &mutation[own]["expression"], environment, &[wanted]);
        }
    }
}
