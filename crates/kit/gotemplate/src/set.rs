//! Templates that call each other by name.

use std::{collections::HashMap, sync::Arc};

use crate::{
    exec,
    function::{Context, Functions, Host},
    node::Template,
    parse::{self, ParseError},
    value::{Str, Value},
};

/// How much stack the parser may use.
pub(crate) const PARSE_STACK_BYTES: usize = 768 << 10;

/// What a key that a map lacks evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value at all; printed as `<no value>`.
    #[default]
    Default,
    /// The zero value of the map's elements.
    Zero,
    Error,
}

/// What one execution may use. All are errors when they are exceeded, never crashes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub stack_bytes: usize,
    pub output_bytes: usize,
    /// Nodes walked and functions called.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { stack_bytes: 1 << 20, output_bytes: 256 << 20, steps: 200_000_000 }
    }
}

/// Templates by name, and the functions they may call. It never changes while templates run; `Arc` it to share it
/// between threads.
pub struct Set {
    /// What errors call the set.
    pub(crate) name: Str,
    functions: Arc<Functions>,
    pub(crate) missing_key: MissingKey,
    /// Templates that this set adds to, and may replace some of.
    below: Option<Arc<Set>>,
    templates: HashMap<Str, Arc<Template>>,
}

/// A text that has been parsed once, for any number of sets. It brings along the functions it calls.
#[derive(Clone)]
pub struct Parsed(Arc<parse::Parsed>);

impl Parsed {
    /// Parses a text under a name, which is also the file its errors speak of.
    /// Bytes that are no UTF-8 are replaced.
    pub fn new(name: &str, text: &Arc<[u8]>, functions: &Functions) -> Result<Parsed, ParseError> {
        let parsed = match std::str::from_utf8(text) {
            Ok(valid) => parse::parse(name, valid, text.clone(), functions)?,
            Err(_) => {
                let replaced = String::from_utf8_lossy(text);
                parse::parse(name, &replaced, replaced.as_bytes().into(), functions)?
            }
        };
        Ok(Parsed(Arc::new(parsed)))
    }
}

impl Set {
    pub fn new(name: &str, functions: Arc<Functions>, missing_key: MissingKey) -> Set {
        Set { name: name.into(), functions, missing_key, below: None, templates: HashMap::new() }
    }

    /// A set with everything in `below`, and room for more.
    pub(crate) fn over(below: Arc<Set>) -> Set {
        Set {
            name: below.name.clone(),
            functions: below.functions.clone(),
            missing_key: below.missing_key,
            below: Some(below),
            templates: HashMap::new(),
        }
    }

    /// Parses a text under a name, which is also the file its errors speak of. What it defines replaces templates of the
    /// same names, except that an empty definition replaces nothing.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let parsed = parse::parse(name, text, text.as_bytes().into(), &self.functions)?;
        self.add_all(&parsed);
        Ok(())
    }

    /// Adds what was parsed before, by the rules of [`Set::parse`].
    pub fn add(&mut self, parsed: &Parsed) {
        self.add_all(&parsed.0);
    }

    pub(crate) fn add_all(&mut self, parsed: &parse::Parsed) {
        for (name, template) in parsed {
            if !template.is_empty() || self.template(name).is_none() {
                self.templates.insert(name.clone(), template.clone());
            }
        }
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    pub(crate) fn template(&self, name: &str) -> Option<&Arc<Template>> {
        let mut set = self;
        loop {
            if let Some(template) = set.templates.get(name) {
                return Some(template);
            }
            set = set.below.as_deref()?;
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.template(name).is_some()
    }
}

/// Runs a template of the set on `data`.
pub fn execute(
    set: &Arc<Set>,
    name: &str,
    data: &Value,
    host: &mut dyn Host,
    limits: Limits,
) -> Result<Vec<u8>, exec::ExecError> {
    Context::running(host, set.clone(), limits).execute(name, data)
}
