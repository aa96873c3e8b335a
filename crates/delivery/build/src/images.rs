//! Base images: where `FROM` and `COPY --from=IMAGE` get theirs.

use coracle_registry::{Descriptor, Digest, Reference, Store, StoreError};
use futures::future::BoxFuture;

use crate::config::ImageDocument;

/// An image to build on, all of whose blobs are in the registry's store.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// The manifest's digest (never an index's): what the base is known by in cache keys.
    pub digest: Digest,
    /// The image's configuration, as JSON.
    pub config: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<BaseLayer>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BaseLayer {
    /// The blob.
    pub digest: Digest,
    /// The blob's length.
    pub size_bytes: u64,
    /// How the blob is packed.
    pub media_type: String,
    /// The digest of the tar archive inside.
    pub diff_id: Digest,
}

/// Why an image cannot be built on.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image.
    #[error("image {reference} was not found: {detail}")]
    NotFound {
        /// As written in the Dockerfile.
        reference: String,
        /// Where it was looked for, and what to do.
        detail: String,
    },
    /// The image is there, but not for this machine or not of a kind that can be read.
    #[error("image {reference} cannot be used: {detail}")]
    Unusable {
        /// As written in the Dockerfile.
        reference: String,
        /// What is the matter.
        detail: String,
    },
    /// Where it would be could not be reached or read.
    #[error("image {reference} could not be fetched: {detail}")]
    Fetch {
        /// As written in the Dockerfile.
        reference: String,
        /// What went wrong.
        detail: String,
    },
}

/// Finds images and brings their blobs into the registry's store.
pub trait Images: Send + Sync + 'static {
    /// The image `reference` names, for `platform` (`linux/amd64`).
    fn fetch<'a>(&'a self, reference: &'a str, platform: &'a str) -> BoxFuture<'a, Result<BaseImage, ImageError>>;
}

/// The images of the built-in registry.
#[derive(Debug, Clone)]
pub struct StoreImages {
    store: Store,
    host: String,
}

impl StoreImages {
    /// The images in `store`, whose references begin with `host`.
    pub fn new(store: Store, host: impl Into<String>) -> Self {
        Self { store, host: host.into() }
    }

    fn find(&self, reference: &str, platform: &str) -> Result<BaseImage, ImageError> {
        let not_found = |detail: String| ImageError::NotFound { reference: reference.to_owned(), detail };
        let unusable = |detail: String| ImageError::Unusable { reference: reference.to_owned(), detail };
        let failed =
            |error: StoreError| ImageError::Fetch { reference: reference.to_owned(), detail: error.to_string() };
        let Some(rest) = reference.strip_prefix(&self.host).and_then(|rest| rest.strip_prefix('/')) else {
            return Err(not_found(format!("only images of {} can be used here: push it there first", self.host)));
        };
        let (name, found) = split(rest);
        let found = found.ok_or_else(|| unusable("the reference is malformed".into()))?;
        let unknown = || not_found(format!("the registry has no {name} at {found}"));
        let mut manifest = self.store.manifest(name, &found).map_err(failed)?.ok_or_else(unknown)?;
        if manifest.media_type.contains("index") || manifest.media_type.contains("list") {
            let digest = for_platform(&manifest.content, platform)
                .ok_or_else(|| unusable(format!("it is not made for {platform}")))?;
            manifest = self.store.manifest(name, &Reference::Digest(digest)).map_err(failed)?.ok_or_else(unknown)?;
        }
        BaseImage::from_store(&self.store, manifest.digest, &manifest.content).map_err(unusable)
    }
}

/// The name in a reference, and the tag or digest; `latest` where there is none.
fn split(rest: &str) -> (&str, Option<Reference>) {
    if let Some((name, digest)) = rest.split_once('@') {
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        return (name, digest.parse().ok());
    }
    let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
    (name, tag.parse().ok())
}

/// The manifest for `platform` in an index.
fn for_platform(index: &[u8], platform: &str) -> Option<Digest> {
    let index: serde_json::Value = serde_json::from_slice(index).ok()?;
    let (os, architecture) = platform.split_once('/')?;
    let fits = |manifest: &&serde_json::Value| {
        manifest["platform"]["os"] == os
            && manifest["platform"]["architecture"] == architecture.split('/').next().unwrap_or(architecture)
    };
    index["manifests"].as_array()?.iter().find(fits)?["digest"].as_str()?.parse().ok()
}

impl Images for StoreImages {
    fn fetch<'a>(&'a self, reference: &'a str, platform: &'a str) -> BoxFuture<'a, Result<BaseImage, ImageError>> {
        let (images, reference, platform) = (self.clone(), reference.to_owned(), platform.to_owned());
        Box::pin(async move {
            let task = tokio::task::spawn_blocking({
                let reference = reference.clone();
                move || images.find(&reference, &platform)
            });
            task.await.unwrap_or_else(|error| Err(ImageError::Fetch { reference, detail: error.to_string() }))
        })
    }
}

#[derive(serde::Deserialize)]
struct ManifestFields {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl BaseImage {
    /// The image whose manifest is `manifest`, all of whose blobs are in `store`; the error says why it cannot be used.
    pub fn from_store(store: &Store, digest: Digest, manifest: &[u8]) -> Result<Self, String> {
        let manifest: ManifestFields =
            serde_json::from_slice(manifest).map_err(|error| format!("its manifest is malformed: {error}"))?;
        let config = std::fs::read(store.blob_path(&manifest.config.digest))
            .map_err(|error| format!("its configuration is missing: {error}"))?;
        let document: ImageDocument =
            serde_json::from_slice(&config).map_err(|error| format!("its configuration is malformed: {error}"))?;
        let diff_ids: Result<Vec<Digest>, _> = document.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
        let diff_ids = diff_ids.map_err(|error| format!("its configuration is malformed: {error}"))?;
        if diff_ids.len() != manifest.layers.len() {
            return Err("its configuration and its manifest disagree about the layers".into());
        }
        let layers = manifest.layers.into_iter().zip(diff_ids).map(|(layer, diff_id)| BaseLayer {
            digest: layer.digest,
            size_bytes: layer.size,
            media_type: layer.media_type,
            diff_id,
        });
        Ok(Self { digest, config, layers: layers.collect() })
    }
}
