//! Rule files: groups of rules, checked as promtool checks them.

use std::collections::HashSet;

use coracle_promql::{
    labels::METRIC_NAME,
    number::parse_duration_ms,
    parser::{self, Options, ast::Expr},
    quote::quote,
};
use coracle_yaml::{
    FileId, Mark, Node,
    decode::{DecodeError, Fields, Located},
};

use crate::template;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    pub name: String,
    /// 0 when the group names none.
    pub interval_ms: i64,
    pub query_offset_ms: i64,
    /// How many series or alerts one rule may give; 0 for any number.
    pub limit: usize,
    pub labels: Vec<(String, String)>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub kind: Kind,
    pub name: String,
    pub expr: Expr,
    /// The group's labels and the rule's own, which win.
    pub labels: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Recording,
    Alerting { for_ms: i64, keep_firing_for_ms: i64, annotations: Vec<(String, String)> },
}

/// What is wrong with a rule file, in promtool's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

/// Reads and checks the text of a rule file. All mistakes are told at once.
pub fn parse(text: &str, options: Options, ignore_unknown_fields: bool) -> Result<Vec<Group>, Vec<RuleError>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let documents = coracle_yaml::parse(text, FileId::default()).map_err(|error| vec![RuleError(error.to_string())])?;
    let Some(document) = documents.first().filter(|node| !node.is_null()) else { return Ok(Vec::new()) };
    let mut reader = Reader { options, ignore_unknown_fields, errors: Vec::new() };
    let groups = reader.groups(document).map_err(|error| vec![RuleError(placed(error.mark, &error.message))])?;
    if reader.errors.is_empty() { Ok(groups) } else { Err(reader.errors) }
}

fn placed(mark: Mark, message: &str) -> String {
    format!("{}:{}: {message}", mark.line, mark.column)
}

struct Reader {
    options: Options,
    ignore_unknown_fields: bool,
    errors: Vec<RuleError>,
}

impl Reader {
    fn error(&mut self, message: impl Into<String>) {
        self.errors.push(RuleError(message.into()));
    }

    fn finish(&self, fields: Fields<'_>) -> Result<(), DecodeError> {
        if self.ignore_unknown_fields { Ok(()) } else { fields.finish() }
    }

    fn groups(&mut self, document: &Node) -> Result<Vec<Group>, DecodeError> {
        let mut fields = Fields::of(document, "")?;
        let nodes = fields.list("groups")?;
        self.finish(fields)?;
        let mut names = HashSet::new();
        let mut groups = Vec::with_capacity(nodes.len());
        for node in nodes {
            let group = self.group(node)?;
            if group.name.is_empty() {
                self.error(placed(node.mark, "Groupname must not be empty"));
            }
            if !names.insert(group.name.clone()) {
                let message = format!("groupname: \"{}\" is repeated in the same file", group.name);
                self.error(placed(node.mark, &message));
            }
            groups.push(group);
        }
        Ok(groups)
    }

    fn group(&mut self, node: &Node) -> Result<Group, DecodeError> {
        let mut fields = Fields::of(node, "group")?;
        let mut group = Group {
            name: text(&mut fields, "name")?.map(|name| name.value).unwrap_or_default(),
            interval_ms: duration(&mut fields, "interval")?.unwrap_or(0),
            query_offset_ms: duration(&mut fields, "query_offset")?.unwrap_or(0),
            limit: fields.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
            labels: pairs(&mut fields, "labels")?,
            rules: Vec::new(),
        };
        let rules = fields.list("rules")?;
        self.finish(fields)?;
        for (name, _) in &group.labels {
            if name.is_empty() || name == METRIC_NAME {
                self.error(format!("invalid label name: {name}"));
            }
        }
        for (index, node) in rules.iter().enumerate() {
            if let Some(rule) = self.rule(node, &group, index + 1)? {
                group.rules.push(rule);
            }
        }
        Ok(group)
    }

