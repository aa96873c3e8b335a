//! What this room asks of the Kubernetes API: kinds, single objects, server-side apply, tracked objects.

use std::collections::HashMap;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PropagationPolicy,
    ValidationDirective,
};
use kube::core::Status;
use kube::discovery::{self, Scope};
use parking_lot::Mutex;
use serde_json::Value;

use crate::application::{MANAGER, TRACKING_ID};
use crate::diff;
use crate::manifest::{Key, Kind, Manifest, text};

/// A definition's kinds are served within this time, usually within milliseconds.
const SERVED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);
/// Objects of one kind asked for at once.
const PAGE: u32 = 500;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the cluster does not know the kind {} in {}", kind.kind, if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) })]
    UnknownKind { kind: Kind },
    /// The API refused the object itself; asking again will not help.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    #[error("the Kubernetes API: {0}")]
    Api(#[source] Box<kube::Error>),
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if refuses_the_object(&status) => ClusterError::Refused(status),
            other => ClusterError::Api(Box::new(other)),
        }
    }
}

/// Server-side apply says of unknown fields that the server failed.
fn refuses_the_object(status: &Status) -> bool {
    ((400..500).contains(&status.code) && status.code != 429)
        || status.message.starts_with("failed to create typed patch object")
}

impl ClusterError {
    fn code(&self) -> u16 {
        match self {
            ClusterError::Refused(status) => status.code,
            _ => 0,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The causes the API gave, as field and message.
    pub fn causes(&self) -> Vec<(String, String)> {
        let ClusterError::Refused(status) = self else { return Vec::new() };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.map(|cause| (cause.field.clone(), cause.message.clone())).collect()
    }
}

/// A kind as the API serves it.
#[derive(Debug, Clone)]
pub struct Served {
    pub resource: ApiResource,
    pub is_namespaced: bool,
}

/// What an apply did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Created,
    Configured,
    Unchanged,
}

/// The Kubernetes API with what was learned about its kinds.
pub struct Cluster {
    pub client: kube::Client,
    kinds: Mutex<HashMap<Kind, Served>>,
}

impl Cluster {
    pub fn new(client: kube::Client) -> Self {
        Cluster { client, kinds: Mutex::default() }
    }

