//! The Git server people push to, and reading sources.
//!
//! Repositories are ordinary bare ones, one an app, in one directory. No `git` binary is needed at run time.
//!
//! At a glance:
//! - [`Repositories::open`]`(dir)`, `.get(app)`, `.create(app)`, `.list()`, `.remove(app)`
//! - [`Repository`]: `.refs()`, `.branch(name)`, `.resolve(spec)`, `.commit(id)`, `.log(from, limit)`, `.is_ancestor(a, b)`, `.tree(commit)`
//! - [`Tree`]: `.id()`, `.entry(path)`, `.list()`, `.walk(limit)`, `.read(path, limit_bytes)`, `.subtree(path)`, `.blob(id, limit_bytes)`
//! - [`router`]`(Server { .. })` is the smart-HTTP server as an axum router; every accepted push goes to a [`PushHandler`].

mod access;
mod durable;
mod error;
mod ingest;
mod name;
mod objects;
mod packs;
mod pktline;
mod push;
mod receive;
mod refs;
mod repositories;
mod repository;
mod server;
mod tree;
mod upload;
mod walk;

pub use access::{Access, Tokens};
pub use error::GitError;
pub use gix::ObjectId;
pub use name::check_app;
pub use objects::Commit;
pub use push::{Outcome, Progress, Push, PushHandler, RefUpdate};
pub use refs::{RefError, Refs};
pub use repositories::Repositories;
pub use repository::Repository;
pub use server::{Limits, Server, router};
pub use tree::{FileKind, Tree, TreeEntry};

/// What we call ourselves to Git clients.
const AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));
