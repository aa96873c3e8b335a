//! What a running template shares with the functions it calls.

use std::{collections::HashMap, sync::Arc};

use super::{FunctionError, Functions, Host};
use crate::{
    exec::{self, ExecError},
    parse::{self, ParseError, Parsed},
    quote::quote,
    set::{Limits, MissingKey, Set},
    stack::Stack,
    value::{Str, Value},
};

/// Texts parsed while templates run are remembered, up to so many.
const PARSED_LIMIT: usize = 4096;

/// What a function is called with besides its arguments: the world outside, and the templates that run.
pub struct Context<'a> {
    pub host: &'a mut dyn Host,
    set: Arc<Set>,
    pub(crate) stack: Stack,
    limits: Limits,
    steps: u64,
    parsed: HashMap<Str, Arc<Parsed>>,
}

impl<'a> Context<'a> {
    /// A context outside any execution, for tests of functions.
    pub fn new(host: &'a mut dyn Host) -> Context<'a> {
        let set = Set::new("", Arc::new(Functions::default()), MissingKey::default());
        Context::running(host, Arc::new(set), Limits::default())
    }

    /// A context in which templates of `set` can run. Its stack budget counts from here.
    pub fn running(host: &'a mut dyn Host, set: Arc<Set>, limits: Limits) -> Context<'a> {
        Context { host, set, stack: Stack::here(limits.stack_bytes), limits, steps: 0, parsed: HashMap::new() }
    }

    pub fn set(&self) -> &Set {
        &self.set
    }

    /// Runs a template by name, as Go's `ExecuteTemplate` does.
    pub fn execute(&mut self, name: &str, data: &Value) -> Result<Vec<u8>, ExecError> {
        let Some(template) = self.set.template(name).cloned() else {
            let (name, set) = (quote(name.as_bytes()), quote(self.set.name.as_bytes()));
            return Err(ExecError::new(format!("template: no template {name} associated with template {set}")));
        };
        exec::run(self, &template, data)
    }

    /// Parses a text and runs it. What it defines is known while it runs, and forgotten afterwards.
    pub fn execute_text(&mut self, name: &str, text: &Str, data: &Value) -> Result<Vec<u8>, TextError> {
        let parsed = self.parse(name, text)?;
        let Some(template) = parsed.get(name) else { return Ok(Vec::new()) };
        if parsed.len() == 1 {
            return Ok(exec::run(self, template, data)?);
        }
        let mut set = Set::over(self.set.clone());
        set.add_all(&parsed);
        let outer = std::mem::replace(&mut self.set, Arc::new(set));
        let result = exec::run(self, template, data);
        self.set = outer;
        Ok(result?)
    }

    fn parse(&mut self, name: &str, text: &Str) -> Result<Arc<Parsed>, ParseError> {
        if let Some(parsed) = self.parsed.get(text).filter(|parsed| parsed.contains_key(name)) {
            return Ok(parsed.clone());
        }
        let parsed = Arc::new(parse::parse(name, text, text.clone().into(), self.set.functions())?);
        if self.parsed.len() < PARSED_LIMIT {
            self.parsed.insert(text.clone(), parsed.clone());
        }
        Ok(parsed)
    }

    pub(crate) fn missing_key(&self) -> MissingKey {
        self.set.missing_key
    }

    pub(crate) fn template(&self, name: &str) -> Option<Arc<crate::node::Template>> {
        self.set.template(name).cloned()
    }

    /// Counts a step; the error says that there were too many, or that recursion went too deep.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), FunctionError> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err(format!("templates took more than {} steps", self.limits.steps).into());
        }
        Ok(())
    }

    pub(crate) fn output_limit(&self) -> usize {
        self.limits.output_bytes
    }
}

/// Why a text that was to be parsed and run failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Exec(#[from] ExecError),
}
