//! Application: source, render, diff, apply, health, record.
//!
//! A push makes or moves an Application; its worker takes the commit through one pipeline around one effect: the files
//! at the commit, the image (found by content, or built), the objects, a check of all of them by the API, **apply**,
//! health, and the record of it in the Application's status. A commit that does not become healthy gives way to the
//! last good one. In between, live objects are watched, and drift is shown and put right.

pub mod application;
pub mod ask;
mod attempt;
pub mod builder;
mod cluster;
mod compare;
mod controller;
mod crd;
mod deploy;
mod diff;
mod dockerfile;
mod follow;
mod git;
pub mod health;
mod manifest;
pub mod names;
mod order;
mod push;
pub mod render;
mod rollout;
pub mod source;
mod target;
mod watch;
mod worker;

pub use controller::{Controller, Parts};
pub use dockerfile::DockerfileBuilder;
pub use git::{GitSources, GitTree};
