//! The policies that are in force, read again only when one of them, or a binding, changes.

use std::{collections::HashMap, sync::Arc};

use coracle_store::{Record, Snapshot};
use parking_lot::Mutex;

use coracle_cel::Declaration;

use super::{
    parse::{Binding, Policy},
    scope::namespace_type,
};
use crate::object;

/// All policies.
pub struct Policies {
    validating: Kept,
    mutating: Kept,
    /// The type of `namespaceObject`.
    pub namespace_type: Declaration,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            validating: Kept::new(
                "/admissionregistration.k8s.io/validatingadmissionpolicies/",
                "/admissionregistration.k8s.io/validatingadmissionpolicybindings/",
                false,
            ),
            mutating: Kept::new(
                "/admissionregistration.k8s.io/mutatingadmissionpolicies/",
                "/admissionregistration.k8s.io/mutatingadmissionpolicybindings/",
                true,
            ),
            namespace_type: namespace_type(),
        }
    }
}

impl Policies {
    /// Those that refuse and are bound, by name.
    pub fn validating(&self, snapshot: &Snapshot) -> Arc<[Policy]> {
        self.validating.at(snapshot)
    }

    /// Those that change and are bound, by name.
    pub fn mutating(&self, snapshot: &Snapshot) -> Arc<[Policy]> {
        self.mutating.at(snapshot)
    }
}

struct Kept {
    policies: &'static str,
    bindings: &'static str,
    mutates: bool,
    known: Mutex<(Vec<u64>, Arc<[Policy]>)>,
}

impl Kept {
    fn new(policies: &'static str, bindings: &'static str, mutates: bool) -> Self {
        Self { policies, bindings, mutates, known: Mutex::new((Vec::new(), Arc::new([]))) }
    }

    fn at(&self, snapshot: &Snapshot) -> Arc<[Policy]> {
        let mut known = self.known.lock();
        let all = snapshot.list(self.bindings).chain(snapshot.list(self.policies));
        let now: Vec<u64> = all.map(|record| record.revision()).collect();
        if now != known.0 {
            known.1 = self.read(snapshot);
            known.0 = now;
        }
        known.1.clone()
    }

    fn read(&self, snapshot: &Snapshot) -> Arc<[Policy]> {
        let mut bindings: HashMap<String, Vec<Binding>> = HashMap::new();
        for binding in snapshot.list(self.bindings).filter_map(|record| object::decode(record).ok()) {
            let (policy, binding) = Binding::parse(&binding);
            bindings.entry(policy).or_default().push(binding);
        }
        let bound = |record: &Arc<Record>| {
            let bindings = bindings.remove(object::key_name(record.key()))?;
            let mut policy = Policy::parse(&object::decode(record).ok()?, self.mutates);
            policy.bindings = bindings;
            Some(policy)
        };
        snapshot.list(self.policies).filter_map(bound).collect()
    }
}
