//! What happens to a line: filters, parsers, formats, in the order of the query.

mod builder;
mod decolorize;
mod extract;
mod filter;
mod format;
mod ip;
mod json;
mod json_path;
mod label_filter;
mod labels_stage;
mod logfmt;
mod needles;
mod pattern;
mod unpack;

use std::borrow::Cow;

use regex::Regex;

pub use builder::{Category, LabelsBuilder};
pub(crate) use extract::{Extracted, Extractor, SampleKind, hash_pairs, same_pairs, seconds};
pub(crate) use format::Moment;
pub use needles::{Needle, Needles};

use crate::{
    go, regexp,
    syntax::{self, ParseError, Stage},
};
use filter::LineFilters;
use format::{LabelFormats, LineFormat};

/// The label that tells what went wrong with a line.
pub const ERROR_LABEL: &str = "__error__";
/// The label that says more of it.
pub const ERROR_DETAILS_LABEL: &str = "__error_details__";
/// The label that lets a wrong line be counted where a query asks for errors.
pub(crate) const PRESERVE_ERROR_LABEL: &str = "__preserve_error__";
/// What the name of a parsed label gets where the stream has one of that name.
const DUPLICATE_SUFFIX: &str = "_extracted";

/// Why a regular expression or a pattern cannot be a parser.
pub(crate) fn check_regexp_parser(expression: &str) -> Result<(), String> {
    regexp_parser(expression).map(drop)
}

pub(crate) fn check_pattern_parser(expression: &str) -> Result<(), String> {
    pattern::Pattern::parser(expression).map(drop)
}

/// The labels that a parser finds in a line, `json` or else `logfmt`.
pub fn parsed_fields(parser: &str, line: &str) -> Vec<(String, String)> {
    let mut labels = LabelsBuilder::new();
    match parser {
        "json" => json::parse(line, &mut labels),
        _ => logfmt::parse(line, false, false, &mut labels),
    }
    let mut fields = Vec::new();
    labels.visit(|_, name, value| {
        if !name.starts_with("__error") {
            fields.push((name.to_owned(), value.to_owned()));
        }
    });
    fields
}

/// Goes through the pairs of a logfmt line, up to the first that is none.
pub fn logfmt_pairs(line: &str, each: impl FnMut(&str, &str)) {
    logfmt::pairs(line, each);
}

/// A pipeline ready to run.
pub struct Pipeline {
    steps: Vec<Step>,
}

enum Step {
    Lines(LineFilters),
    Json,
    JsonPaths(Vec<(String, Vec<json_path::PathStep>)>),
    Logfmt { strict: bool, keep_empty: bool },
    LogfmtKeys { strict: bool, keys: Vec<(String, String)> },
    Regexp { regex: Regex, labels: Vec<Option<String>> },
    Pattern(pattern::Pattern),
    Unpack,
    Labels(label_filter::Filter),
    LineFormat(LineFormat),
    LabelFormat(LabelFormats),
    Decolorize,
    Drop(Vec<syntax::NamedMatcher>),
    Keep(Vec<syntax::NamedMatcher>),
}

impl Pipeline {
    /// Prepares stages; fails as Loki does, with the stage and why.
    pub fn new(stages: &[Stage], moment: Moment) -> Result<Self, ParseError> {
        let mut steps = Vec::with_capacity(stages.len());
        for stage in in_running_order(stages) {
            let step = prepare(stage, moment).map_err(|error| ParseError::new(format!("stage '{stage}' : {error}")))?;
            steps.push(step);
        }
        Ok(Self { steps })
    }

    /// Runs a line through; `None` where a filter held it back. The labels are those of the line's stream and its
    /// structured metadata, and are changed.
    pub fn run<'l>(&self, ts: i64, line: &'l str, labels: &mut LabelsBuilder) -> Option<Cow<'l, str>> {
        let mut line = Cow::Borrowed(line);
        for step in &self.steps {
            match step {
                Step::Lines(filters) if filters.matches(&line) => {}
                Step::Labels(filter) if filter.matches(labels) => {}
                Step::Lines(_) | Step::Labels(_) => return None,
                Step::Json => json::parse(&line, labels),
                Step::JsonPaths(paths) => json_path::extract(&line, paths, labels),
                Step::Logfmt { strict, keep_empty } => logfmt::parse(&line, *strict, *keep_empty, labels),
                Step::LogfmtKeys { strict, keys } => logfmt::extract(&line, *strict, keys, labels),
                Step::Regexp { regex, labels: names } => parse_regexp(regex, names, &line, labels),
                Step::Pattern(pattern) => parse_pattern(pattern, &line, labels),
                Step::Unpack => {
                    if let Some(packed) = unpack::unpack(&line, labels) {
                        line = Cow::Owned(packed);
                    }
                }
                Step::LineFormat(format) => {
                    if let Some(formatted) = format.format(ts, &line, labels) {
                        line = Cow::Owned(formatted);
                    }
                }
                Step::LabelFormat(formats) => formats.format(ts, &line, labels),
                Step::Decolorize => {
                    if let Cow::Owned(plain) = decolorize::decolorize(&line) {
                        line = Cow::Owned(plain);
                    }
                }
                Step::Drop(named) => labels_stage::drop(named, labels),
                Step::Keep(named) => labels_stage::keep(named, labels),
            }
        }
        Some(line)
    }

    /// Labels that stages ask for by name.
    fn required_labels(&self) -> Vec<String> {
        let mut required = Vec::new();
        for step in &self.steps {
            match step {
                Step::Labels(filter) => filter.labels(&mut required),
                Step::LineFormat(format) => format.labels(&mut required),
                Step::LabelFormat(formats) => formats.labels(&mut required),
                _ => {}
            }
        }
        required
    }
}

