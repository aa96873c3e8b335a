//! The way to the Kubernetes API: over a service in this process, or by a kubeconfig file.

mod caches;
mod events;
mod follow;
mod kubeconfig;

pub use caches::{AbortOnDrop, Cache, Caches, Change, Changes, Feed, Key, Missed};
pub use events::{EventType, Events, Recorder, reference};
pub use follow::{Metadata, Named, Sink, Source, Versioned, Whole, follow, revision_of};
pub use kubeconfig::admin as admin_kubeconfig;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig file is not there, or is not one.
    #[error("kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// The client could not be built from it.
    #[error("kubernetes client")]
    Client(#[source] Box<kube::Error>),
}

/// A client that calls `service` in this process, with no socket between. Must be called inside a tokio runtime.
pub fn in_process<S, B>(service: S) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(service, "default")
}

/// A client for the cluster that a kubeconfig file names in its current context.
pub async fn from_kubeconfig(path: &Path) -> Result<kube::Client, Error> {
    let failed = |source| Error::Kubeconfig { path: path.to_owned(), source };
    let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(failed)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(failed)?;
    kube::Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
}
