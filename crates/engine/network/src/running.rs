//! The room at work: every task it has, started together and ended together.

use std::{net::IpAddr, sync::Arc};

use kube::Client;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use crate::{
    balancer::Balancer,
    dial::NodeDialer,
    dns::{self, HostResolvers, Upstream},
    egress, follow, host_ports,
    node::Node,
};

/// Sockets belong to the network of the thread that makes them: one runtime is inside, one outside.
#[derive(Debug, Clone)]
pub struct Runtimes {
    pub node: Handle,
    pub host: Handle,
}

/// Ends the room's tasks when stopped or dropped. The rules stay in the kernel.
#[derive(Debug)]
pub struct Running {
    tasks: Vec<JoinHandle<()>>,
    generation: watch::Receiver<u64>,
}

impl Running {
    /// Returns when the first whole set of services is in the kernel.
    pub async fn ready(&self) {
        // An error means that the follower ended, which only stopping does.
        let _ = self.generation.clone().wait_for(|count| *count > 0).await;
    }

    /// Ends all tasks and waits until their sockets are closed.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    /// Starts service rules, DNS, the way out, and NodePorts on the host.
    pub fn start(&self, client: Client, runtimes: Runtimes) -> Running {
        let upstream = Arc::new(HostResolvers::new(runtimes.host.clone()));
        self.start_with_upstream(client, runtimes, upstream)
    }

    /// [`Node::start`] with somebody else than the host's resolvers for names outside of the cluster.
    pub fn start_with_upstream(&self, client: Client, runtimes: Runtimes, upstream: Arc<dyn Upstream>) -> Running {
        let (view, generation) = follow::view();
        let (inside, outside) = (&runtimes.node, &runtimes.host);
        let cluster = Arc::clone(&view.cluster);
        let follow = follow::run(client.clone(), Balancer::new(self), cluster, generation);
        let names = dns::serve(view.clone(), self.config().clone(), upstream);
        let mut tasks = vec![
            coracle_tasks::spawn_on(inside, "network-services", follow),
            coracle_tasks::spawn_on(inside, "cluster-dns", names),
            coracle_tasks::spawn_on(inside, "egress", egress::serve(outside.clone())),
        ];
        if let Some(bind) = self.config().node_port_bind {
            let dialer = NodeDialer::new(inside.clone());
            let ports = host_ports::serve(client, view.clone(), bind, IpAddr::V4(self.ip()), dialer);
            tasks.push(coracle_tasks::spawn_on(outside, "node-ports", ports));
        }
        Running { tasks, generation: view.generation }
    }
}
