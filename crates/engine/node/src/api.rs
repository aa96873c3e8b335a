//! What the node asks of the API server, behind a small door: pod status, deletion, tokens, and the objects pods refer to.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1 as core,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::reflector::Store,
};
use serde_json::Value;

use crate::{doors::Effect, volumes::payload::TokenKey};

/// Why the API server did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The object is not there any more.
    #[error("not found")]
    Gone,
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            other => Self::Other(other.to_string()),
        }
    }
}

/// A pod, named so that no other is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl PodRef {
    pub fn of(pod: &core::Pod) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) }
    }
}

/// The API server as pods need it.
pub trait PodApi: Send + Sync + 'static {
    fn patch_status(&self, pod: PodRef, patch: Value) -> Effect<(), ApiError>;
    /// Lets the object go; with finalizers it stays until they are done.
    fn delete(&self, pod: PodRef) -> Effect<(), ApiError>;
    /// A token for a service account, bound to the pod, and when it expires.
    fn token(&self, pod: PodRef, service_account: String, key: TokenKey) -> Effect<(String, Timestamp), ApiError>;
    fn config_map(&self, namespace: &str, name: &str) -> Effect<Option<Arc<core::ConfigMap>>, ApiError>;
    fn secret(&self, namespace: &str, name: &str) -> Effect<Option<Arc<core::Secret>>, ApiError>;
    /// All services, from the cache.
    fn services(&self) -> Vec<Arc<core::Service>>;
}

/// The real one.
pub struct KubeApi {
    pub client: kube::Client,
    pub services: Store<core::Service>,
}

impl PodApi for KubeApi {
    fn patch_status(&self, pod: PodRef, patch: Value) -> Effect<(), ApiError> {
        let api: Api<core::Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        Box::pin(async move {
            api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
            Ok(())
        })
    }

    fn delete(&self, pod: PodRef) -> Effect<(), ApiError> {
        let api: Api<core::Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        Box::pin(async move {
            let preconditions = Some(Preconditions { uid: Some(pod.uid), resource_version: None });
            let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
            match api.delete(&pod.name, &params).await {
                Ok(_) => Ok(()),
                // Another one has its name: this one is gone.
                Err(kube::Error::Api(status)) if status.code == 409 => Err(ApiError::Gone),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn token(&self, pod: PodRef, service_account: String, key: TokenKey) -> Effect<(String, Timestamp), ApiError> {
        let api: Api<core::ServiceAccount> = Api::namespaced(self.client.clone(), &pod.namespace);
        Box::pin(async move {
            let request = TokenRequest {
                metadata: ObjectMeta::default(),
                spec: TokenRequestSpec {
                    audiences: key.audience.into_iter().collect(),
                    expiration_seconds: Some(key.expiration_s),
                    bound_object_ref: Some(BoundObjectReference {
                        api_version: Some("v1".to_owned()),
                        kind: Some("Pod".to_owned()),
                        name: Some(pod.name),
                        uid: Some(pod.uid),
                    }),
                },
                status: None,
            };
            let answer = api.create_token_request(&service_account, &PostParams::default(), &request).await;
            let answer = answer.map_err(|error| ApiError::Other(error.to_string()))?;
            let status = answer.status.ok_or_else(|| ApiError::Other("the answer holds no token".to_owned()))?;
            Ok((status.token, status.expiration_timestamp.0))
        })
    }

    fn config_map(&self, namespace: &str, name: &str) -> Effect<Option<Arc<core::ConfigMap>>, ApiError> {
        fetch(Api::namespaced(self.client.clone(), namespace), name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Effect<Option<Arc<core::Secret>>, ApiError> {
        fetch(Api::namespaced(self.client.clone(), namespace), name)
    }

    fn services(&self) -> Vec<Arc<core::Service>> {
        self.services.state()
    }
}

/// An object as it is now; `None` where there is none.
fn fetch<K>(api: Api<K>, name: &str) -> Effect<Option<Arc<K>>, ApiError>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let name = name.to_owned();
    Box::pin(async move { Ok(api.get_opt(&name).await?.map(Arc::new)) })
}
