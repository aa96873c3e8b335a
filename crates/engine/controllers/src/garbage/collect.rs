//! Looking at one object: are its owners there, may it stay, may it go?

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, PartialObjectMeta, Patch, Preconditions},
    core::ApiResource,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    Shared,
    graph::{FOREGROUND, Node, ORPHAN, Work},
};
use crate::{
    control::{Action, Context, Error},
    discovery::Kind,
    owner::patch_params,
};

/// Owners that are known to be gone for good: uids are never given twice.
const ABSENT_REMEMBERED: usize = 1000;

type Object = PartialObjectMeta<DynamicObject>;

pub(super) struct Collector {
    context: Context,
    shared: Arc<Shared>,
    absent: Mutex<Absent>,
}

#[derive(Default)]
struct Absent {
    uids: HashSet<String>,
    order: VecDeque<String>,
}

/// An owner as it turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There, and to stay, or at least not to take its dependents along.
    Solid,
    /// Gone.
    Dangling,
    /// Going once its dependents are gone.
    Waiting,
}

impl Collector {
    pub(super) fn new(context: Context, shared: Arc<Shared>) -> Self {
        Self { context, shared, absent: Mutex::default() }
    }

    pub(super) async fn look_at(&self, work: Work) -> Result<Action, Error> {
        match work {
            Work::Check(uid) => self.check(&uid).await?,
            Work::Orphan(uid) => self.orphan(&uid).await?,
        }
        Ok(Action::Done)
    }

    fn node(&self, uid: &str) -> Option<Node> {
        self.shared.graph.lock().get(uid).cloned()
    }

