//! The Common Expression Language as Kubernetes 1.35 uses it.
//!
//! An expression is compiled once against an [`Environment`], which declares the variables it may use, and evaluated as
//! often as wanted over JSON that is looked at where it lies:
//!
//! ```
//! use coracle_cel::{Declaration, Environment, Type, Value, limits};
//! let environment = Environment::new().with("object", Declaration::of(Type::Dyn));
//! let program = environment.compile("object.spec.replicas <= 5").unwrap();
//! let object = serde_json::json!({"spec": {"replicas": 3}});
//! let evaluation = program.evaluate(&[Value::json(&object, None)], limits::PER_CALL);
//! assert!(matches!(evaluation.outcome, Ok(Value::Bool(true))));
//! ```
//!
//! The way of an expression: [`lex`] → [`parse`] (with the [`macros`] expanded) → [`check`] (names, overloads, types) →
//! [`plan`] (names become places) → [`eval`]. [`cost`] says what it will cost at the most, from the sizes a schema allows;
//! evaluation counts what it did cost, in the same units.

pub mod check;
pub mod cost;
pub mod eval;
pub mod functions;
pub mod issue;
pub mod lex;
pub mod macros;
mod numbers;
pub mod parse;
pub mod plan;
pub mod rules;
pub mod schema;
pub mod syntax;
pub mod types;
pub mod value;

use std::sync::{Arc, OnceLock};

pub use cost::Range;
pub use eval::{Evaluation, Variables};
pub use functions::{Authorize, Check, CheckValue, Decided};
pub use issue::CompileError;
pub use types::{Declaration, ObjectType, Type};
pub use value::{EvalError, Value};

use check::{Checked, Constructed, Reference, Scope};

/// Kubernetes' limits, in units of cost.
pub mod limits {
    /// Of one evaluation.
    pub const PER_CALL: u64 = 1_000_000;
    /// Of all rules over one object, or of one policy binding.
    pub const PER_OBJECT: u64 = 10_000_000;
    /// Of all match conditions of a webhook or a policy.
    pub const MATCH_CONDITIONS: u64 = 2_500_000;
    /// What one rule may be estimated to cost.
    pub const RULE_ESTIMATE: u64 = 10_000_000;
    /// What all rules of a definition may be estimated to cost.
    pub const DEFINITION_ESTIMATE: u64 = 100_000_000;
    /// The longest message an expression may make, in bytes.
    pub const MESSAGE_BYTES: usize = 5 * 1024;
}

/// The names expressions may use.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    names: Vec<String>,
    declarations: Vec<Declaration>,
    makes_objects: bool,
    mixed_literals: bool,
}

impl Environment {
    /// The library, and no variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable; its number is how many there were before it. A name may have dots: `variables.replicas`.
    pub fn with(mut self, name: &str, declaration: Declaration) -> Self {
        self.declare(name, declaration);
        self
    }

    /// The same, on an environment that grows.
    pub fn declare(&mut self, name: &str, declaration: Declaration) {
        self.names.push(name.to_owned());
        self.declarations.push(declaration);
    }

    /// Lets expressions make `Object{…}`, `Object.spec{…}` and so on, and `JSONPatch{…}`.
    pub fn with_mutations(mut self) -> Self {
        self.makes_objects = true;
        self
    }

    /// Lets lists and maps hold items of different types, which Kubernetes does not.
    pub fn with_mixed_literals(mut self) -> Self {
        self.mixed_literals = true;
        self
    }

    /// The number of a variable.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().rposition(|known| known == name)
    }

    /// Compiles an expression.
    pub fn compile(&self, text: &str) -> Result<Program, CompileError> {
        let parsed = parse::parse(text)?;
        let checked = check::check(&parsed, self).map_err(|issues| CompileError::new(text, issues))?;
        let estimate = cost::estimate(&parsed.root, &checked, &self.declarations);
        Ok(Program { node: plan::plan(&parsed.root, &checked), estimate, uses: uses(&checked), result: checked.result })
    }
}

fn uses(checked: &Checked) -> Vec<usize> {
    let mut uses: Vec<usize> = checked
        .references
        .values()
        .filter_map(|reference| match reference {
            Reference::Variable(index) => Some(*index),
            _ => None,
        })
        .collect();
    uses.sort_unstable();
    uses.dedup();
    uses
}

impl Scope for Environment {
    fn variable(&self, name: &str) -> Option<(usize, &Declaration)> {
        let index = self.index(name)?;
        Some((index, &self.declarations[index]))
    }

    fn constructed(&self, name: &str) -> Option<Constructed> {
        static PATCH: OnceLock<Arc<ObjectType>> = OnceLock::new();
        if !self.makes_objects {
            return None;
        }
        if name == "JSONPatch" {
            let text = || Declaration::of(Type::String);
            let patch = PATCH.get_or_init(|| {
                let fields =
                    [("op", text()), ("path", text()), ("from", text()), ("value", Declaration::of(Type::Dyn))];
                match schema::object_of("JSONPatch", fields, 2).of {
                    Type::Object(object) => object,
                    _ => unreachable!("it is an object"),
                }
            });
            return Some(Constructed::Known(patch.clone()));
        }
        (name == "Object" || name.starts_with("Object.")).then(|| Constructed::Open(name.into()))
    }

    fn is_group(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
            || name == "variables"
    }

    fn wants_uniform_literals(&self) -> bool {
        !self.mixed_literals
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    node: plan::Node,
    estimate: Range,
    uses: Vec<usize>,
    result: Type,
}

impl Program {
    /// The type of what comes out.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// What evaluating will cost.
    pub fn estimate(&self) -> Range {
        self.estimate
    }

    /// Whether it mentions the variable of this number.
    pub fn uses(&self, index: usize) -> bool {
        self.uses.contains(&index)
    }

    /// Evaluates, up to a limit of cost.
    pub fn evaluate<'a>(&'a self, variables: &dyn Variables<'a>, limit: u64) -> Evaluation<'a> {
        eval::evaluate(&self.node, variables, limit)
    }
}
