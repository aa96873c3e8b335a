//! Namespace: when one is deleted, everything in it goes first, pods before all else.

mod conditions;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coracle_client::{Cache, Key};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Pod};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams},
    discovery::verbs,
};

use self::conditions::Findings;
use crate::{
    control::{Action, Context, Controller, Error},
    discovery::{self, Kind},
    owner::{is_deleting, name, namespace, post_params, uid},
};

const FINALIZER: &str = "kubernetes";
/// When something that nobody watches is left, it is looked for again after a quarter of the time that it has been
/// going already, within these bounds: what is quick is noticed at once, what takes hours is not asked about all the time.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(100);
const LOOK_AGAIN_LAST: Duration = Duration::from_secs(15);
/// Objects a page, when counting what is left.
const PAGE_OBJECTS: u32 = 500;

struct Namespaces {
    context: Context,
    namespaces: Cache<Namespace>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let namespaces: Cache<Namespace> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let by_pod = {
        let namespaces = namespaces.clone();
        // Only the end of a pod brings a namespace nearer to its own.
        move |change: &coracle_client::Change<Pod>| {
            let key = Key::new("", namespace(&**change.object()));
            let going =
                change.current.is_none() && namespaces.get(&key).is_some_and(|namespace| is_deleting(&*namespace));
            going.then_some(key).into_iter().collect()
        }
    };
    let controller = Controller::new("namespace-controller").watch_own(&namespaces).watch(&pods, by_pod);
    namespaces.filled().await;
    let this = Arc::new(Namespaces { context, namespaces });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

fn holds_back(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
}

impl Namespaces {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let deleted = self.namespaces.get(&key).filter(|namespace| is_deleting(&**namespace) && holds_back(namespace));
        let Some(namespace) = deleted else { return Ok(Action::Done) };
        let findings = self.delete_content(&key.name).await;
        let namespace = self.write_status(&namespace, &findings).await?;
        if findings.is_clean() {
            return self.finalize(namespace).await;
        }
        // Pods say when they are gone; for all the rest somebody has to look.
        let since = namespace.metadata.deletion_timestamp.as_ref().map_or(self.context.now(), |time| time.0);
        let going_for = Duration::try_from(self.context.now().duration_since(since)).unwrap_or(Duration::ZERO);
        Ok(Action::After((going_for / 4).clamp(LOOK_AGAIN_FIRST, LOOK_AGAIN_LAST)))
    }

    async fn delete_content(&self, namespace: &str) -> Findings {
        let mut findings = Findings::default();
        let kinds = match discovery::kinds(&self.context.client).await {
            Ok(kinds) => kinds,
            Err(error) => {
                findings.discovery_failure = Some(error.to_string());
                return findings;
            }
        };
        let ours = |kind: &&Kind| kind.namespaced && kind.supports(verbs::LIST) && kind.supports(verbs::DELETE);
        let (pods, others): (Vec<&Kind>, Vec<&Kind>) = kinds
            .iter()
            .filter(ours)
            .partition(|kind| kind.resource.plural == "pods" && kind.resource.group.is_empty());
        for kind in pods {
            self.delete_kind(namespace, kind, &mut findings).await;
        }
        // What pods need is there until the last of them has ended.
        if findings.is_clean() {
            for kind in others {
                self.delete_kind(namespace, kind, &mut findings).await;
            }
        }
        findings
    }

    async fn delete_kind(&self, namespace: &str, kind: &Kind, findings: &mut Findings) {
        let api: Api<DynamicObject> = Api::namespaced_with(self.context.client.clone(), namespace, &kind.resource);
        match delete_all(&api, kind).await {
            // Gone from discovery meanwhile, or a kind that is listed but cannot be.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => {}
            Err(error) => findings.failures.push(format!("failed to delete {}: {error}", kind.full_name())),
            Ok(left) if left.objects == 0 => {}
            Ok(left) => {
                findings.remaining.insert(kind.full_name(), left.objects);
                for (finalizer, objects) in left.finalizers {
                    *findings.finalizers.entry(finalizer).or_default() += objects;
                }
            }
        }
    }

    async fn write_status(&self, namespace: &Arc<Namespace>, findings: &Findings) -> Result<Arc<Namespace>, Error> {
        let old = namespace.status.clone().unwrap_or_default();
        let conditions = conditions::update(old.conditions.clone().unwrap_or_default(), findings, self.context.now());
        let status = NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions) };
        if old == status {
            return Ok(Arc::clone(namespace));
        }
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        let updated = Namespace { status: Some(status), ..Namespace::clone(namespace) };
        let written = api.replace_status(name(&**namespace), &post_params(), &updated).await?;
        self.namespaces.observe(written.clone());
        Ok(Arc::new(written))
    }

    async fn finalize(&self, namespace: Arc<Namespace>) -> Result<Action, Error> {
        let mut finalized = Namespace::clone(&namespace);
        if let Some(finalizers) = finalized.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        match api.replace_subresource("finalize", name(&*namespace), &post_params(), &finalized).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        // Others may hold it back still; the watch tells when they no longer do.
        if namespace.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.namespaces.forget(&Key::of(&*namespace), uid(&*namespace));
        }
        Ok(Action::Done)
    }
}

/// What is left of a kind after it was told to go.
#[derive(Default)]
struct Left {
    objects: usize,
    finalizers: BTreeMap<String, usize>,
}

async fn delete_all(api: &Api<DynamicObject>, kind: &Kind) -> kube::Result<Left> {
    if count_left(api).await?.objects == 0 {
        return Ok(Left::default());
    }
    if kind.supports(verbs::DELETE_COLLECTION) {
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
    } else {
        for object in api.list_metadata(&ListParams::default()).await?.items {
            match api.delete(name(&object), &DeleteParams::background()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
    }
    count_left(api).await
}

async fn count_left(api: &Api<DynamicObject>) -> kube::Result<Left> {
    let mut left = Left::default();
    let mut parameters = ListParams::default().limit(PAGE_OBJECTS);
    loop {
        let page = api.list_metadata(&parameters).await?;
        left.objects += page.items.len();
        for finalizer in page.items.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
            *left.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(left),
        }
    }
}