    fn api_of(&self, node: &Node) -> Option<Api<DynamicObject>> {
        let resource = self.shared.kinds.lock().get(node.kind)?.as_ref()?.resource.clone();
        Some(self.api(&resource, node.namespace.as_deref()))
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.context.client.clone(), namespace, resource),
            None => Api::all_with(self.context.client.clone(), resource),
        }
    }

    /// The object as it is now; none where it is gone, or is another by the same name.
    async fn fresh(api: &Api<DynamicObject>, name: &str, uid: &str) -> Result<Option<Object>, Error> {
        let object = api.get_metadata_opt(name).await?;
        Ok(object.filter(|object| object.metadata.uid.as_deref() == Some(uid)))
    }

    async fn check(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        if node.foreground {
            return self.finish_foreground(uid, &node).await;
        }
        if node.deleting {
            return Ok(());
        }
        let Some(api) = self.api_of(&node) else { return Ok(()) };
        let Some(fresh) = Self::fresh(&api, &node.name, uid).await? else { return Ok(()) };
        if fresh.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let owners = fresh.metadata.owner_references.clone().unwrap_or_default();
        if owners.is_empty() {
            return Ok(());
        }
        let mut standings = Vec::new();
        for owner in &owners {
            standings.push(self.standing(owner, &node).await?);
        }
        if standings.contains(&Standing::Solid) {
            return self.drop_unsound(&api, &fresh, &owners, &standings).await;
        }
        let waited_for = standings.contains(&Standing::Waiting);
        let (has_dependents, in_circle) = {
            let graph = self.shared.graph.lock();
            let mut dependents = graph.dependents(uid).map(|(_, dependent)| dependent.foreground).peekable();
            (dependents.peek().is_some(), dependents.any(|waits| waits))
        };
        if waited_for && in_circle {
            self.unblock(&api, &fresh, &owners).await?;
        }
        let finalizers = fresh.metadata.finalizers.clone().unwrap_or_default();
        let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
        let parameters = if (waited_for && has_dependents) || has(FOREGROUND) {
            DeleteParams::foreground()
        } else if has(ORPHAN) {
            DeleteParams::orphan()
        } else {
            DeleteParams::background()
        };
        let this_one = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        settle(api.delete(&node.name, &parameters.preconditions(this_one)).await)
    }

    /// With a good owner left, the others' references are just taken away.
    async fn drop_unsound(
        &self,
        api: &Api<DynamicObject>,
        fresh: &Object,
        owners: &[OwnerReference],
        standings: &[Standing],
    ) -> Result<(), Error> {
        let solid = |(_, standing): &(&OwnerReference, &Standing)| **standing == Standing::Solid;
        let kept: Vec<&OwnerReference> = owners.iter().zip(standings).filter(solid).map(|(owner, _)| owner).collect();
        if kept.len() == owners.len() {
            return Ok(());
        }
        let name = fresh.metadata.name.as_deref().unwrap_or_default();
        let patch = exactly(fresh, json!({"ownerReferences": kept}));
        settle(api.patch_metadata(name, &patch_params(), &Patch::Merge(patch)).await)
    }

    /// Owners that own one another would wait for one another: this one no longer blocks those it depends on.
    async fn unblock(&self, api: &Api<DynamicObject>, fresh: &Object, owners: &[OwnerReference]) -> Result<(), Error> {
        if owners.iter().all(|owner| owner.block_owner_deletion != Some(true)) {
            return Ok(());
        }
        let free = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
        let patch = exactly(fresh, json!({"ownerReferences": owners.iter().map(free).collect::<Vec<_>>()}));
        let name = fresh.metadata.name.as_deref().unwrap_or_default();
        settle(api.patch_metadata(name, &patch_params(), &Patch::Merge(patch)).await)
    }

    async fn standing(&self, owner: &OwnerReference, node: &Node) -> Result<Standing, Error> {
        let waiting = self.shared.graph.lock().is_waiting(&owner.uid);
        if let Some(waiting) = waiting {
            return Ok(if waiting { Standing::Waiting } else { Standing::Solid });
        }
        if self.absent.lock().uids.contains(&owner.uid) {
            return Ok(Standing::Dangling);
        }
        let Some(kind) = self.kind_of(owner) else {
            return Err(Error::Waiting(format!(
                "{} is owned by a {} of {}, which the API does not have",
                node.name, owner.kind, owner.api_version
            )));
        };
        if kind.namespaced && node.namespace.is_none() {
            self.complain(owner, node);
            return Ok(Standing::Solid);
        }
        let api = self.api(&kind.resource, node.namespace.as_deref().filter(|_| kind.namespaced));
        match Self::fresh(&api, &owner.name, &owner.uid).await? {
            None => {
                self.note_absent(&owner.uid);
                Ok(Standing::Dangling)
            }
            Some(fresh) => {
                let finalizers = fresh.metadata.finalizers.iter().flatten();
                let foreground = finalizers.into_iter().any(|finalizer| finalizer == FOREGROUND);
                let waiting = fresh.metadata.deletion_timestamp.is_some() && foreground;
                Ok(if waiting { Standing::Waiting } else { Standing::Solid })
            }
        }
    }

    fn kind_of(&self, owner: &OwnerReference) -> Option<Kind> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let kinds = self.shared.kinds.lock();
        // Whatever version the owner is named in, it is the same object in the one that is watched.
        let mut served = kinds.iter().flatten();
        served.find(|kind| kind.resource.kind == owner.kind && kind.resource.group == group).cloned()
    }

    /// Something outside namespaces cannot be owned by something inside one: nobody could say which.
    fn complain(&self, owner: &OwnerReference, node: &Node) {
        let about = ObjectReference { name: Some(node.name.clone()), ..ObjectReference::default() };
        let message = format!(
            "ownerRef [{}/{}, namespace: , name: {}, uid: {}] does not exist in namespace \"\"",
            owner.api_version, owner.kind, owner.name, owner.uid
        );
        self.context.events.component("garbage-collector-controller").warning(
            about,
            "OwnerRefInvalidNamespace",
            message,
        );
    }

    fn note_absent(&self, uid: &str) {
        let mut absent = self.absent.lock();
        if absent.uids.insert(uid.to_owned()) {
            absent.order.push_back(uid.to_owned());
        }
        if absent.order.len() > ABSENT_REMEMBERED
            && let Some(oldest) = absent.order.pop_front()
        {
            absent.uids.remove(&oldest);
        }
    }

    /// An owner that goes last: deletes its dependents, and once none of them blocks it any more, lets it go.
    async fn finish_foreground(&self, uid: &str, node: &Node) -> Result<(), Error> {
        let (blocking, to_check): (usize, Vec<String>) = {
            let graph = self.shared.graph.lock();
            let blocks = |dependent: &Node| {
                dependent.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
            };
            let blocking = graph.dependents(uid).filter(|(_, dependent)| blocks(dependent)).count();
            let present = graph.dependents(uid).filter(|(_, dependent)| !dependent.deleting);
            (blocking, present.map(|(uid, _)| uid.clone()).collect())
        };
        for dependent in to_check {
            self.shared.queue.add(Work::Check(dependent));
        }
        if blocking > 0 {
            return Ok(());
        }
        self.remove_finalizer(uid, node, FOREGROUND).await
    }

    /// An owner that lets go: takes itself out of its dependents' references, then goes.
    async fn orphan(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.node(uid).filter(|node| node.orphaning) else { return Ok(()) };
        let dependents: Vec<(String, Node)> = {
            let graph = self.shared.graph.lock();
            graph.dependents(uid).map(|(uid, node)| (uid.clone(), node.clone())).collect()
        };
        for (dependent_uid, dependent) in dependents {
            let Some(api) = self.api_of(&dependent) else { continue };
            let Some(fresh) = Self::fresh(&api, &dependent.name, &dependent_uid).await? else { continue };
            let owners = fresh.metadata.owner_references.iter().flatten();
            let others: Vec<&OwnerReference> = owners.filter(|owner| owner.uid != uid).collect();
            let patch = exactly(&fresh, json!({"ownerReferences": others}));
            settle(api.patch_metadata(&dependent.name, &patch_params(), &Patch::Merge(patch)).await)?;
        }
        self.remove_finalizer(uid, &node, ORPHAN).await
    }

    async fn remove_finalizer(&self, uid: &str, node: &Node, finalizer: &str) -> Result<(), Error> {
        let Some(api) = self.api_of(node) else { return Ok(()) };
        let Some(fresh) = Self::fresh(&api, &node.name, uid).await? else { return Ok(()) };
        let finalizers = fresh.metadata.finalizers.iter().flatten();
        let others: Vec<&String> = finalizers.filter(|other| *other != finalizer).collect();
        let patch = exactly(&fresh, json!({"finalizers": others}));
        settle(api.patch_metadata(&node.name, &patch_params(), &Patch::Merge(patch)).await)
    }
}

/// A patch of the metadata of exactly this version of an object.
fn exactly(object: &Object, mut metadata: Value) -> Value {
    metadata["uid"] = json!(object.metadata.uid);
    metadata["resourceVersion"] = json!(object.metadata.resource_version);
    json!({"metadata": metadata})
}

/// What is gone already needs nothing more.
fn settle<T>(outcome: kube::Result<T>) -> Result<(), Error> {
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
