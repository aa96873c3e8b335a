//! Semantic versions, and the constraints of the library Helm compares them with.

mod constraint;
mod version;

use coracle_gotemplate::{Function, FunctionError, Type};

pub use constraint::Constraints;
pub use version::Version;

use crate::args::text;

const S: Type = Type::String;

pub(crate) const TABLE: &[Function] = &[
    Function::new("semver", &[S], |_, a| Ok(Version::parse(&text(&a[0]))?.into())),
    Function::new("semverCompare", &[S, S], |_, a| {
        Ok(satisfies(&text(&a[0]), &text(&a[1]))?.into())
    }),
];

/// Reads a version, loosely: numbers may be missing.
pub fn parse(version: &str) -> Result<Version, FunctionError> {
    Version::parse(version)
}

/// Whether a version is one the constraints allow.
pub fn satisfies(constraints: &str, version: &str) -> Result<bool, FunctionError> {
    let constraints = Constraints::parse(constraints)?;
    Ok(constraints.allow(&Version::parse(version)?))
}
