//! Endpoints, the older form: one object a service, ready and not ready addresses by the ports they offer.

use std::collections::BTreeMap;

use coracle_client::reference;
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Backend, Backends, HEADLESS, Port, is_headless};
use crate::owner::{name, namespace};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";

pub(super) fn is_managed(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == CONTROLLER)
}

/// The Endpoints of a service.
pub(super) fn wanted(service: &Service, backends: &Backends) -> Endpoints {
    let mut labels: BTreeMap<String, String> = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    // A pod that offers none of the service's ports is no endpoint; a service without ports lists all its pods.
    let has_ports =
        service.spec.as_ref().is_some_and(|spec| spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    let offering = backends.iter().filter(|(ports, _)| !ports.is_empty() || !has_ports);
    let subsets: Vec<EndpointSubset> = offering.filter_map(|(ports, backends)| subset(ports, backends)).collect();
    Endpoints {
        metadata: ObjectMeta {
            name: Some(name(service).to_owned()),
            namespace: Some(namespace(service).to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets),
    }
}

/// Addresses that offer the same ports. Those that are on their way out and not ready are not listed.
fn subset(ports: &[Port], backends: &[Backend]) -> Option<EndpointSubset> {
    let listed = |ready: bool| {
        let mut addresses: Vec<EndpointAddress> = backends
            .iter()
            .filter(|backend| backend.ready == ready && (ready || !backend.terminating))
            .filter_map(address)
            .collect();
        addresses.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!addresses.is_empty()).then_some(addresses)
    };
    let (addresses, not_ready_addresses) = (listed(true), listed(false));
    if addresses.is_none() && not_ready_addresses.is_none() {
        return None;
    }
    let port = |port: &Port| EndpointPort {
        name: port.name.clone(),
        port: port.port,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    let ports: Vec<EndpointPort> = ports.iter().map(port).collect();
    Some(EndpointSubset { addresses, not_ready_addresses, ports: (!ports.is_empty()).then_some(ports) })
}

fn address(backend: &Backend) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: backend.addresses.first()?.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(ObjectReference { api_version: None, resource_version: None, ..reference(&*backend.pod) }),
    })
}

pub(super) fn is_same(existing: &Endpoints, wanted: &Endpoints) -> bool {
    existing.subsets.clone().unwrap_or_default() == wanted.subsets.clone().unwrap_or_default()
        && existing.metadata.labels == wanted.metadata.labels
}
