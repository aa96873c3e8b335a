//! What stands between a well-formed request and the store: steps that may change an object, then steps that may refuse
//! it. One step, one file, one line in [`chain`].

mod default_class;
mod escalation;
mod lifecycle;
mod limits;
mod node_restriction;
mod owner_references;
mod pod_security;
pub mod policy;
mod priority;
pub mod quota;
mod runtime_class;
mod service_account;
mod signing_request;
mod tolerations;
mod topology_labels;
pub mod webhook;

pub use node_restriction::{check_token, node_of};
pub use owner_references::NAME as OWNER_REFERENCES;
pub use pod_security::PodSecurityConfiguration;

use std::borrow::Cow;

use coracle_schema::{Kind, Schema, kinds::definition_name};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::{authn::User, registry::Resource, request::Request, server::Inner, status::Failure};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A removal.
    Delete,
    /// Exec, attach, port-forward, proxy.
    Connect,
}

/// A request as admission sees it.
pub struct Attributes<'a> {
    /// The server, for what a step looks up.
    pub server: &'a Inner,
    /// The request itself, for its options, and for warnings.
    pub request: &'a Request,
    /// Who asks.
    pub user: &'a User,
    /// What is being done.
    pub operation: Operation,
    /// To what.
    pub resource: &'a Resource,
    /// To which part of it.
    pub subresource: &'a str,
    /// Where.
    pub namespace: &'a str,
    /// To which; empty where the server makes up the name.
    pub name: &'a str,
    /// The object as it was.
    pub old: Option<&'a Value>,
    /// Whether nothing will be written.
    pub dry_run: bool,
}

impl Attributes<'_> {
    /// Whether this is about a core resource itself.
    pub fn is(&self, operation: Operation, group: &str, plural: &str) -> bool {
        self.operation == operation
            && self.subresource.is_empty()
            && self.resource.kind.plural == plural
            && self.resource.kind.group == group
    }

    /// Whether the bodies at this path are no objects of the resource, such as a scale or a binding.
    pub fn has_own_body(&self) -> bool {
        self.resource.kind.subresource(self.subresource).is_some_and(|part| part.body.is_some())
    }

    /// The kind of the bodies at this path, where the resource is seen in a version.
    pub fn body_kind<'b>(&self, seen_as: &'b Resource) -> Cow<'b, Kind> {
        let kind = &*seen_as.kind;
        let own = kind.subresource(self.subresource).and_then(|part| part.body);
        let Some((group, version, name)) = own else { return Cow::Borrowed(kind) };
        let Some(schema) = Schema::builtin(&definition_name(group, version, name)) else { return Cow::Borrowed(kind) };
        let (group, version, name) = (group.into(), version.into(), name.into());
        Cow::Owned(Kind { group, version, kind: name, schema, subresources: Vec::new(), custom: None, ..kind.clone() })
    }

    /// The refusal upstream words like this.
    pub fn forbidden(&self, why: &str) -> Failure {
        Failure::forbidden(self.resource.group_resource(), self.name, why)
    }
}

/// One step.
pub trait Admission: Send + Sync {
    /// Changes the object, or refuses the request.
    fn mutate(&self, _request: &Attributes<'_>, _object: &mut Value) -> Result<(), Failure> {
        Ok(())
    }

    /// Refuses the request. For deletions the object is the one to be deleted.
    fn validate(&self, _request: &Attributes<'_>, _object: &Value) -> Result<(), Failure> {
        Ok(())
    }
}

/// The built-in steps, in upstream's order.
pub fn chain(pod_security: PodSecurityConfiguration) -> Vec<Box<dyn Admission>> {
    vec![
        Box::new(lifecycle::NamespaceLifecycle),
        Box::new(limits::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(topology_labels::PodTopologyLabels),
        Box::new(pod_security::PodSecurity(pod_security)),
        Box::new(priority::Priority),
        Box::new(tolerations::DefaultTolerationSeconds),
        Box::new(default_class::DefaultClass),
        Box::new(runtime_class::RuntimeClass),
        Box::new(signing_request::SigningRequest),
        Box::new(escalation::Escalation),
        Box::new(owner_references::OwnerReferences),
    ]
}

/// Lets everybody change the object: the built-in steps, then webhooks.
pub async fn mutate(request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
    let steps = |object: &mut Value| request.server.admission.iter().try_for_each(|step| step.mutate(request, object));
    steps(object)?;
    policy::mutate(request, object).await?;
    webhook::mutate(request, Some(object), steps).await
}

/// A write's turn where quotas are counted; held until the write is through.
pub type Turn = Option<OwnedMutexGuard<()>>;

/// Lets everybody refuse the request: the built-in steps, then webhooks, and quotas last, which nobody else's refusal should
/// have been counted in.
pub async fn validate(request: &Attributes<'_>, object: &Value) -> Result<Turn, Failure> {
    request.server.admission.iter().try_for_each(|step| step.validate(request, object))?;
    policy::validate(request, Some(object)).await?;
    webhook::validate(request, Some(object)).await?;
    if !request.subresource.is_empty() {
        return Ok(None);
    }
    let turn = quota::turn(request.server, request.namespace).await;
    quota::ResourceQuota.validate(request, object)?;
    Ok(turn)
}

/// Lets everybody refuse a deletion of `object`, or the connection that it asks for.
pub async fn validate_without_object(request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
    webhook::mutate(request, None, |_| Ok(())).await?;
    request.server.admission.iter().try_for_each(|step| step.validate(request, object))?;
    policy::validate(request, None).await?;
    webhook::validate(request, None).await
}
