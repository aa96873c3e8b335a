//! What the collector reads of an object. It watches every object of every kind, so what it does not need is not even
//! decoded: who manages which fields is most of what metadata says.

use coracle_client::Versioned;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::{Deserialize, de::IgnoredAny};

/// An object, seen from afar.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sighting {
    #[serde(default)]
    pub(super) metadata: Metadata,
}

/// The part of its metadata that the graph is made of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) finalizers: Option<Vec<String>>,
    pub(super) owner_references: Option<Vec<OwnerReference>>,
}

impl Versioned for Sighting {
    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}
