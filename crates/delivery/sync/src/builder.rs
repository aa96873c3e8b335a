//! The seam to the room that turns a Dockerfile into an image.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::source::Tree;

/// An image that is in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// By digest: `registry.coracle.internal/APP@sha256:...`.
    pub reference: String,
    /// The TCP ports its configuration exposes, as declared.
    pub exposed_ports: Vec<u16>,
    /// Whether anything was built; false when the content was found built already.
    pub was_built: bool,
}

/// Why there is no image. The text names the file and the line where that is what was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub String);

/// Takes lines of progress.
pub type Lines = Arc<dyn Fn(String) + Send + Sync>;

/// Makes images.
pub trait Builder: Send + Sync + 'static {
    /// The image for this content of the app's repository, built unless it is there already.
    fn ensure(
        &self,
        app: String,
        tree: Arc<dyn Tree>,
        progress: Lines,
    ) -> BoxFuture<'static, Result<Image, BuildError>>;
}