    /// How a kind is served; asked once, and again while it is unknown.
    pub async fn served(&self, kind: &Kind) -> Result<Served, ClusterError> {
        if let Some(known) = self.kinds.lock().get(kind) {
            return Ok(known.clone());
        }
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let (resource, capabilities) = match discovery::pinned_kind(&self.client, &gvk).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return Err(ClusterError::UnknownKind { kind: kind.clone() }),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(ClusterError::UnknownKind { kind: kind.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        let served = Served { resource, is_namespaced: capabilities.scope == Scope::Namespaced };
        self.kinds.lock().insert(kind.clone(), served.clone());
        Ok(served)
    }

    /// Waits until the kinds of a definition that was just applied are served. Whether they are shows when an object of
    /// the kind is applied, so a definition that never is served ends in the error of that.
    pub async fn wait_until_served(&self, definition: &Value) {
        let kinds: Vec<Kind> = definition["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|version| version["served"] == true)
            .map(|version| Kind {
                group: text(definition, "/spec/group").to_owned(),
                version: text(version, "/name").to_owned(),
                kind: text(definition, "/spec/names/kind").to_owned(),
            })
            .collect();
        let all_served = async {
            for kind in &kinds {
                while self.served(kind).await.is_err() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        };
        if tokio::time::timeout(SERVED_WITHIN, all_served).await.is_err() {
            tracing::warn!(definition = text(definition, "/metadata/name"), "the definition is not served");
        }
    }

    fn api(&self, served: &Served, namespace: &str) -> Api<DynamicObject> {
        if served.is_namespaced && !namespace.is_empty() {
            Api::namespaced_with(self.client.clone(), namespace, &served.resource)
        } else {
            Api::all_with(self.client.clone(), &served.resource)
        }
    }

    pub async fn get(&self, kind: &Kind, key: &Key) -> Result<Option<Value>, ClusterError> {
        let served = self.served(kind).await?;
        match self.api(&served, &key.namespace).get_opt(&key.name).await? {
            Some(object) => Ok(Some(with_kind(to_value(&object), kind))),
            None => Ok(None),
        }
    }

    /// What applying the manifest would make, with nothing written.
    pub async fn dry_run(&self, manifest: &Manifest) -> Result<Value, ClusterError> {
        self.patch(manifest, true).await
    }

    /// Applies the manifest; `before` is the live object, where there is one.
    pub async fn apply(&self, manifest: &Manifest, before: Option<&Value>) -> Result<(Applied, Value), ClusterError> {
        let after = self.patch(manifest, false).await?;
        let applied = match before {
            None => Applied::Created,
            // Not by the resource version: a controller may write the status between the two.
            Some(before) if diff::fingerprint(before) == diff::fingerprint(&after) => Applied::Unchanged,
            Some(_) => Applied::Configured,
        };
        Ok((applied, after))
    }

    async fn patch(&self, manifest: &Manifest, dry_run: bool) -> Result<Value, ClusterError> {
        let (kind, key) = (manifest.kind(), manifest.key());
        let served = self.served(&kind).await?;
        let parameters = PatchParams {
            dry_run,
            force: true,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let api = self.api(&served, &key.namespace);
        let patched = api.patch(&key.name, &parameters, &Patch::Apply(&manifest.object)).await?;
        Ok(with_kind(to_value(&patched), &kind))
    }

    /// Deletes an object; false when it was gone already.
    pub async fn delete(&self, kind: &Kind, key: &Key) -> Result<bool, ClusterError> {
        let served = match self.served(kind).await {
            Err(ClusterError::UnknownKind { .. }) => return Ok(false),
            served => served?,
        };
        let parameters =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        match self.api(&served, &key.namespace).delete(&key.name, &parameters).await {
            Ok(_) => Ok(true),
            Err(error) => match ClusterError::from(error) {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// All objects of a kind; in one namespace, or in all when it is empty.
    pub async fn list(&self, kind: &Kind, namespace: &str) -> Result<Vec<Value>, ClusterError> {
        let served = match self.served(kind).await {
            Err(ClusterError::UnknownKind { .. }) => return Ok(Vec::new()),
            served => served?,
        };
        let api = self.api(&served, namespace);
        let mut parameters = ListParams::default().limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let list = api.list(&parameters).await?;
            objects.extend(list.items.iter().map(|object| with_kind(to_value(object), kind)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// The objects of these kinds that belong to `app` by their tracking annotation.
    pub async fn tracked(&self, app: &str, kinds: &[Kind]) -> Result<Vec<Value>, ClusterError> {
        let mut tracked = Vec::new();
        for kind in kinds {
            let objects = self.list(kind, "").await?;
            tracked.extend(objects.into_iter().filter(|object| is_tracked_by(object, app)));
        }
        Ok(tracked)
    }
}

/// The app an object says it belongs to. An object copied from another keeps the annotation, but not the names in it.
pub(crate) fn tracking_app(object: &Value) -> Option<&str> {
    let id = object.pointer("/metadata/annotations")?.get(TRACKING_ID)?.as_str()?;
    let (app, _) = id.split_once(':')?;
    (id == Key::of(object).tracking_id(app)).then_some(app)
}

pub(crate) fn is_tracked_by(object: &Value, app: &str) -> bool {
    tracking_app(object) == Some(app)
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object that came as JSON goes as JSON")
}

/// Objects of a list do not repeat their kind.
fn with_kind(mut object: Value, kind: &Kind) -> Value {
    let api_version =
        if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) };
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.kind.clone().into();
    object
}
