//! Dockerfile in, OCI image out.

mod context;
mod images;
mod sandbox;

pub use context::{Context, ContextEntry, ContextKind};
pub use images::{BaseImage, BaseLayer, ImageError, Images};
pub use sandbox::{RunOutcome, RunStep, Sandbox, SandboxError};
