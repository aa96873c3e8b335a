//! Cluster DNS: names of services and pods from what is known of the cluster, all others from the host's resolvers.

mod cache;
mod server;
mod upstream;
mod zone;

pub(crate) use server::serve;
pub(crate) use upstream::HostResolvers;
pub use upstream::{Transport, Upstream};