    /// Nothing when the rule is wrong, which was told then.
    fn rule(&mut self, node: &Node, group: &Group, number: usize) -> Result<Option<Rule>, DecodeError> {
        let mut fields = Fields::of(node, "rule")?;
        let record = text(&mut fields, "record")?;
        let alert = text(&mut fields, "alert")?;
        let expr = text(&mut fields, "expr")?;
        let for_ms = duration(&mut fields, "for")?.unwrap_or(0);
        let keep_firing_for_ms = duration(&mut fields, "keep_firing_for")?.unwrap_or(0);
        let own_labels = pairs(&mut fields, "labels")?;
        let annotations = pairs(&mut fields, "annotations")?;
        self.finish(fields)?;

        let name = alert.as_ref().or(record.as_ref()).map(|name| name.value.clone()).unwrap_or_default();
        let record_mark = record.as_ref().map_or(Mark::default(), |record| record.mark);
        let alert_mark = alert.as_ref().map_or(Mark::default(), |alert| alert.mark);
        let about = format!("group {}, rule {number}, {}", quote(&group.name), quote(&name));
        let before = self.errors.len();
        let both = |message: &str| {
            let (first, second) = (record_mark, alert_mark);
            format!("{}:{}: {}:{}: {about}: {message}", first.line, first.column, second.line, second.column)
        };
        match (&record, &alert) {
            (Some(_), Some(_)) => self.error(both("only one of 'record' and 'alert' must be set")),
            (None, None) => self.error(both("one of 'record' or 'alert' must be set")),
            _ => {}
        }
        let mut parsed = None;
        match &expr {
            None => self.error(placed(Mark::default(), &format!("{about}: field 'expr' must be set in rule"))),
            Some(expr) => match parser::parse(&expr.value, self.options) {
                Ok(expression) => parsed = Some(expression),
                Err(error) => {
                    self.error(placed(expr.mark, &format!("{about}: could not parse expression: {error}")));
                }
            },
        }
        if let Some(record) = &record {
            let mut wrong = |message: &str| self.error(placed(record_mark, &format!("{about}: {message}")));
            if !annotations.is_empty() {
                wrong("invalid field 'annotations' in recording rule");
            }
            if for_ms != 0 {
                wrong("invalid field 'for' in recording rule");
            }
            if keep_firing_for_ms != 0 {
                wrong("invalid field 'keep_firing_for' in recording rule");
            }
            if record.value.contains(['{', '}']) {
                let problem = "braces present in the recording rule name; should it be in expr?";
                wrong(&format!("{problem}: {}", record.value));
            }
        }
        for (label, _) in &own_labels {
            if label.is_empty() || label == METRIC_NAME {
                self.error(format!("{about}: invalid label name: {label}"));
            }
        }
        if alert.is_some() {
            for (kind, texts) in [("label", &own_labels), ("annotation", &annotations)] {
                for (key, text) in texts {
                    if let Err(error) = template::check(&name, text) {
                        self.error(format!("{about}: {kind} {}: {error}", quote(key)));
                    }
                }
            }
        }
        let (Some(expr), true) = (parsed, self.errors.len() == before) else { return Ok(None) };
        let kind = match alert {
            Some(_) => Kind::Alerting { for_ms, keep_firing_for_ms, annotations },
            None => Kind::Recording,
        };
        let mut labels: Vec<(String, String)> = group.labels.clone();
        for (label, value) in own_labels {
            labels.retain(|(known, _)| *known != label);
            labels.push((label, value));
        }
        Ok(Some(Rule { kind, name, expr, labels }))
    }
}

/// A scalar as it was written: numbers count as texts, as Go's decoder has it.
pub(crate) fn scalar_text(node: &Node) -> Result<String, DecodeError> {
    match &node.value {
        coracle_yaml::Value::Scalar(scalar) => Ok(scalar.text.to_string()),
        _ => Err(DecodeError::new(node.mark, "expected a text")),
    }
}

pub(crate) fn text(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<Located<String>>, DecodeError> {
    let Some(node) = fields.node(key) else { return Ok(None) };
    let value = scalar_text(node)?;
    Ok(if value.is_empty() { None } else { Some(Located { value, mark: node.mark }) })
}

pub(crate) fn pairs(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<(String, String)>, DecodeError> {
    let Some(node) = fields.node(key) else { return Ok(Vec::new()) };
    let coracle_yaml::Value::Mapping(mapping) = &node.value else {
        return Err(DecodeError::new(node.mark, format!("{}: expected names and texts", fields.path_of(key))));
    };
    mapping.iter().map(|entry| Ok((entry.key.to_string(), scalar_text(&entry.value)?))).collect()
}

pub(crate) fn duration(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<i64>, DecodeError> {
    let Some(node) = fields.node(key) else { return Ok(None) };
    parse_duration_ms(&scalar_text(node)?).map(Some).map_err(|error| DecodeError::new(node.mark, error))
}
