//! NodePorts on the host: listeners on loopback (unless told otherwise) that carry connections into the node's network.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use coracle_client::{Events, Recorder};
use coracle_clock::SystemClock;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::{io::copy_bidirectional, net::TcpListener, task::JoinHandle};

use crate::{
    cluster::{Cluster, ObjectName, TCP},
    dial::NodeDialer,
    follow::View,
};

/// A NodePort with the service it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    port: u16,
    service: ObjectName,
    uid: String,
}

/// Ends its listener when dropped.
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the listeners as the services ask until dropped. Must run on a runtime in the host's network.
pub(crate) async fn serve(client: Client, mut view: View, bind: IpAddr, node_ip: IpAddr, dialer: NodeDialer) {
    let recorder = Events::new(client, Arc::new(SystemClock)).component("coracle-network");
    let mut listeners = BTreeMap::<u16, Option<Listener>>::new();
    while view.generation.changed().await.is_ok() {
        let wanted = wanted(&view.cluster.read());
        listeners.retain(|port, _| wanted.iter().any(|it| it.port == *port));
        for it in wanted {
            if let Entry::Vacant(free) = listeners.entry(it.port) {
                free.insert(open(&it, bind, node_ip, &dialer, &recorder).await);
            }
        }
    }
}

fn wanted(cluster: &Cluster) -> BTreeSet<Wanted> {
    let services = cluster.services().flat_map(|(name, service)| {
        let ports = service.ports.iter().filter(|port| port.protocol == TCP).filter_map(|port| port.node_port);
        ports.map(|port| Wanted { port, service: name.clone(), uid: service.uid.clone() })
    });
    services.collect()
}

/// `None`: the port is taken, which was told; it is not tried again until the service changes its port.
async fn open(
    wanted: &Wanted,
    bind: IpAddr,
    node_ip: IpAddr,
    dialer: &NodeDialer,
    recorder: &Recorder,
) -> Option<Listener> {
    let address = SocketAddr::new(bind, wanted.port);
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let (target, dialer) = (SocketAddr::new(node_ip, wanted.port), dialer.clone());
            Some(Listener(coracle_tasks::spawn("node-port", accept(listener, target, dialer))))
        }
        Err(error) => {
            tracing::warn!(%address, service = %wanted.service, %error, "node port cannot be opened on the host");
            let why = format!("cannot be opened on the host at {address}: {error}; it works inside the cluster");
            tell(wanted, recorder, format!("node port {} {why}", wanted.port));
            None
        }
    }
}

fn tell(wanted: &Wanted, recorder: &Recorder, message: String) {
    let service = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(wanted.service.namespace.clone()),
        name: Some(wanted.service.name.clone()),
        uid: Some(wanted.uid.clone()),
        ..ObjectReference::default()
    };
    recorder.warning(service, "NodePortUnavailable", message);
}

async fn accept(listener: TcpListener, target: SocketAddr, dialer: NodeDialer) {
    // Dropping the set ends the connections with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((mut outer, _)) = accepted else { continue };
                let dialer = dialer.clone();
                connections.spawn(async move {
                    if let Ok(mut inner) = dialer.dial(target).await {
                        let _ = copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
