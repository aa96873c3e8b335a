//! An OCI distribution registry on disk.
//!
//! At a glance:
//! - [`Store::open`]`(dir)` is the content: `.put_blob(repository, reader)`, `.blob_path(digest)`, `.has_blob(repository, digest)`,
//!   `.put_manifest(repository, tag, media_type, bytes)`, `.manifest(repository, reference)`, `.tag(repository, tag)`,
//!   `.tags(repository)`, `.collect(keep, before)`, `.batch()` for several at once. It blocks; it is cheap to clone.
//! - [`router`]`(Registry { store, access })` serves it under `/v2/`.

mod batch;
mod digest;
mod http;
mod manifest;
mod name;
mod route;
mod store;

pub use batch::Batch;
pub use digest::{Digest, ParseDigestError};
pub use http::{Access, Registry, router};
pub use manifest::{Descriptor, OCI_INDEX, OCI_MANIFEST};
pub use name::{Reference, is_repository, is_tag};
pub use store::{Collected, Manifest, Store, StoreError};
