//! Dockerfile in, OCI image out.
//!
//! At a glance:
//! - [`Builder`]` { store, images, sandbox, cache_dir, limits }.build(`[`Request`]`, report).await -> Result<`[`Built`]`, `[`BuildError`]`>`;
//!   an image that is there already is found by content and nothing is built (`Built::reused`).
//! - `report` is called with each line a person wants to see.
//! - [`Context`] is what is built from: [`DirectoryContext`] for a directory; a Git tree implements the trait elsewhere
//!   (a walk gives path, kind, size and blob id, a blob the content).
//! - [`Images`] finds base images and puts their blobs into the store: [`StoreImages`] knows those of the built-in registry.
//! - [`Sandbox`] runs a RUN step's command.
//! - [`dockerfile::parse`] is the pure parser; its problems carry file, line, column, the line itself and a hint.

mod archive;
mod builder;
mod cache;
mod config;
mod context;
pub mod dockerfile;
mod error;
mod images;
mod key;
mod layers;
mod pattern;
mod place;
mod plan;
mod sandbox;
mod scratch;
mod select;

pub use builder::{Builder, Built, Limits, Report, Request};
pub use config::{HealthcheckConfig, ImageConfig, ImageDocument};
pub use context::{Context, ContextEntry, ContextKind, DirectoryContext};
pub use dockerfile::{Problem, Problems};
pub use error::BuildError;
pub use images::{BaseImage, BaseLayer, ImageError, Images, StoreImages};
pub use sandbox::{RunOutcome, RunStep, Sandbox, SandboxError};
