//! EndpointSlices of services without a selector: what somebody wrote into Endpoints by hand, in today's form.

use std::{collections::BTreeMap, sync::Arc};

use coracle_client::{Cache, Key};
use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;

use super::{
    HEADLESS, is_selecting,
    slices::{self, Group, MANAGED_BY, SERVICE_NAME},
};
use crate::{
    control::{Action, Context, Controller, Error},
    owner::{controller_reference, is_deleting, name, namespace},
};

const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that leaders were once elected by: not about traffic.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// So many addresses of a subset are mirrored.
const SUBSET_ADDRESSES_MAX: usize = 1000;

/// Runs the controller.
pub async fn run(context: Context) {
    let services: Cache<Service> = context.caches.of();
    let endpoints: Cache<Endpoints> = context.caches.of();
    let existing: Cache<EndpointSlice> = context.caches.of();
    let controller = Controller::new("endpoint-slice-mirroring-controller")
        .watch_own(&services)
        .watch_own(&endpoints)
        .watch(&existing, |change| slices::service_of(change.object(), CONTROLLER).into_iter().collect());
    services.filled().await;
    endpoints.filled().await;
    existing.filled().await;
    let this = Arc::new(Mirror { context, services, endpoints, slices: existing });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

struct Mirror {
    context: Context,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
}

impl Mirror {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let service = self.services.get(&key).filter(|service| !is_selecting(service));
        let endpoints = self.endpoints.get(&key).filter(|endpoints| is_mirrored(endpoints));
        let wanted = match (service, endpoints) {
            (Some(_), Some(endpoints)) => wanted(&endpoints),
            _ => Vec::new(),
        };
        let ours = |slice: &Arc<EndpointSlice>| {
            slices::service_of(slice, CONTROLLER).as_ref() == Some(&key) && !is_deleting(&**slice)
        };
        let existing: Vec<_> = self.slices.in_namespace(&key.namespace).into_iter().filter(ours).collect();
        let api: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), &key.namespace);
        slices::carry_out(slices::plan(&existing, wanted), &api, &self.slices).await?;
        Ok(Action::Done)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let annotations = endpoints.metadata.annotations.as_ref();
    !is_deleting(endpoints)
        && labels.and_then(|labels| labels.get(SKIP)).is_none_or(|skip| skip != "true")
        && annotations.is_none_or(|annotations| !annotations.contains_key(LEADER))
}

/// The slices for what was written.
pub(super) fn wanted(endpoints: &Endpoints) -> Vec<Group> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.flat_map(|subset| ["IPv4", "IPv6"].map(|family| group(endpoints, subset, family))).flatten().collect()
}

fn group(endpoints: &Endpoints, subset: &EndpointSubset, family: &str) -> Option<Group> {
    let ready = subset.addresses.iter().flatten().map(|address| endpoint(address, true));
    let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| endpoint(address, false));
    let of_family = |endpoint: &Endpoint| endpoint.addresses[0].contains(':') == (family == "IPv6");
    let listed: Vec<Endpoint> = ready.chain(not_ready).take(SUBSET_ADDRESSES_MAX).filter(of_family).collect();
    (!listed.is_empty()).then(|| Group { template: template(endpoints, subset, family), endpoints: listed })
}

fn template(endpoints: &Endpoints, subset: &EndpointSubset, family: &str) -> EndpointSlice {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), name(endpoints).to_owned());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let mut annotations: BTreeMap<String, String> = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_CHANGE);
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(endpoints))),
            namespace: Some(namespace(endpoints).to_owned()),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Vec::new(),
        ports: Some(ports.collect()),
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}
