//! Semantic versions, and the constraints of the library Helm compares them with.

mod constraint;
mod version;

use coracle_gotemplate::{Function, Type};

pub use constraint::Constraints;
pub use version::Version;

use crate::args::text;

const S: Type = Type::String;

pub(crate) const TABLE: &[Function] = &[
    Function::new("semver", &[S], |_, a| Ok(Version::parse(&text(&a[0]))?.into())),
    Function::new("semverCompare", &[S, S], |_, a| {
        let constraints = Constraints::parse(&text(&a[0]))?;
        Ok(constraints.allow(&Version::parse(&text(&a[1]))?).into())
    }),
];
