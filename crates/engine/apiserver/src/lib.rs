//! The Kubernetes API over HTTP: verbs, watch, discovery, authentication, authorization, admission, custom resources.
//!
//! One generic handler serves every kind. A request is taken apart ([`request`]), its sender found out ([`authn`]) and
//! allowed ([`authz`]), and then answered by one file of [`verbs`] or [`subresource`], which looks up in the [`registry`]
//! what the path means. What some kinds do differently is a [`strategy`]; what is checked or changed before a write is a
//! step of [`admission`]. Objects stay bytes on the way out: nothing is decoded to answer a GET, a LIST or a watch.
//!
//! ```text
//! let server = Server::start(store, options).await?;
//! let client = kube::Client::new(server.client_service(User::engine()), "default");
//! server.serve_tls(listener, tls).await;
//! ```

mod admission;
mod aggregate;
pub mod audit;
pub mod authn;
pub mod authz;
mod bootstrap;
mod crd;
mod discovery;
pub mod encryption;
mod expiry;
mod health;
mod metrics;
mod names;
mod object;
mod openapi;
pub mod own;
mod priority;
mod reach;
mod registry;
mod remote;
mod request;
mod response;
mod review;
mod serve;
pub mod server;
mod show;
mod status;
mod strategy;
mod subresource;
mod verbs;

pub use admission::{OWNER_REFERENCES, PodSecurityConfiguration};
pub use authn::{StaticTokens, User, service_account::generate_key};
pub use authz::{AllowAll, Authorizer};
pub use serve::client::ClientService;
pub use server::{Dialer, Guards, Options, Server, StartError};
pub use strategy::service::Cidr;
