//! Where it is switched on: whoever makes an object hold up its owner's deletion must be allowed to set the owner's
//! finalizers, and whoever changes owners must be allowed to delete the object.

use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::{
    authz::{self, Decision},
    status::Failure,
};

/// Its name among upstream's plugins.
pub const NAME: &str = "OwnerReferencesPermissionEnforcement";

/// See the module.
#[derive(Debug)]
pub struct OwnerReferences;

impl Admission for OwnerReferences {
    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        let none = Value::Null;
        let before = request.old.map_or(&none, |old| &old["metadata"]["ownerReferences"]);
        let now = &object["metadata"]["ownerReferences"];
        if !request.server.checks_owners || !writes || before == now {
            return Ok(());
        }
        let kind = &request.resource.kind;
        if request.operation == Operation::Update {
            let target = (&*kind.group, &*kind.version, &*kind.plural, "");
            if let Err(why) = may(request, "delete", target, request.namespace, request.name) {
                let text = format!("cannot set an ownerRef on a resource you can't delete: {why}");
                return Err(request.forbidden(&text));
            }
        }
        let served = request.server.registry.served();
        let blocks = |owner: &&Value| owner["blockOwnerDeletion"] == Value::Bool(true);
        let so_far: Vec<&Value> =
            before.as_array().into_iter().flatten().filter(blocks).map(|owner| &owner["uid"]).collect();
        let new = now.as_array().into_iter().flatten().filter(blocks).filter(|owner| !so_far.contains(&&owner["uid"]));
        for owner in new {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
            let refused = |why: &str| {
                let text = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on";
                Err(request.forbidden(&format!("{text}: {why}")))
            };
            let Some(resource) = served.find_kind(group, version, text("kind")) else {
                return refused(&format!("no matches for kind {:?} in version {:?}", text("kind"), text("apiVersion")));
            };
            let namespace = if resource.kind.namespaced { request.namespace } else { "" };
            let target = (group, version, &*resource.kind.plural, "finalizers");
            if let Err(why) = may(request, "update", target, namespace, text("name")) {
                return refused(&why);
            }
        }
        Ok(())
    }
}

/// Whether the one who asks may do something; why not, where they may not.
fn may(
    request: &Attributes<'_>,
    verb: &str,
    (group, version, plural, subresource): (&str, &str, &str, &str),
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let asked = authz::Attributes {
        user: request.user,
        verb,
        api_group: group,
        api_version: version,
        resource: plural,
        subresource,
        namespace,
        name,
        path: "",
        resource_request: true,
        selectors: authz::Selectors::default(),
    };
    match request.server.authorizer.authorize(&asked) {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { .. } | Decision::NoOpinion { .. } => Err(asked.denial()),
    }
}
