//! Pod network, service load balancing, cluster DNS: all of it inside one network namespace of the engine's own.
//!
//! The interface of this room, as the node agent and the binary use it:
//!
//! ```text
//! Node::open(run_dir, config)              makes or adopts the namespace
//! node.ip(), node.netns_path()             for pods on the host's network
//! node.enter(), node.runtime(threads)      threads whose sockets live inside
//! node.attach(uid), detach(uid), list()    pods; idempotent
//! node.start(client, runtimes) -> Running  service rules, DNS, egress, NodePorts on the host
//! NodeDialer::new(handle).dial(address)    connects from inside, on any runtime
//! Node::purge(run_dir)                     leaves nothing behind
//! ```

mod addresses;
mod balance;
mod balancer;
mod cluster;
mod config;
mod dial;
mod dns;
mod egress;
mod follow;
mod host_ports;
mod node;
mod ruleset;
mod running;

pub use config::Config;
pub use dial::NodeDialer;
pub use dns::{Transport, Upstream};
pub use node::{Error, Node, PodNetwork};
pub use running::{Running, Runtimes};