/// Line filters come before parsers that stand in front of them: a line that will go need not be parsed. They stay behind
/// what changes the line, and behind label filters, which are cheap once the labels are there.
fn in_running_order(stages: &[Stage]) -> Vec<&Stage> {
    let (mut ordered, mut lines, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for stage in stages {
        match stage {
            Stage::Lines(_) => lines.push(stage),
            Stage::Labels(_) => {
                ordered.append(&mut lines);
                ordered.append(&mut others);
                ordered.push(stage);
            }
            Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize => {
                others.push(stage);
                ordered.append(&mut lines);
                ordered.append(&mut others);
            }
            _ => others.push(stage),
        }
    }
    ordered.append(&mut lines);
    ordered.append(&mut others);
    ordered
}

fn prepare(stage: &Stage, moment: Moment) -> Result<Step, String> {
    Ok(match stage {
        Stage::Lines(filters) => Step::Lines(LineFilters::new(filters)?),
        Stage::Json => Step::Json,
        Stage::JsonExpressions(expressions) => Step::JsonPaths(
            expressions
                .iter()
                .map(|one| match json_path::parse(&one.expression) {
                    Ok(path) => Ok((one.label.clone(), path)),
                    Err(error) => Err(format!("cannot parse expression [{}]: {error}", one.expression)),
                })
                .collect::<Result<_, _>>()?,
        ),
        Stage::Logfmt { strict, keep_empty, expressions } if expressions.is_empty() => {
            Step::Logfmt { strict: *strict, keep_empty: *keep_empty }
        }
        Stage::Logfmt { strict, expressions, .. } => Step::LogfmtKeys {
            strict: *strict,
            keys: expressions
                .iter()
                .map(|one| match logfmt::parse_key(&one.expression) {
                    Ok(key) => Ok((one.label.clone(), key)),
                    Err(error) => Err(format!("cannot parse expression [{}]: {error}", one.expression)),
                })
                .collect::<Result<_, _>>()?,
        },
        Stage::Regexp(expression) => {
            let (regex, labels) = regexp_parser(expression)?;
            Step::Regexp { regex, labels }
        }
        Stage::Pattern(expression) => Step::Pattern(pattern::Pattern::parser(expression)?),
        Stage::Unpack => Step::Unpack,
        Stage::Labels(filter) => Step::Labels(label_filter::Filter::new(filter)?),
        Stage::LineFormat(template) => Step::LineFormat(LineFormat::new(template, moment)?),
        Stage::LabelFormat(formats) => Step::LabelFormat(LabelFormats::new(formats, moment)?),
        Stage::Decolorize => Step::Decolorize,
        Stage::Drop(named) => Step::Drop(named.clone()),
        Stage::Keep(named) => Step::Keep(named.clone()),
    })
}

/// The expression, and the label of each of its groups.
fn regexp_parser(expression: &str) -> Result<(Regex, Vec<Option<String>>), String> {
    let regex = regexp::compile(expression).map_err(|error| error.to_string())?;
    let mut labels: Vec<Option<String>> = Vec::new();
    for name in regex.capture_names() {
        if let Some(name) = name
            && labels.iter().flatten().any(|known| known == name)
        {
            return Err(format!("duplicate extracted label name '{name}'"));
        }
        labels.push(name.map(str::to_owned));
    }
    if labels.iter().all(Option::is_none) {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok((regex, labels))
}

fn parse_regexp(regex: &Regex, names: &[Option<String>], line: &str, labels: &mut LabelsBuilder) {
    let Some(captures) = regex.captures(line) else { return };
    for (group, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let value = captures.get(group).map_or("", |found| found.as_str());
        labels.set_parsed(&sanitize(name), value);
    }
}

fn parse_pattern(pattern: &pattern::Pattern, line: &str, labels: &mut LabelsBuilder) {
    if labels.wants_nothing() {
        return;
    }
    pattern.captures(line, |name, value| labels.set_parsed(name, value));
}

/// A key as a label's name: letters, digits and underscores.
fn sanitize(key: &str) -> Cow<'_, str> {
    let key = key.trim();
    let clean = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let digit_first = key.starts_with(|c: char| c.is_ascii_digit());
    if !digit_first && key.chars().all(clean) {
        return Cow::Borrowed(key);
    }
    let mut name = String::with_capacity(key.len() + 1);
    if digit_first {
        name.push('_');
    }
    name.extend(key.chars().map(|c| if clean(c) { c } else { '_' }));
    Cow::Owned(name)
}

/// What is read as a number and why not.
pub(crate) fn number(value: &str) -> Result<f64, String> {
    go::parse_float(value)
}
