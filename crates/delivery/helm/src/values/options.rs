//! The flags that set values, in the order Helm applies them.

use std::rc::Rc;

use coracle_gotemplate::{Dict, Value};

use super::{merge_maps, read, set, table};
use crate::{Excerpt, Flavour, json};

/// What a user gave on the command line, or an Application in its spec.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Values files: their names for errors, and their text.
    pub files: Vec<(String, String)>,
    pub json: Vec<String>,
    pub set: Vec<String>,
    pub strings: Vec<String>,
    /// `key=path`, each with every file it names read by the caller when asked.
    pub from_files: Vec<String>,
    pub literals: Vec<String>,
}

/// A flag or file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionsError {
    message: String,
    /// The line of a values file it is about.
    pub excerpt: Option<Box<Excerpt>>,
}

impl OptionsError {
    fn new(message: String) -> OptionsError {
        OptionsError { message, excerpt: None }
    }
}

impl Options {
    /// All of it merged. `open` reads the files `--set-file` names; its error is a message.
    pub fn merge(
        &self,
        flavour: Flavour,
        open: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Rc<Dict>, OptionsError> {
        let mut base = table();
        for (name, text) in &self.files {
            let values = read(text, flavour).map_err(|error| OptionsError {
                message: format!("failed to parse {name}: {error}"),
                excerpt: error.excerpt(name).map(Box::new),
            })?;
            base = merge_maps(&base, &values);
        }
        for text in &self.json {
            base = merge_json(base, text, flavour)?;
        }
        for text in &self.set {
            set::typed(text, &base)
                .map_err(|error| OptionsError::new(format!("failed parsing --set data: {error}")))?;
        }
        for text in &self.strings {
            set::strings(text, &base)
                .map_err(|error| OptionsError::new(format!("failed parsing --set-string data: {error}")))?;
        }
        for text in &self.from_files {
            set::files(text, &base, open)
                .map_err(|error| OptionsError::new(format!("failed parsing --set-file data: {error}")))?;
        }
        for text in &self.literals {
            set::literal(text, &base)
                .map_err(|error| OptionsError::new(format!("failed parsing --set-literal data: {error}")))?;
        }
        Ok(base)
    }
}

fn merge_json(base: Rc<Dict>, text: &str, flavour: Flavour) -> Result<Rc<Dict>, OptionsError> {
    if flavour == Flavour::Helm4 && text.trim().starts_with('{') {
        return match json::parse(text.trim()) {
            Ok(Value::Dict(values)) => Ok(merge_maps(&base, &values)),
            _ => Err(OptionsError::new(format!("failed parsing --set-json data JSON: {text}"))),
        };
    }
    set::json(text, &base).map_err(|_| OptionsError::new(format!("failed parsing --set-json data {text}")))?;
    Ok(base)
}
