//! Base images: where `FROM` and `COPY --from=IMAGE` get theirs.

use coracle_registry::Digest;
use futures::future::BoxFuture;

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
