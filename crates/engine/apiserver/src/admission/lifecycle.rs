//! Nothing is made in a namespace that is not there or is going away, and some namespaces stay.

use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::{
    object,
    status::{Cause, Failure, GroupResource},
};

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];
const NAMESPACES: GroupResource<'_> = GroupResource { group: "", resource: "namespaces" };

/// See the module.
#[derive(Debug)]
pub struct NamespaceLifecycle;

impl Admission for NamespaceLifecycle {
    fn mutate(&self, request: &Attributes<'_>, _: &mut Value) -> Result<(), Failure> {
        if request.operation != Operation::Create || request.namespace.is_empty() || !request.resource.kind.namespaced {
            return Ok(());
        }
        // Reviews are questions, not objects.
        if request.resource.kind.plural == "localsubjectaccessreviews" {
            return Ok(());
        }
        let namespace = request.namespace;
        let record = request.server.store.get(&format!("/core/namespaces/{namespace}"));
        let record = record.ok_or_else(|| Failure::not_found(NAMESPACES, namespace))?;
        if record.field("status.phase") != Some("Terminating") {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        };
        let mut failure = request.forbidden(&why);
        if let Some(details) = &mut failure.details {
            details.causes.push(cause);
        }
        Err(failure)
    }

    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        let immortal = request.is(Operation::Delete, "", "namespaces") && IMMORTAL.contains(&object::name(object));
        if immortal { Err(request.forbidden("this namespace may not be deleted")) } else { Ok(()) }
    }
}
