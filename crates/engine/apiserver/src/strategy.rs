//! Rules that some kinds have of their own, beyond their schema.

mod definition;
mod job;
mod namespace;
mod node;
mod pod;
mod policy;
mod webhook;

pub use pod::quality_of_service;
mod secret;
pub mod service;
mod signing_request;

use serde_json::Value;

use crate::{
    server::Inner,
    status::{Cause, Failure},
};

/// Something taken for the duration of a write, and given back when the write fails.
pub type Hold = Option<Box<dyn Reservation>>;

/// See [`Hold`].
pub trait Reservation: Send {
    /// The write happened: what was taken stays taken.
    fn keep(self: Box<Self>);
}

/// What a kind does differently.
pub trait Strategy: Send + Sync {
    /// Before a new object is validated.
    fn prepare_create(&self, _server: &Inner, _object: &mut Value) -> Result<Hold, Failure> {
        Ok(None)
    }

    /// Before a changed object is validated. Not called for subresources.
    fn prepare_update(&self, _server: &Inner, _new: &mut Value, _old: &Value) -> Result<Hold, Failure> {
        Ok(None)
    }

    /// What is wrong with a new object, beyond what the schema says.
    fn validate_create(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// What is wrong with a change, beyond what the schema says.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// How long the object may go on before it is removed; `None` for kinds that end at once.
    fn grace_seconds(&self, _object: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// What else changes when deletion begins. The object is then held back even without finalizers where this says so.
    fn begin_deletion(&self, _object: &mut Value) {}

    /// Whether something beside the finalizers in the metadata holds the object.
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// After the object is gone.
    fn deleted(&self, _server: &Inner, _object: &Value) {}

    /// Whether a deletion is answered with the object, not with a status.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether an update of what is not there creates it.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// Whether an update must say which version it changes.
    fn needs_version(&self) -> bool {
        false
    }

    /// The finalizer-driven propagation a deletion has when the client does not say.
    fn orphans_by_default(&self) -> bool {
        false
    }
}

/// Nothing special, but for a few answers that differ between kinds.
#[derive(Debug, Default)]
struct Plain {
    returns_deleted: bool,
    creates_on_update: bool,
    needs_version: bool,
    orphans_by_default: bool,
}

impl Strategy for Plain {
    fn orphans_by_default(&self) -> bool {
        self.orphans_by_default
    }

    fn returns_deleted(&self) -> bool {
        self.returns_deleted
    }

    fn creates_on_update(&self) -> bool {
        self.creates_on_update
    }

    fn needs_version(&self) -> bool {
        self.needs_version
    }
}

const PLAIN: Plain =
    Plain { returns_deleted: false, creates_on_update: false, needs_version: false, orphans_by_default: false };

/// The strategy of a built-in resource.
pub fn of(group: &str, plural: &str) -> &'static dyn Strategy {
    match (group, plural) {
        ("", "pods") => &pod::PodStrategy,
        ("", "services") => &service::ServiceStrategy,
        ("", "namespaces") => &namespace::NamespaceStrategy,
        ("", "nodes") => &node::NodeStrategy,
        ("", "secrets") => &secret::SecretStrategy,
        ("certificates.k8s.io", "certificatesigningrequests") => &signing_request::SigningRequestStrategy,
        ("batch", "jobs") => &job::JobStrategy,
        ("apiextensions.k8s.io", "customresourcedefinitions") => &definition::DefinitionStrategy,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations" | "mutatingwebhookconfigurations") => {
            &webhook::WebhookStrategy
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => &policy::PolicyStrategy { mutates: false },
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => &policy::PolicyStrategy { mutates: true },
        (
            "",
            "serviceaccounts" | "persistentvolumes" | "persistentvolumeclaims" | "podtemplates" | "resourcequotas",
        ) => &Plain { returns_deleted: true, ..PLAIN },
        ("", "replicationcontrollers") => &Plain { orphans_by_default: true, ..PLAIN },
        ("", "endpoints" | "events" | "limitranges") | ("coordination.k8s.io", "leases") => {
            &Plain { creates_on_update: true, ..PLAIN }
        }
        ("rbac.authorization.k8s.io", _) => &Plain { creates_on_update: true, ..PLAIN },
        ("apiextensions.k8s.io" | "policy" | "scheduling.k8s.io" | "apiregistration.k8s.io", _) => {
            &Plain { needs_version: true, ..PLAIN }
        }
        _ => &PLAIN,
    }
}

/// The strategy of all custom resources.
pub fn custom() -> &'static dyn Strategy {
    &Plain { needs_version: true, ..PLAIN }
}
