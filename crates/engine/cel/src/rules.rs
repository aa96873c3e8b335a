//! `x-kubernetes-validations`: the rules of a custom resource's schema, compiled once a version and run over its objects.

mod definition;
mod field_path;

pub use definition::{RuleProblem, check_definition};

use std::{collections::BTreeMap, sync::Arc};

use coracle_schema::validate::{FieldError, Problem};
use serde_json::Value as Json;

use crate::{
    Environment, EvalError, Evaluation, Program, Type, Value, limits,
    schema::declare,
    types::{Declaration, ListKind},
};

const SELF: usize = 0;
const OLD_SELF: usize = 1;

/// All rules of a version.
#[derive(Debug)]
pub struct Rules(Node);

/// What a run found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What is wrong too, but was so before and was not touched.
    pub warnings: Vec<String>,
}

/// The rules at one place in a schema, and below it.
#[derive(Debug)]
struct Node {
    declaration: Arc<Declaration>,
    /// `object`, `string`, …: messages name it.
    type_name: String,
    rules: Vec<Rule>,
    fields: BTreeMap<String, Node>,
    /// Of items, or of a map's values.
    element: Option<Box<Node>>,
    /// From `allOf`, about the same value.
    also: Vec<Node>,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    program: Program,
    text: String,
    message: String,
    message_program: Option<Program>,
    message_text: String,
    reason: Option<Problem>,
    field_path: String,
    optional_old_self: bool,
}

/// The environment of the rules about values of a declaration.
fn environment(declaration: &Declaration, optional_old_self: bool) -> Environment {
    let mut old = declaration.clone();
    if optional_old_self {
        old = Declaration::of(Type::optional(old.of));
    }
    Environment::new().with("self", declaration.clone()).with("oldSelf", old)
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Rules {
    /// Compiles the rules of a whole object's schema; `None` where it has none. What does not compile was refused when
    /// the definition was written, and is left out.
    pub fn compile(schema: &Json) -> Option<Self> {
        if !mentions_rules(schema) {
            return None;
        }
        let declaration = declare(schema, true)?;
        Node::compile(schema, schema, declaration.into()).map(Self)
    }

    /// Runs the rules over an object, and over what it was before.
    pub fn check(&self, object: &Json, old: Option<&Json>) -> Findings {
        let mut run = Run { budget: Some(limits::PER_OBJECT), findings: Findings::default() };
        let ratchet = Ratchet { here: old.map(|old| (object, old)), above: None };
        run.visit(&self.0, "", object, old, ratchet);
        run.findings
    }
}

fn mentions_rules(schema: &Json) -> bool {
    match schema {
        Json::Object(members) => {
            members.get("x-kubernetes-validations").is_some_and(Json::is_array) || members.values().any(mentions_rules)
        }
        Json::Array(items) => items.iter().any(mentions_rules),
        _ => false,
    }
}

fn is_embedded(schema: &Json) -> bool {
    schema["x-kubernetes-embedded-resource"] == Json::Bool(true)
}

impl Node {
    /// `rules_from` says the rules, `schema` the shape; they differ only inside `allOf`.
    fn compile(rules_from: &Json, schema: &Json, declaration: Arc<Declaration>) -> Option<Self> {
        let rules = rules_from["x-kubernetes-validations"].as_array().into_iter().flatten();
        let rules: Vec<Rule> = rules.filter_map(|rule| Rule::compile(rule, schema, &declaration)).collect();
        let mut fields = BTreeMap::new();
        for (name, part) in rules_from["properties"].as_object().into_iter().flatten() {
            let Some(shape) = schema["properties"].get(name) else { continue };
            let declared = match crate::schema::escape(name) {
                Some(escaped) => declaration.field(&escaped).map(|field| field.declaration.clone()),
                // Rules elsewhere cannot name the field, but it has its own.
                None => declare(shape, is_embedded(shape)).map(Arc::new),
            };
            if let Some(node) = declared.and_then(|declared| Self::compile(part, shape, declared)) {
                fields.insert(name.clone(), node);
            }
        }
        let below = ["items", "additionalProperties"].into_iter().find(|key| schema[*key].is_object());
        let element = below
            .filter(|key| rules_from[*key].is_object())
            .and_then(|key| Self::compile(&rules_from[key], &schema[key], declaration.element.clone()?).map(Box::new));
        let also = rules_from["allOf"].as_array().into_iter().flatten();
        let also: Vec<Self> = also.filter_map(|part| Self::compile(part, schema, declaration.clone())).collect();
        if rules.is_empty() && fields.is_empty() && element.is_none() && also.is_empty() {
            return None;
        }
        let type_name = text(&schema["type"]);
        Some(Self { declaration, type_name, rules, fields, element, also })
    }
}

impl Rule {
    fn compile(rule: &Json, schema: &Json, declaration: &Declaration) -> Option<Self> {
        let optional_old_self = rule["optionalOldSelf"] == Json::Bool(true);
        let environment = environment(declaration, optional_old_self);
        let program = environment.compile(rule["rule"].as_str()?).ok()?;
        let message_text = text(&rule["messageExpression"]);
        let message_program = Some(&message_text).filter(|text| !text.is_empty());
        Some(Self {
            program,
            text: text(&rule["rule"]).trim().to_owned(),
            message: text(&rule["message"]).trim().to_owned(),
            message_program: message_program.and_then(|text| environment.compile(text).ok()),
            message_text,
            reason: match rule["reason"].as_str() {
                Some("FieldValueForbidden") => Some(Problem::Forbidden),
                Some("FieldValueRequired") => Some(Problem::Required),
                Some("FieldValueDuplicate") => Some(Problem::Duplicate),
                _ => None,
            },
            field_path: field_path::normalize(&text(&rule["fieldPath"]), schema).unwrap_or_default(),
            optional_old_self,
        })
    }

    /// How messages name the rule.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.text } else { &self.message }
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.text) } else { self.message.clone() }
    }
}

