//! Field errors: what is wrong, where, in upstream's words.

use std::fmt;

use serde_json::{Value, json};

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    TypeInvalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub problem: Problem,
    /// `spec.containers[0].name`
    pub field: String,
    /// What stands there; left out of the message where that would not help.
    pub value: Option<Value>,
    pub detail: String,
}

impl FieldError {
    /// The reason of the cause in a Status.
    pub fn reason(&self) -> &'static str {
        match self.problem {
            Problem::NotFound => "FieldValueNotFound",
            Problem::Required => "FieldValueRequired",
            Problem::Duplicate => "FieldValueDuplicate",
            Problem::Invalid => "FieldValueInvalid",
            Problem::TypeInvalid => "FieldValueTypeInvalid",
            Problem::NotSupported => "FieldValueNotSupported",
            Problem::Forbidden => "FieldValueForbidden",
            Problem::TooLong => "FieldValueTooLong",
            Problem::TooMany => "FieldValueTooMany",
        }
    }

    /// The message of the cause: everything but the field.
    pub fn message(&self) -> String {
        let mut text = match self.problem {
            Problem::NotFound => "Not found",
            Problem::Required => "Required value",
            Problem::Duplicate => "Duplicate value",
            Problem::Invalid | Problem::TypeInvalid => "Invalid value",
            Problem::NotSupported => "Unsupported value",
            Problem::Forbidden => "Forbidden",
            Problem::TooLong => "Too long",
            Problem::TooMany => "Too many",
        }
        .to_owned();
        if let Some(value) = &self.value {
            text += &match value {
                Value::String(value) => format!(": {value:?}"),
                value => format!(": {value}"),
            };
        }
        if !self.detail.is_empty() {
            text += ": ";
            text += &self.detail;
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// The errors found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub Vec<FieldError>);

impl Findings {
    fn push(&mut self, problem: Problem, field: &str, value: Option<Value>, detail: impl Into<String>) {
        self.0.push(FieldError { problem, field: field.to_owned(), value, detail: detail.into() });
    }

    pub fn required(&mut self, field: &str, detail: &str) {
        self.push(Problem::Required, field, None, detail);
    }

    pub fn invalid(&mut self, field: &str, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Problem::Invalid, field, Some(value.into()), detail);
    }

    /// Something whose value would not help anybody.
    pub fn invalid_bare(&mut self, field: &str, detail: &str) {
        self.push(Problem::Invalid, field, None, detail);
    }

    pub fn type_invalid(&mut self, field: &str, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Problem::TypeInvalid, field, Some(value.into()), detail);
    }

    /// One error for each message, as the checks of names return them.
    pub fn invalid_each(&mut self, field: &str, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(field, value, message);
        }
    }

    pub fn duplicate(&mut self, field: &str, value: impl Into<Value>) {
        self.push(Problem::Duplicate, field, Some(value.into()), "");
    }

    pub fn not_found(&mut self, field: &str, value: impl Into<Value>) {
        self.push(Problem::NotFound, field, Some(value.into()), "");
    }

    pub fn forbidden(&mut self, field: &str, detail: impl Into<String>) {
        self.push(Problem::Forbidden, field, None, detail);
    }

    pub fn not_supported<'a>(
        &mut self,
        field: &str,
        value: impl Into<Value>,
        supported: impl IntoIterator<Item = &'a str>,
    ) {
        let supported: Vec<String> = supported.into_iter().map(|value| format!("{value:?}")).collect();
        self.push(
            Problem::NotSupported,
            field,
            Some(value.into()),
            format!("supported values: {}", supported.join(", ")),
        );
    }

    pub fn too_long(&mut self, field: &str, most: u64) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        self.push(Problem::TooLong, field, None, format!("may not be more than {most} {unit}"));
    }

    pub fn too_many(&mut self, field: &str, found: usize, most: u64) {
        let unit = if most == 1 { "item" } else { "items" };
        self.push(Problem::TooMany, field, Some(json!(found)), format!("must have at most {most} {unit}"));
    }

    /// One of a closed set of words; empty means required.
    pub fn one_of(&mut self, field: &str, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(field, "");
        } else if !supported.contains(&value) {
            self.not_supported(field, value, supported.iter().copied());
        }
    }

    pub fn not_negative(&mut self, field: &str, value: &Value) {
        if let Some(number) = value.as_i64().filter(|number| *number < 0) {
            self.invalid(field, number, "must be greater than or equal to 0");
        }
    }

    pub fn immutable(&mut self, field: &str, new: &Value, old: &Value) {
        if new != old {
            self.invalid(field, new.clone(), "field is immutable");
        }
    }
}
