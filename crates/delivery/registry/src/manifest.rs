//! What the registry looks at in a manifest: what it refers to, and whether it can be one at all.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

/// A pointer to content, as OCI spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What kind of artifact it is, in lists of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<serde_json::Map<String, Value>>,
}

/// A manifest's references.
#[derive(Debug, Default)]
pub struct References {
    /// The blobs that must be there.
    pub blobs: Vec<Digest>,
    /// The manifests an index lists.
    pub manifests: Vec<Digest>,
    /// What it is attached to.
    pub subject: Option<Digest>,
    /// The kind of artifact it says it is.
    pub artifact_type: Option<String>,
    /// Its notes.
    pub annotations: Option<serde_json::Map<String, Value>>,
}

/// The fields of image manifests and indexes of both OCI and Docker that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u32>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Pointer>,
    layers: Option<Vec<Pointer>>,
    manifests: Option<Vec<Pointer>>,
    subject: Option<Pointer>,
    annotations: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    media_type: Option<String>,
    digest: Digest,
    #[serde(default)]
    urls: Vec<String>,
}

/// An image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media types that are kept.
const MEDIA_TYPES: [&str; 4] = [
    OCI_MANIFEST,
    OCI_INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Reads what the manifest `content`, said to be of `media_type`, refers to; the error says why it is none.
pub fn references(media_type: &str, content: &[u8]) -> Result<References, String> {
    if !MEDIA_TYPES.contains(&media_type) {
        return Err(format!("manifests of type {media_type:?} are not kept here"));
    }
    let fields: Fields = serde_json::from_slice(content).map_err(|error| format!("not a manifest: {error}"))?;
    if fields.schema_version != Some(2) {
        return Err("schemaVersion is not 2".into());
    }
    if let Some(own) = fields.media_type.as_deref().filter(|own| *own != media_type) {
        return Err(format!("mediaType is {own:?}, but the content type says {media_type:?}"));
    }
    let is_index = media_type.contains("index") || media_type.contains("list");
    if is_index && fields.manifests.is_none() {
        return Err("an index needs manifests".into());
    }
    if !is_index && (fields.config.is_none() || fields.layers.is_none()) {
        return Err("an image manifest needs config and layers".into());
    }
    let config_type = fields.config.as_ref().and_then(|config| config.media_type.clone());
    // Layers with URLs live elsewhere.
    let layers = fields.layers.into_iter().flatten().filter(|layer| layer.urls.is_empty());
    Ok(References {
        blobs: fields.config.into_iter().chain(layers).map(|pointer| pointer.digest).collect(),
        manifests: fields.manifests.into_iter().flatten().map(|pointer| pointer.digest).collect(),
        subject: fields.subject.map(|pointer| pointer.digest),
        artifact_type: fields.artifact_type.or(config_type),
        annotations: fields.annotations,
    })
}
