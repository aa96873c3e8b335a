//! Where builds get the images they start from: the built-in registry, or any other, whose blobs are then kept here.

use std::{
    collections::BTreeMap,
    io::{Seek, SeekFrom, Write},
};

use coracle_build::{BaseImage, BaseLayer, ImageError, Images, StoreImages};
use coracle_registry::{Digest, Store};
use coracle_runtime::{
    Reference,
    registry::{Client, Descriptor},
};
use futures::future::BoxFuture;
use serde::Deserialize;

use super::REGISTRY_HOST;

/// The repository of the built-in registry that keeps blobs fetched from elsewhere.
const CACHE_REPOSITORY: &str = "coracle/base-images";

/// Base images from the built-in registry and from outside.
pub struct BaseImages {
    built_in: StoreImages,
    store: Store,
    outside: Client,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl Images for BaseImages {
    fn fetch<'a>(&'a self, reference: &'a str, platform: &'a str) -> BoxFuture<'a, Result<BaseImage, ImageError>> {
        Box::pin(async move {
            if reference.starts_with(REGISTRY_HOST) {
                return self.built_in.fetch(reference, platform).await;
            }
            if names_a_registry(reference) {
                return self.fetch_from_outside(reference).await;
            }
            // A plain name means what was pushed here, where there is such an image, before it means the public registry.
            match self.built_in.fetch(&format!("{REGISTRY_HOST}/{reference}"), platform).await {
                Err(ImageError::NotFound { .. }) => self.fetch_from_outside(reference).await,
                found => found,
            }
        })
    }
}

/// What stands before the first slash is a registry where it could not be part of a repository's name.
fn names_a_registry(reference: &str) -> bool {
    reference.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']))
}

impl BaseImages {
    pub fn new(built_in: StoreImages, store: Store) -> Self {
        Self { built_in, store, outside: Client::new(BTreeMap::new()) }
    }

    async fn fetch_from_outside(&self, name: &str) -> Result<BaseImage, ImageError> {
        let failed = |detail: String| ImageError::Fetch { reference: name.to_owned(), detail };
        let unusable = |detail: String| ImageError::Unusable { reference: name.to_owned(), detail };
        let reference: Reference = name.parse().map_err(|error| unusable(format!("{error}")))?;
        let found = self.outside.manifest(&reference, None).await.map_err(|error| failed(error.to_string()))?;
        let config = self
            .outside
            .small_blob(&reference, &found.manifest.config.digest, None)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let parsed: Config =
            serde_json::from_slice(&config).map_err(|error| unusable(format!("its configuration: {error}")))?;
        if parsed.rootfs.diff_ids.len() != found.manifest.layers.len() {
            return Err(unusable("its configuration and its manifest name different numbers of layers".to_owned()));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in found.manifest.layers.iter().zip(parsed.rootfs.diff_ids) {
            let digest = self.keep(&reference, layer).await.map_err(failed)?;
            layers.push(BaseLayer { digest, size_bytes: layer.size, media_type: layer.media_type.clone(), diff_id });
        }
        let digest = found.image_digest.as_str().parse().map_err(|_| unusable("its digest".to_owned()))?;
        Ok(BaseImage { digest, config: config.to_vec(), layers })
    }

    /// Brings a layer's blob into the store, unless it is there already; its digest is checked on the way.
    async fn keep(&self, reference: &Reference, layer: &Descriptor) -> Result<Digest, String> {
        let digest: Digest = layer.digest.as_str().parse().map_err(|_| format!("{} is not a digest", layer.digest))?;
        if self.store.has_blob(CACHE_REPOSITORY, &digest) {
            return Ok(digest);
        }
        let mut blob = self.outside.blob(reference, &layer.digest, None).await.map_err(|error| error.to_string())?;
        let mut spool = tempfile::tempfile().map_err(|error| format!("a place for the layer: {error}"))?;
        while let Some(piece) = blob.next().await.map_err(|error| error.to_string())? {
            spool.write_all(&piece).map_err(|error| format!("keeping the layer: {error}"))?;
        }
        let store = self.store.clone();
        let put = tokio::task::spawn_blocking(move || {
            spool.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
            store.put_blob(CACHE_REPOSITORY, &mut spool).map_err(|error| error.to_string())
        });
        let (actual, _) = put.await.map_err(|error| error.to_string())??;
        if actual == digest { Ok(digest) } else { Err(format!("layer {digest} arrived as {actual}")) }
    }
}
