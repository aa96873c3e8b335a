//! Admission by policies: expressions that refuse a request or change an object, kept as objects themselves.
//!
//! Policies are read and compiled once a version, and looked up at the very moment of the request: one that is written is
//! in force for the next request. Where there are none, nothing is done.

mod authorizer;
mod check;
pub mod conditions;
mod definition;
mod matching;
mod mutating;
mod params;
mod parse;
mod scope;
mod set;
mod status;
mod validating;

pub use definition::problems;
pub use mutating::mutate;
pub use set::Policies;
pub use status::start;
pub use validating::validate;

use super::Attributes;

const GROUP: &str = "admissionregistration.k8s.io";

/// The objects that policies are made of are never shown to policies, so that none can lock itself in.
fn is_exempt(request: &Attributes<'_>) -> bool {
    const POLICIES: [&str; 4] = [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    request.resource.kind.group == GROUP && POLICIES.contains(&request.resource.kind.plural.as_ref())
}
