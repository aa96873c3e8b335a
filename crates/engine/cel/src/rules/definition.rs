//! What is wrong with the rules of a definition: they must compile, and must not be able to cost too much.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{OLD_SELF, environment, field_path};
use crate::{
    Program, Type, limits,
    schema::{MAX_REQUEST_BYTES, declare, escape},
    types::Declaration,
};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Where.
    pub field: String,
    /// The reason of the cause in a Status.
    pub reason: &'static str,
    /// What.
    pub message: String,
}

/// Checks the rules of a version's schema, which `path` leads to.
pub fn check_definition(schema: &Json, path: &str) -> Vec<RuleProblem> {
    if !super::mentions_rules(schema) {
        return Vec::new();
    }
    let mut checker = Checker::default();
    checker.words(schema, path);
    // Rules in words first: without them, expressions say nothing.
    if !checker.problems.is_empty() {
        return checker.problems;
    }
    let place = Place { declaration: declare(schema, true).map(Arc::new), cardinality: Some(1), uncorrelatable: None };
    checker.visit(schema, path, &place);
    checker.total(path);
    checker.problems
}

#[derive(Default)]
struct Checker {
    problems: Vec<RuleProblem>,
    total: u64,
    dearest: Vec<(u64, String)>,
}

/// What is known of a place in the schema.
struct Place {
    declaration: Option<Arc<Declaration>>,
    /// How many values there can be; `None` without a bound.
    cardinality: Option<u64>,
    /// The list whose items have no counterparts in the old object.
    uncorrelatable: Option<String>,
}

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

impl Checker {
    fn invalid(&mut self, field: String, value: &str, detail: &str) {
        let message = format!("Invalid value: {value}: {detail}");
        self.problems.push(RuleProblem { field, reason: "FieldValueInvalid", message });
    }

    fn required(&mut self, field: String, detail: &str) {
        let message = format!("Required value: {detail}");
        self.problems.push(RuleProblem { field, reason: "FieldValueRequired", message });
    }

    fn forbidden(&mut self, field: String, detail: &str) {
        let message = format!("Forbidden: {detail}");
        self.problems.push(RuleProblem { field, reason: "FieldValueForbidden", message });
    }

