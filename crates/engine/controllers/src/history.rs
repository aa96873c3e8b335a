//! ControllerRevisions: the templates a StatefulSet or DaemonSet had, for going back to and for `kubectl rollout`.

use std::{fmt::Debug, sync::Arc};

use coracle_client::{Cache, Key};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, runtime::RawExtension},
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ObjectMeta, Patch},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    control::{Context, Error},
    owner::{Matcher, claim_all, controller_of, controller_reference, name, namespace, patch_params, post_params, uid},
    template::{canonical, template_hash},
};

/// The label pods carry their revision in.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// The revisions of an owner, oldest first, and which is of the present template.
pub(crate) struct History {
    pub(crate) revisions: Vec<Arc<ControllerRevision>>,
    pub(crate) update: Arc<ControllerRevision>,
}

/// What an owner of a history says of itself.
pub(crate) struct Versioned<'a, O> {
    pub(crate) owner: &'a O,
    pub(crate) template: &'a PodTemplateSpec,
    pub(crate) selector: &'a LabelSelector,
    pub(crate) collisions: i32,
}

/// The template of a revision.
pub(crate) fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let data = &revision.data.as_ref()?.0;
    serde_json::from_value(data.pointer("/spec/template")?.clone()).ok()
}

/// The short text that tells revisions apart.
pub(crate) fn hash_of<'a>(revision: &'a ControllerRevision, owner: &impl Resource) -> &'a str {
    name(revision).strip_prefix(name(owner)).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name(revision))
}

/// Makes sure that the present template has a revision, and that it is the newest.
pub(crate) async fn sync<O>(
    context: &Context,
    cache: &Cache<ControllerRevision>,
    versioned: &Versioned<'_, O>,
) -> Result<History, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let owner = versioned.owner;
    let matcher = Matcher::new(versioned.selector);
    let mut revisions = claim_all(&context.client, cache, owner, &matcher, |_| true).await?;
    revisions.sort_by_key(|revision| (revision.revision, name(&**revision).to_owned()));
    let newest = revisions.last().map_or(0, |revision| revision.revision);
    let wanted = canonical(versioned.template);
    let fits = |revision: &&Arc<ControllerRevision>| {
        template_of(revision).is_some_and(|template| canonical(&template) == wanted)
    };
    let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace(owner));
    let update = match revisions.iter().rev().find(fits).cloned() {
        Some(known) if known.revision == newest => known,
        Some(known) => {
            let patch = json!({"metadata": {"uid": uid(&*known)}, "revision": newest + 1});
            Arc::new(api.patch(name(&*known), &patch_params(), &Patch::Merge(patch)).await?)
        }
        None => Arc::new(create(&api, versioned, newest + 1).await?),
    };
    cache.observe(ControllerRevision::clone(&update));
    revisions.retain(|revision| name(&**revision) != name(&*update));
    revisions.push(Arc::clone(&update));
    Ok(History { revisions, update })
}

async fn create<O>(
    api: &Api<ControllerRevision>,
    versioned: &Versioned<'_, O>,
    number: i64,
) -> Result<ControllerRevision, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let owner = versioned.owner;
    let mut template = serde_json::to_value(versioned.template).expect("templates are plain data");
    template["$patch"] = json!("replace");
    for collisions in versioned.collisions.. {
        let hash = template_hash(versioned.template, collisions);
        let mut labels = versioned.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(REVISION_LABEL.to_owned(), hash.clone());
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", name(owner))),
                namespace: Some(namespace(owner).to_owned()),
                labels: Some(labels),
                owner_references: Some(vec![controller_reference(owner)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(json!({"spec": {"template": template.clone()}}))),
            revision: number,
        };
        match api.create(&post_params(), &revision).await {
            Ok(created) => return Ok(created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let existing = api.get(name(&revision)).await?;
                let ours = controller_of(&existing).is_some_and(|controller| controller.uid == uid(owner));
                if ours && existing.data == revision.data {
                    return Ok(existing);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("there are more hashes than anybody has revisions")
}

/// Deletes the oldest revisions beyond the limit, except those that are still in use.
pub(crate) async fn truncate(
    context: &Context,
    cache: &Cache<ControllerRevision>,
    history: &History,
    limit: Option<i32>,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), Error> {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let unused: Vec<&Arc<ControllerRevision>> = history
        .revisions
        .iter()
        .filter(|revision| !in_use(revision) && name(&***revision) != name(&*history.update))
        .collect();
    for revision in unused.iter().take(unused.len().saturating_sub(limit)) {
        let api: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace(&***revision));
        match api.delete(name(&***revision), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        cache.forget(&Key::of(&***revision), uid(&***revision));
    }
    Ok(())
}
