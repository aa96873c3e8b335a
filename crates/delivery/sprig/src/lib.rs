//! The functions of Helm's templates: all of Sprig's, and those of Helm's own that need no chart.
//!
//! They behave as the Go functions of the same names do, mistakes included: what they return, how they print, what they
//! take for empty, and what their errors say. Nothing here knows a clock, a random source or a network; those come from
//! the [`coracle_gotemplate::Host`] in the [`Context`](coracle_gotemplate::Context) of a call.
//!
//! ```
//! use std::sync::Arc;
//!
//! use coracle_gotemplate::{MissingKey, Set};
//!
//! let mut set = Set::new("chart", Arc::new(coracle_sprig::functions()), MissingKey::Zero);
//! set.parse("name", r#"{{ .name | trunc 63 | trimSuffix "-" | quote }}"#).unwrap();
//! assert!(set.parse("wrong", "{{ .name | shorten 63 }}").is_err());
//!
//! // YAML as charts read and write it: keys in order, numbers as JSON has them, words of YAML 1.1.
//! let values = coracle_sprig::yaml::read("replicas: 0x10\non: yes\n").unwrap();
//! assert_eq!(coracle_sprig::yaml::write(&values), "replicas: 16\n\"true\": true");
//! assert!(coracle_sprig::semver::satisfies("^1.2", "1.9.0").unwrap());
//! ```

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
mod nesting;
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
