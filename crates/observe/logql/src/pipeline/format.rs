//! `line_format` and `label_format`: Go's templates over the labels of a line.

mod dates;
mod decimal;
mod host;
mod layout;
mod numbers;
mod texts;

use std::sync::{Arc, LazyLock};

use coracle_gotemplate::{Dict, DictType, Functions, Limits, MissingKey, Set, Value, execute};

use super::LabelsBuilder;
use crate::syntax::LabelFormat;
use host::LineHost;

const TEMPLATE_ERROR: &str = "TemplateFormatErr";
/// What one template may use for one line.
const LIMITS: Limits = Limits { stack_bytes: 1 << 20, output_bytes: 4 << 20, steps: 1_000_000 };

/// What `now` is for templates, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Moment(pub i64);

static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| {
    let tables = [host::TABLE, texts::TABLE, numbers::TABLE, dates::TABLE];
    Arc::new(tables.iter().fold(Functions::default(), |functions, table| functions.with(table)))
});

/// One template.
struct Template {
    set: Arc<Set>,
    name: &'static str,
    fields: Vec<String>,
    moment: Moment,
}

impl Template {
    fn new(name: &'static str, text: &str, moment: Moment) -> Result<Self, String> {
        let mut set = Set::new(name, Arc::clone(&FUNCTIONS), MissingKey::Zero);
        set.parse(name, text).map_err(|error| error.to_string())?;
        Ok(Self { set: Arc::new(set), name, fields: fields(text), moment })
    }

    fn run(&self, ts: i64, line: &str, labels: &Value) -> Result<String, String> {
        let mut host = LineHost { now: self.moment.0, ts, line: line.into() };
        match execute(&self.set, self.name, labels, &mut host, LIMITS) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Names of labels that a template speaks of.
fn fields(template: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for action in template.split("{{").skip(1) {
        let action = action.split("}}").next().unwrap_or_default();
        for piece in action.split('.').skip(1) {
            let len = piece.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(piece.len());
            if len > 0 && !fields.iter().any(|field| field == &piece[..len]) {
                fields.push(piece[..len].to_owned());
            }
        }
    }
    fields
}

/// The labels as a template sees them.
fn data(labels: &LabelsBuilder) -> Value {
    let mut entries = Vec::new();
    labels.visit(|_, name, value| entries.push((name.to_owned(), Value::from(value))));
    Value::Dict(std::rc::Rc::new(Dict::from_entries(DictType::String, entries)))
}

/// `line_format`.
pub(super) struct LineFormat {
    template: Template,
    /// Where it is a label and nothing else.
    label: Option<String>,
}

impl LineFormat {
    pub(super) fn new(text: &str, moment: Moment) -> Result<Self, String> {
        let template =
            Template::new("line", text, moment).map_err(|error| format!("invalid line template: {error}"))?;
        let inner = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
        let label = inner
            .and_then(|inner| inner.trim().strip_prefix('.'))
            .filter(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        Ok(Self { label: label.map(str::to_owned), template })
    }

    /// The new line; `None` where the template failed, which the labels then tell.
    pub(super) fn format(&self, ts: i64, line: &str, labels: &mut LabelsBuilder) -> Option<String> {
        if let Some(label) = &self.label {
            return Some(labels.get(label).unwrap_or_default().to_owned());
        }
        match self.template.run(ts, line, &data(labels)) {
            Ok(line) => Some(line),
            Err(message) => {
                labels.set_error(TEMPLATE_ERROR, &message);
                None
            }
        }
    }

    pub(super) fn labels(&self, into: &mut Vec<String>) {
        into.extend(self.template.fields.iter().cloned());
    }
}

enum Format {
    Rename { to: String, from: String },
    Template { label: String, template: Template },
}

/// `label_format`.
pub(super) struct LabelFormats(Vec<Format>);

impl LabelFormats {
    pub(super) fn new(formats: &[LabelFormat], moment: Moment) -> Result<Self, String> {
        let mut prepared = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for format in formats {
            let (LabelFormat::Rename { to: name, .. } | LabelFormat::Template { label: name, .. }) = format;
            if name == super::ERROR_LABEL {
                return Err(format!("{name} cannot be formatted"));
            }
            if names.contains(&name.as_str()) {
                return Err(format!("multiple label name '{name}' not allowed in a single format operation"));
            }
            names.push(name);
        }
        for format in formats {
            prepared.push(match format {
                LabelFormat::Rename { to, from } => Format::Rename { to: to.clone(), from: from.clone() },
                LabelFormat::Template { label, template } => Format::Template {
                    template: Template::new("label", template, moment)
                        .map_err(|error| format!("invalid template for label '{label}': {error}"))?,
                    label: label.clone(),
                },
            });
        }
        Ok(Self(prepared))
    }

    pub(super) fn format(&self, ts: i64, line: &str, labels: &mut LabelsBuilder) {
        // Templates see the labels as they are before the first of them.
        let mut seen = None;
        for format in &self.0 {
            match format {
                Format::Rename { to, from } => {
                    if let Some(value) = labels.get(from).map(str::to_owned) {
                        labels.set(to, &value);
                        labels.delete(from);
                    }
                }
                Format::Template { label, template } => {
                    let data = seen.get_or_insert_with(|| data(labels));
                    match template.run(ts, line, data) {
                        Ok(value) => labels.set(label, &value),
                        Err(message) => labels.set_error(TEMPLATE_ERROR, &message),
                    }
                }
            }
        }
    }

    pub(super) fn labels(&self, into: &mut Vec<String>) {
        for format in &self.0 {
            match format {
                Format::Rename { from, .. } => into.push(from.clone()),
                Format::Template { template, .. } => into.extend(template.fields.iter().cloned()),
            }
        }
    }
}
