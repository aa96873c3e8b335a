//! Who controls what: owner references, and taking in and letting go of objects by selector.

use std::{collections::BTreeMap, fmt::Debug};

use coracle_client::{Cache, Key};
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::{Selector, SelectorExt},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::control::Error;

/// What controllers sign their changes with.
pub(crate) const FIELD_MANAGER: &str = "kube-controller-manager";

pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

pub(crate) fn post_params() -> kube::api::PostParams {
    kube::api::PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..kube::api::PostParams::default() }
}

/// The reference that says `owner` controls an object.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The owner that controls an object.
pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The key of the controlling owner, where it is a `T`.
pub(crate) fn controller_key<T: Resource<DynamicType = ()>>(object: &impl Resource) -> Option<Key> {
    let owner = controller_of(object).filter(|owner| is_kind::<T>(owner))?;
    Some(Key::new(object.meta().namespace.as_deref().unwrap_or_default(), &owner.name))
}

fn is_kind<T: Resource<DynamicType = ()>>(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    owner.kind == T::kind(&()) && group == T::group(&())
}

pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

pub(crate) fn uid<K: Resource>(object: &K) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

pub(crate) fn name<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace<K: Resource>(object: &K) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

/// A selector ready for matching. One that cannot be read matches nothing; one that is empty matches everything.
#[derive(Debug, Clone)]
pub(crate) struct Matcher(Option<Selector>);

impl Matcher {
    pub(crate) fn new(selector: &LabelSelector) -> Self {
        Self(selector.clone().try_into().ok())
    }

    pub(crate) fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0.as_ref().is_some_and(|selector| selector.matches(labels.unwrap_or(&NONE)))
    }
}

/// Whether a selector is there but selects everything, which the apps kinds take for a mistake.
pub(crate) fn selects_everything(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// What to do with an object of the same namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the owner's already.
    Owned,
    /// It is nobody's, and fits.
    Adopt,
    /// It is the owner's, and no longer fits.
    Release,
    /// It is none of the owner's business.
    Ignore,
}

/// Upstream's rules of who may claim what.
pub(crate) fn claim<K: Resource>(owner: &impl Resource, matcher: &Matcher, object: &K) -> Claim {
    let matches = matcher.matches(object.meta().labels.as_ref());
    match controller_of(object) {
        Some(controller) if controller.uid != uid(owner) => Claim::Ignore,
        Some(_) if matches => Claim::Owned,
        Some(_) if is_deleting(owner) => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matches || is_deleting(owner) || is_deleting(object) => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Claims objects of the owner's namespace: takes in those that fit and are nobody's, lets go of those that no longer
/// fit, and returns those that are the owner's then.
pub(crate) async fn claim_all<O, K>(
    client: &Client,
    cache: &Cache<K>,
    owner: &O,
    matcher: &Matcher,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<std::sync::Arc<K>>, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace(owner));
    let mut claimed = Vec::new();
    let mut owner_checked = false;
    for object in cache.in_namespace(namespace(owner)) {
        if !wanted(&object) {
            continue;
        }
        match claim(owner, matcher, &*object) {
            Claim::Owned => claimed.push(object),
            Claim::Ignore => {}
            Claim::Release => release(&api, cache, owner, &*object).await?,
            Claim::Adopt => {
                if !owner_checked {
                    check_owner(client, owner).await?;
                    owner_checked = true;
                }
                adopt(&api, cache, owner, &*object).await?;
                claimed.extend(cache.get(&Key::of(&*object)));
            }
        }
    }
    Ok(claimed)
}

/// Before taking anything in: the owner must still be there, and not be going. The cache may not know yet.
async fn check_owner<O>(client: &Client, owner: &O) -> Result<(), Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<O> = Api::namespaced(client.clone(), namespace(owner));
    let fresh = api.get(name(owner)).await?;
    if uid(&fresh) != uid(owner) || is_deleting(&fresh) {
        return Err(Error::Waiting(format!("{} is being replaced or deleted", Key::of(owner))));
    }
    Ok(())
}

async fn adopt<O, K>(api: &Api<K>, cache: &Cache<K>, owner: &O, object: &K) -> Result<(), Error>
where
    O: Resource<DynamicType = ()>,
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.push(controller_reference(owner));
    patch_owners(api, cache, object, owners).await
}

async fn release<O, K>(api: &Api<K>, cache: &Cache<K>, owner: &O, object: &K) -> Result<(), Error>
where
    O: Resource<DynamicType = ()>,
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|reference| reference.uid != uid(owner));
    patch_owners(api, cache, object, owners).await
}

async fn patch_owners<K>(api: &Api<K>, cache: &Cache<K>, object: &K, owners: Vec<OwnerReference>) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    // The uid and the version make sure that it is this object, as it was looked at.
    let patch = json!({"metadata": {
        "uid": uid(object),
        "resourceVersion": object.meta().resource_version,
        "ownerReferences": owners,
    }});
    match api.patch(name(object), &patch_params(), &Patch::Merge(patch)).await {
        Ok(patched) => cache.observe(patched),
        Err(kube::Error::Api(status)) if status.code == 404 => cache.forget(&Key::of(object), uid(object)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
