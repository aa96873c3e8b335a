//! Asking a registry for manifests and blobs: OCI distribution and Docker's version 2, anonymously or with credentials.

mod auth;
mod client;
mod manifest;

pub use auth::Credentials;
pub use client::{Blob, Client, FetchedManifest, RegistryError};
pub(crate) use manifest::ManifestOrIndex;
pub use manifest::{Descriptor, Manifest, ManifestError};
