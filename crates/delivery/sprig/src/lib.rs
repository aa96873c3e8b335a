//! The functions of Helm's templates: all of Sprig's, and those of Helm's own that need no chart.
//!
//! They behave as the Go functions of the same names do, mistakes included: what they return, how they print, what they
//! take for empty, and what their errors say. Nothing here knows a clock, a random source or a network; those come from
//! the [`coracle_gotemplate::Host`] in the [`Context`](coracle_gotemplate::Context) of a call.

mod args;
mod case;
mod cast;
mod crypto;
mod data;
mod date;
mod defaults;
mod dict;
mod duration;
pub mod encoding;
mod list;
mod math;
mod path;
mod random;
mod reflect;
mod regular;
pub mod semver;
mod text;
mod url;

use coracle_gotemplate::{Function, Functions};

pub use data::{json, yaml};
pub use date::Time;
pub use duration::Duration;

/// No function makes text larger than this; a template that tries can only be an attack on the memory.
const LARGEST_TEXT_BYTES: usize = 64 << 20;

/// The tables, one a family of functions.
pub const TABLES: &[&[Function]] = &[
    text::TABLE,
    case::TABLE,
    cast::TABLE,
    math::TABLE,
    list::TABLE,
    dict::TABLE,
    defaults::TABLE,
    reflect::TABLE,
    date::TABLE,
    duration::TABLE,
    semver::TABLE,
    regular::TABLE,
    random::TABLE,
    crypto::TABLE,
    encoding::TABLE,
    path::TABLE,
    url::TABLE,
    data::TABLE,
];

/// Functions that Helm 3 does not have.
pub const ONLY_IN_HELM_4: &[&str] = &[
    "durationDays",
    "durationHours",
    "durationMicroseconds",
    "durationMilliseconds",
    "durationMinutes",
    "durationNanoseconds",
    "durationRoundTo",
    "durationSeconds",
    "durationTruncateTo",
    "durationWeeks",
    "mustToDuration",
    "mustToToml",
    "mustToYaml",
];

/// All of them by name.
pub fn functions() -> Functions {
    TABLES.iter().fold(Functions::default(), |functions, table| functions.with(table))
}
