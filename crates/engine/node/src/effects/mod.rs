//! The effects a pod's decisions have on the world, each one function from what is asked to what came of it.

pub mod hooks;
pub mod images;
pub mod message;
pub mod sandbox;
pub mod start;
pub mod volumes;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1 as core;

use crate::{
    api::{ApiError, PodApi},
    container::{References, Sources},
};

/// Fetches what a pod refers to. What does not exist is left out; who needs it says so.
pub async fn sources(api: &Arc<dyn PodApi>, namespace: &str, references: References) -> Result<Sources, ApiError> {
    let mut config_maps = BTreeMap::new();
    for name in references.config_maps {
        if let Some(found) = api.config_map(namespace, &name).await? {
            config_maps.insert(name, found);
        }
    }
    let mut secrets = BTreeMap::new();
    for name in references.secrets {
        if let Some(found) = api.secret(namespace, &name).await? {
            secrets.insert(name, found);
        }
    }
    let relevant = |service: &Arc<core::Service>| {
        let in_namespace = service.metadata.namespace.as_deref();
        in_namespace == Some(namespace) || in_namespace == Some("default")
    };
    let services = api.services().into_iter().filter(relevant).collect();
    Ok(Sources { namespace: namespace.to_owned(), config_maps, secrets, services })
}
