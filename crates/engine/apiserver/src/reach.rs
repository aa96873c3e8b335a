//! How the server reaches what runs behind services: through their ready endpoints, by the dialer, since the pod network
//! exists only inside the node's namespace.

use std::{net::SocketAddr, sync::Arc};

use coracle_store::Store;
use rand::RngExt;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    object,
    server::Dialer,
    status::{Failure, GroupResource},
};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Reach {
    store: Store,
    dialer: Option<Arc<dyn Dialer>>,
}

const SERVICES: GroupResource<'_> = GroupResource { group: "", resource: "services" };

impl Reach {
    /// A way to the services in `store`.
    pub fn new(store: Store, dialer: Option<Arc<dyn Dialer>>) -> Self {
        Self { store, dialer }
    }

    /// Connects to an address of the pod network.
    pub async fn dial(&self, address: SocketAddr) -> Result<TcpStream, Failure> {
        let dialer = self.dialer.as_ref();
        let dialer = dialer.ok_or_else(|| Failure::unavailable("this server has no way to the pod network"))?;
        let dialled = dialer.dial(address).await;
        dialled.map_err(|error| {
            Failure::unavailable(format!("error trying to reach service: dial tcp {address}: {error}"))
        })
    }

    /// Connects to a ready endpoint of a service, any of them. `port` is a number or a name; empty for the only one.
    pub async fn service(&self, namespace: &str, name: &str, port: &str) -> Result<TcpStream, Failure> {
        let service = self.find(namespace, name)?;
        if service["spec"]["type"] == "ExternalName" {
            let host = service["spec"]["externalName"].as_str().unwrap_or_default();
            let connected = TcpStream::connect(format!("{host}:{port}")).await;
            return connected.map_err(|error| Failure::unavailable(format!("dial tcp {host}:{port}: {error}")));
        }
        self.dial(self.endpoint_of(&service, port)?).await
    }

    /// A ready endpoint of a service, any of them.
    pub fn endpoint(&self, namespace: &str, name: &str, port: &str) -> Result<SocketAddr, Failure> {
        self.endpoint_of(&self.find(namespace, name)?, port)
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Value, Failure> {
        let record = self.store.get(&format!("/core/services/{namespace}/{name}"));
        let record = record.ok_or_else(|| Failure::not_found(SERVICES, name))?;
        object::decode(&record)
    }

    fn endpoint_of(&self, service: &Value, port: &str) -> Result<SocketAddr, Failure> {
        let (namespace, name) = (object::namespace(service), object::name(service));
        let port_name = port_name(service, port)
            .ok_or_else(|| Failure::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
        let mut ready = Vec::new();
        let snapshot = self.store.snapshot();
        let prefix = format!("/discovery.k8s.io/endpointslices/{namespace}/");
        let slices = snapshot.list(&prefix).filter(|slice| slice.label("kubernetes.io/service-name") == Some(name));
        for slice in slices {
            ready.extend(ready_endpoints(&object::decode(slice)?, &port_name));
        }
        if ready.is_empty() {
            return Err(Failure::unavailable(format!("no endpoints available for service {name:?}")));
        }
        Ok(ready[rand::rng().random_range(0..ready.len())])
    }
}

/// The name of the port that is meant, by number, by name, or the only one.
fn port_name(service: &Value, port: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let found = match port {
        "" => ports.first().filter(|_| ports.len() == 1),
        text => ports
            .iter()
            .find(|port| port["name"] == text || port["port"].as_u64().is_some_and(|n| n.to_string() == text)),
    };
    found.map(|port| port["name"].as_str().unwrap_or_default().to_owned())
}

fn ready_endpoints(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let port = ports.into_iter().find(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|port| port["port"].as_u64()).and_then(|port| u16::try_from(port).ok()) else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] != Value::Bool(false))
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str()?.parse().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_found_by_number_and_by_name() {
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}});
        assert_eq!(port_name(&service, "81").as_deref(), Some("admin"));
        assert_eq!(port_name(&service, "http").as_deref(), Some("http"));
        assert_eq!(port_name(&service, ""), None);
    }

    #[test]
    fn endpoints_that_are_not_ready_are_left_out() {
        let slice = json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.42.0.2"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false}},
        ]});
        assert_eq!(ready_endpoints(&slice, "http"), ["10.42.0.2:8080".parse().unwrap()]);
    }
}
