//! Pod lifecycle: the kubelet's job.
//!
//! [`start`] makes this machine a node: it registers it, watches the pods that are bound to it, gives each a task of its own,
//! and serves the kubelet's API on a unix socket. A pod's task is a loop around a pure machine (`pod/`): it *observes* what
//! happens, *decides* what to do, and *acts*; its status is one pure function of what is known. Containers and addresses are
//! behind two small doors ([`doors`]), the API server behind a third ([`api`]).
//!
//! Everything here runs on the caller's runtime, whose threads are to be in the node's network, so that probes reach pods;
//! only images are pulled on the host's.

//ADAPTERS pub mod adapters;
pub mod agent;
pub mod api;
pub mod container;
pub mod context;
pub mod doors;
pub mod effects;
#[cfg(test)]
mod fakes;
pub mod logs;
pub mod node_object;
pub mod pod;
pub mod probe;
pub mod quantity;
pub mod recorder;
pub mod serve;
mod starting;
pub mod streams;
pub mod volumes;

pub use starting::{Error, NodeAgent, Options, start};