/// What an untouched value is known by: it as it is and as it was, here or in the nearest place above that has a
/// counterpart.
#[derive(Clone, Copy, Default)]
struct Ratchet<'a> {
    here: Option<(&'a Json, &'a Json)>,
    above: Option<(&'a Json, &'a Json)>,
}

impl<'a> Ratchet<'a> {
    fn below(self, counterpart: Option<(&'a Json, &'a Json)>) -> Self {
        match self.here {
            None => self,
            Some(here) => Self { here: counterpart, above: Some(here) },
        }
    }

    /// Whether the value was the same before.
    fn holds(self) -> bool {
        self.here.or(self.above).is_some_and(|(new, old)| new == old)
    }
}

struct Run {
    /// What is left to spend; `None` when it is over.
    budget: Option<u64>,
    findings: Findings,
}

impl Run {
    fn visit<'a>(&mut self, node: &'a Node, path: &str, value: &'a Json, old: Option<&'a Json>, ratchet: Ratchet<'a>) {
        // A null is the business of what holds it.
        if value.is_null() || self.budget.is_none() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(node, path, value, old, ratchet);
        for also in &node.also {
            self.visit(also, path, value, old, Ratchet { here: None, above: ratchet.above });
        }
        match value {
            Json::Object(members) => {
                for (name, member) in members {
                    let before = old.and_then(|old| old.get(name));
                    let (below, path) = match (node.fields.get(name), &node.element) {
                        (Some(field), _) if path.is_empty() => (field, name.clone()),
                        (Some(field), _) => (field, format!("{path}.{name}")),
                        (None, Some(element)) => (&**element, format!("{path}[{name}]")),
                        (None, None) => continue,
                    };
                    self.visit(below, &path, member, before, ratchet.below(before.map(|before| (member, before))));
                }
            }
            Json::Array(items) => {
                let Some(element) = &node.element else { return };
                for (index, item) in items.iter().enumerate() {
                    let before = counterpart(&node.declaration, item, old);
                    let path = format!("{path}[{index}]");
                    self.visit(element, &path, item, before, ratchet.below(before.map(|before| (item, before))));
                }
            }
            _ => {}
        }
    }

    fn rules<'a>(&mut self, node: &'a Node, path: &str, value: &'a Json, old: Option<&'a Json>, ratchet: Ratchet<'a>) {
        if node.rules.is_empty() {
            return;
        }
        let this = Value::json(value, Some(&node.declaration));
        let before = old.map(|old| Value::json(old, Some(&node.declaration)));
        for rule in &node.rules {
            let uses_old = rule.program.uses(OLD_SELF);
            if uses_old && old.is_none() && !rule.optional_old_self {
                continue;
            }
            let Some(budget) = self.budget else { return };
            let old_value = match rule.optional_old_self {
                true => Value::Optional(before.clone().map(Into::into)),
                false => before.clone().unwrap_or(Value::Null),
            };
            let variables = [this.clone(), old_value];
            const { assert!(SELF < OLD_SELF, "the environment declares them in this order") };
            let Evaluation { outcome, cost } = rule.program.evaluate(&variables, limits::PER_CALL);
            let Some(left) = budget.checked_sub(cost) else {
                self.fail(
                    node,
                    path,
                    "validation failed due to running out of cost budget, no further validation rules will be run",
                );
                self.budget = None;
                return;
            };
            self.budget = Some(left);
            match outcome {
                Ok(Value::Bool(true)) => {}
                Ok(_) => self.refused(node, rule, path, value, &variables, !uses_old && ratchet.holds()),
                Err(error) => self.failed(node, rule, path, &error),
            }
        }
    }

    fn fail(&mut self, node: &Node, path: &str, detail: &str) {
        self.findings.errors.push(FieldError {
            problem: Problem::Invalid,
            field: shown(path),
            value: Some(node.type_name.clone().into()),
            detail: detail.to_owned(),
        });
    }

    fn failed(&mut self, node: &Node, rule: &Rule, path: &str, error: &EvalError) {
        let shown = rule.shown();
        if error.is_fatal {
            let text = format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
            );
            self.fail(node, path, &text);
            self.budget = None;
        } else if error.message.starts_with("no such overload") {
            let text = format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
            );
            self.fail(node, path, &text);
        } else {
            self.fail(node, path, &format!("{error} evaluating rule: {shown}"));
        }
    }

    fn refused<'a>(
        &mut self,
        node: &Node,
        rule: &'a Rule,
        path: &str,
        value: &Json,
        variables: &[Value<'a>; 2],
        is_old: bool,
    ) {
        let detail = match self.message(rule, variables) {
            Ok(message) => message.unwrap_or_else(|| rule.default_message()),
            Err(detail) => {
                self.fail(node, path, &detail);
                self.budget = None;
                return;
            }
        };
        let field = match (path.is_empty(), rule.field_path.is_empty()) {
            (_, true) => shown(path),
            (true, false) => rule.field_path.trim_start_matches('.').to_owned(),
            (false, false) => format!("{path}.{}", rule.field_path.trim_start_matches('.')),
        };
        let problem = rule.reason.unwrap_or(Problem::Invalid);
        let names_value = matches!(problem, Problem::Invalid | Problem::Duplicate);
        let is_scalar = !value.is_object() && !value.is_array();
        let error = FieldError {
            problem,
            field,
            value: (names_value && is_scalar).then(|| value.clone()),
            detail: if problem == Problem::Duplicate { String::new() } else { detail },
        };
        if is_old {
            self.findings.warnings.push(error.to_string());
        } else {
            self.findings.errors.push(error);
        }
    }

    /// What the message expression says, where it says something usable. An error ends the run.
    fn message<'a>(&mut self, rule: &'a Rule, variables: &[Value<'a>; 2]) -> Result<Option<String>, String> {
        let (Some(program), Some(budget)) = (&rule.message_program, self.budget) else { return Ok(None) };
        let Evaluation { outcome, cost } = program.evaluate(variables, limits::PER_CALL);
        let Some(left) = budget.checked_sub(cost) else {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        };
        self.budget = Some(left);
        match outcome {
            Err(error) if error.is_fatal => Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                rule.message_text
            )),
            Ok(Value::String(message)) => Ok(usable(&message)),
            _ => Ok(None),
        }
    }
}

/// A message that may be shown: one line, not too long, not empty.
pub fn usable(message: &str) -> Option<String> {
    let message = message.trim();
    let fits = !message.is_empty() && message.len() <= limits::MESSAGE_BYTES && !message.contains('\n');
    fits.then(|| message.to_owned())
}

/// The whole object has no path, which upstream writes like this.
fn shown(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

/// What an item was before: only associative lists tell.
fn counterpart<'a>(list: &Declaration, item: &Json, old: Option<&'a Json>) -> Option<&'a Json> {
    let ListKind::Map(keys) = &list.list else { return None };
    let old = old?.as_array()?;
    old.iter().find(|before| keys.iter().all(|key| before.get(key) == item.get(key)))
}