    /// What is wrong with rules before anything is compiled.
    fn words(&mut self, schema: &Json, path: &str) {
        for (index, rule) in rules(schema).enumerate() {
            let at = |field: &str| format!("{path}.x-kubernetes-validations[{index}].{field}");
            let text = |field: &str| rule[field].as_str().unwrap_or_default();
            let (expression, message) = (text("rule").trim(), text("message").trim());
            if expression.is_empty() {
                self.required(at("rule"), "rule is not specified");
            } else if !text("message").is_empty() && message.is_empty() {
                self.invalid(at("message"), &format!("{:?}", text("message")), "must be non-empty if specified");
            } else if message.contains(['\n', '\r']) {
                self.invalid(at("message"), &format!("{:?}", text("message")), "must not contain line breaks");
            } else if expression.contains(['\n', '\r']) && message.is_empty() {
                self.required(at("message"), "message must be specified if rule contains line breaks");
            }
            if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
                self.required(at("messageExpression"), "messageExpression must be non-empty if specified");
            }
            if !text("reason").is_empty() && !REASONS.contains(&text("reason")) {
                let supported: Vec<String> = REASONS.iter().map(|reason| format!("{reason:?}")).collect();
                let message =
                    format!("Unsupported value: {:?}: supported values: {}", text("reason"), supported.join(", "));
                self.problems.push(RuleProblem { field: at("reason"), reason: "FieldValueNotSupported", message });
            }
            let field_path = text("fieldPath");
            if !field_path.is_empty() {
                let shown = format!("{field_path:?}");
                if field_path.trim().is_empty() {
                    self.invalid(at("fieldPath"), &shown, "must be non-empty if specified");
                }
                if field_path.contains(['\n', '\r']) {
                    self.invalid(at("fieldPath"), &shown, "must not contain line breaks");
                }
                if field_path::normalize(field_path, schema).is_err() || field_path.trim().is_empty() {
                    self.invalid(at("fieldPath"), &shown, "must be a valid path");
                }
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            self.words(property, &format!("{path}.properties[{name}]"));
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                self.words(&schema[key], &format!("{path}.{key}"));
            }
        }
    }

    fn visit(&mut self, schema: &Json, path: &str, place: &Place) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let declaration = match (escape(name), &place.declaration) {
                (Some(escaped), Some(parent)) => parent.field(&escaped).map(|field| field.declaration.clone()),
                _ => None,
            };
            let below = Place {
                declaration: declaration.or_else(|| declare(property, false).map(Arc::new)),
                cardinality: place.cardinality,
                uncorrelatable: place.uncorrelatable.clone(),
            };
            self.visit(property, &format!("{path}.properties[{name}]"), &below);
        }
        for (key, bound) in [("items", "maxItems"), ("additionalProperties", "maxProperties")] {
            if !schema[key].is_object() {
                continue;
            }
            let is_plain_list = key == "items" && schema["x-kubernetes-list-type"] != "map";
            let element = place.declaration.as_ref().and_then(|parent| parent.element.clone());
            let below = Place {
                declaration: element.or_else(|| declare(&schema[key], false).map(Arc::new)),
                cardinality: place.cardinality.zip(schema[bound].as_u64()).map(|(a, b)| a.saturating_mul(b)),
                uncorrelatable: place.uncorrelatable.clone().or_else(|| is_plain_list.then(|| path.to_owned())),
            };
            self.visit(&schema[key], &format!("{path}.{key}"), &below);
        }
        for (index, rule) in rules(schema).enumerate() {
            self.rule(rule, &format!("{path}.x-kubernetes-validations[{index}]"), place);
        }
    }

    fn rule(&mut self, rule: &Json, path: &str, place: &Place) {
        let Some(declaration) = &place.declaration else {
            let message =
                "Internal error: internal error: failed to retrieve type information for x-kubernetes-validations";
            let field = path.rsplit_once('[').map_or(path, |(list, _)| list).to_owned();
            return self.problems.push(RuleProblem { field, reason: "InternalError", message: message.to_owned() });
        };
        let optional_old_self = rule["optionalOldSelf"] == Json::Bool(true);
        let environment = environment(declaration, optional_old_self);
        let text = rule["rule"].as_str().unwrap_or_default();
        let program = match environment.compile(text) {
            Err(error) => {
                let detail = format!("compilation failed: {error}");
                return self.invalid(format!("{path}.rule"), &go_rule(rule), &detail);
            }
            Ok(program) if *program.result_type() != Type::Bool => {
                let detail = "cel expression must evaluate to a bool";
                return self.invalid(format!("{path}.rule"), &go_rule(rule), detail);
            }
            Ok(program) => program,
        };
        self.cost(&program, &format!("{path}.rule"), "estimated rule cost", place, declaration);
        let message_text = rule["messageExpression"].as_str().unwrap_or_default();
        if !message_text.is_empty() {
            let field = format!("{path}.messageExpression");
            match environment.compile(message_text) {
                Err(error) => {
                    self.invalid(field, &go_rule(rule), &format!("messageExpression compilation failed: {error}"));
                }
                Ok(program) if *program.result_type() != Type::String => {
                    self.invalid(field, &go_rule(rule), "messageExpression must evaluate to a string");
                }
                // A message is made once, however many values there are.
                Ok(program) => self.observe(program.estimate().max, field, "estimated messageExpression cost"),
            }
        }
        if program.uses(OLD_SELF) {
            if let Some(list) = &place.uncorrelatable {
                let detail =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                self.invalid(format!("{path}.rule"), &format!("{text:?}"), &detail);
            }
        } else if let Some(flag) = rule["optionalOldSelf"].as_bool() {
            let detail = "may not be set if oldSelf is not used in rule";
            self.invalid(format!("{path}.optionalOldSelf"), &flag.to_string(), detail);
        }
    }

    fn cost(&mut self, program: &Program, field: &str, what: &str, place: &Place, declaration: &Declaration) {
        let times = place.cardinality.unwrap_or(MAX_REQUEST_BYTES / (declaration.min_size + 1));
        self.observe(program.estimate().max.saturating_mul(times), field.to_owned(), what);
    }

    fn observe(&mut self, cost: u64, field: String, what: &str) {
        if cost > limits::RULE_ESTIMATE {
            self.forbidden(field.clone(), &exceeds(what, cost, limits::RULE_ESTIMATE));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= limits::DEFINITION_ESTIMATE / 100 {
            self.dearest.push((cost, field));
        }
    }

    fn total(&mut self, path: &str) {
        const SHOWN: usize = 4;
        if self.total <= limits::DEFINITION_ESTIMATE {
            return;
        }
        self.dearest.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, field) in std::mem::take(&mut self.dearest).into_iter().take(SHOWN) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.forbidden(field, detail);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.forbidden(path.to_owned(), &exceeds(what, self.total, limits::DEFINITION_ESTIMATE));
    }
}

fn rules(schema: &Json) -> impl Iterator<Item = &Json> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten()
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let times = cost as f64 / limit as f64;
    let factor = match times {
        times if times > 100.0 => "more than 100x".to_owned(),
        times if times < 1.5 => format!("{times:.6}x"),
        times => format!("{times:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// The rule the way Go prints its struct, which is what upstream puts into the message.
fn go_rule(rule: &Json) -> String {
    let text = |field: &str| format!("{:?}", rule[field].as_str().unwrap_or_default());
    let pointer = |field: &str| if rule.get(field).is_some() { "0xc000000000" } else { "nil" };
    format!(
        "apiextensions.ValidationRule{{Rule:{}, Message:{}, MessageExpression:{}, Reason:(*apiextensions.FieldValueErrorReason)({}), FieldPath:{}, OptionalOldSelf:(*bool)({})}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        pointer("reason"),
        text("fieldPath"),
        pointer("optionalOldSelf")
    )
}
