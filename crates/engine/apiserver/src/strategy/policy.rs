//! Admission policies: what they say is checked before it can stand in anybody's way.

use serde_json::Value;

use super::Strategy;
use crate::{admission::policy::problems, status::Cause};

/// See the module.
#[derive(Debug)]
pub struct PolicyStrategy {
    /// Whether it is one that changes objects.
    pub mutates: bool,
}

impl Strategy for PolicyStrategy {
    fn validate_create(&self, object: &Value) -> Vec<Cause> {
        problems(&object["spec"], self.mutates)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        if new["spec"] == old["spec"] { Vec::new() } else { problems(&new["spec"], self.mutates) }
    }
}
