//! What a custom resource's schema demands of a value beyond its type: the value validations of a structural schema.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

/// A regular expression with the text it was written as, which messages quote.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: String,
    pub regex: Regex,
}

/// The value validations of one place in a schema; absent ones cost a word.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<Box<Pattern>>,
    pub format: Option<Box<str>>,
    pub choices: Vec<Value>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    /// Only inside `allOf` and its siblings; elsewhere the type's fields say it.
    pub required: Vec<Box<str>>,
    pub properties: BTreeMap<Box<str>, Constraints>,
    pub items: Option<Box<Constraints>>,
    pub additional: Option<Box<Constraints>>,
    pub all_of: Vec<Constraints>,
    pub any_of: Vec<Constraints>,
    pub one_of: Vec<Constraints>,
    pub not: Option<Box<Constraints>>,
    /// `x-kubernetes-validations`, as written: rules in CEL for whoever evaluates them.
    pub rules: Option<Box<Value>>,
    empty: bool,
}

impl Constraints {
    /// Reads the keywords of one schema object. `nested` is set inside `allOf` and its siblings.
    pub(crate) fn parse(schema: &Value, nested: bool) -> Result<Self, String> {
        let number = |key: &str| schema[key].as_f64();
        let count = |key: &str| schema[key].as_u64();
        let list = |key: &str| -> Result<Vec<Self>, String> {
            let parts = schema[key].as_array().map(Vec::as_slice).unwrap_or_default();
            parts.iter().map(|part| Self::parse(part, true)).collect()
        };
        let one = |key: &str| -> Result<Option<Box<Self>>, String> {
            let part = schema.get(key).filter(|part| part.is_object());
            part.map(|part| Self::parse(part, true).map(Box::new)).transpose()
        };
        let mut constraints = Self {
            minimum: number("minimum"),
            exclusive_minimum: schema["exclusiveMinimum"] == Value::Bool(true),
            maximum: number("maximum"),
            exclusive_maximum: schema["exclusiveMaximum"] == Value::Bool(true),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: schema["pattern"].as_str().filter(|text| !text.is_empty()).map(pattern).transpose()?,
            format: schema["format"].as_str().map(Into::into),
            choices: schema["enum"].as_array().cloned().unwrap_or_default(),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: schema["uniqueItems"] == Value::Bool(true),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: list("allOf")?,
            any_of: list("anyOf")?,
            one_of: list("oneOf")?,
            not: one("not")?,
            rules: schema.get("x-kubernetes-validations").map(|rules| Box::new(rules.clone())),
            ..Self::default()
        };
        if nested {
            constraints.nested(schema)?;
        }
        constraints.empty = !Self::KEYWORDS.iter().any(|key| schema.get(key).is_some());
        Ok(constraints)
    }

    fn nested(&mut self, schema: &Value) -> Result<(), String> {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.required = required.iter().filter_map(Value::as_str).map(Into::into).collect();
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            self.properties.insert(name.as_str().into(), Self::parse(part, true)?);
        }
        if schema["items"].is_object() {
            self.items = Some(Box::new(Self::parse(&schema["items"], true)?));
        }
        if schema["additionalProperties"].is_object() {
            self.additional = Some(Box::new(Self::parse(&schema["additionalProperties"], true)?));
        }
        Ok(())
    }

    const KEYWORDS: [&'static str; 20] = [
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "enum",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "x-kubernetes-validations",
    ];

    /// Nothing is demanded, so nothing need be kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }
}

fn pattern(text: &str) -> Result<Box<Pattern>, String> {
    let regex = Regex::new(text).map_err(|error| format!("must be a valid regular expression, but isn't: {error}"))?;
    Ok(Box::new(Pattern { text: text.to_owned(), regex }))
}
