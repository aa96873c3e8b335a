//! EndpointSlices of a service: up to a hundred endpoints each, changed as little as possible.

use std::{collections::BTreeMap, sync::Arc};

use coracle_client::{Cache, Key, reference};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::DeleteParams};

use super::{Backend, Backends, HEADLESS, Port, is_headless};
use crate::{
    control::Error,
    owner::{controller_reference, name, namespace, post_params, uid},
};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// As many endpoints fit into one slice.
const SLICE_ENDPOINTS: usize = 100;

/// The service a slice is about that a controller manages.
pub(super) fn service_of(slice: &EndpointSlice, controller: &str) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY)? == controller).then_some(())?;
    Some(Key::new(namespace(slice), labels.get(SERVICE_NAME)?))
}

pub(super) fn is_ours(slice: &EndpointSlice, service: &Service) -> bool {
    let owned = |slice: &EndpointSlice| {
        let owners = slice.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.uid == uid(service))
    };
    service_of(slice, CONTROLLER).is_some_and(|key| key.name == name(service)) && owned(slice)
}

/// A slice's worth of endpoints that offer the same ports.
pub(super) struct Group {
    pub(super) template: EndpointSlice,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What slices there should be, but for how endpoints are dealt out to them.
pub(super) fn wanted(service: &Service, backends: &Backends, zone: impl Fn(&str) -> Option<String>) -> Vec<Group> {
    let families =
        service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_else(|| vec!["IPv4".to_owned()]);
    let mut groups = Vec::new();
    for family in &families {
        let of_family = |address: &&String| address.contains(':') == (family == "IPv6");
        for (ports, backends) in backends {
            let endpoints: Vec<Endpoint> = backends
                .iter()
                .filter_map(|backend| {
                    let addresses: Vec<String> = backend.addresses.iter().filter(of_family).cloned().collect();
                    (!addresses.is_empty()).then(|| endpoint(backend, addresses, &zone))
                })
                .collect();
            if !endpoints.is_empty() {
                groups.push(Group { template: template(service, family, ports), endpoints });
            }
        }
        // A service without backends has an empty slice, so that everybody can see that it was looked at.
        if !groups.iter().any(|group| group.template.address_type == *family) {
            groups.push(Group { template: template(service, family, &[]), endpoints: Vec::new() });
        }
    }
    groups
}

fn template(service: &Service, family: &str, ports: &[Port]) -> EndpointSlice {
    let mut labels: BTreeMap<String, String> = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), name(service).to_owned());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(service))),
            namespace: Some(namespace(service).to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Vec::new(),
        ports: Some(ports.iter().map(port).collect()),
    }
}

fn endpoint(backend: &Backend, addresses: Vec<String>, zone: &impl Fn(&str) -> Option<String>) -> Endpoint {
    let node_name = backend.pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname.clone(),
        zone: node_name.as_deref().and_then(zone),
        node_name,
        target_ref: Some(ObjectReference { api_version: None, resource_version: None, ..reference(&*backend.pod) }),
        ..Endpoint::default()
    }
}

/// The changes that lead from the slices there are to those there should be.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<(Arc<EndpointSlice>, EndpointSlice)>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Endpoints stay in the slice they are in; new ones fill what has room; a slice nobody needs goes.
pub(super) fn plan(existing: &[Arc<EndpointSlice>], wanted: Vec<Group>) -> Changes {
    let mut changes = Changes::default();
    let mut unused: Vec<&Arc<EndpointSlice>> = existing.iter().collect();
    for Group { template, endpoints } in wanted {
        let same_kind = |slice: &&Arc<EndpointSlice>| {
            slice.address_type == template.address_type
                && slice.ports.clone().unwrap_or_default() == template.ports.clone().unwrap_or_default()
        };
        let (mut fitting, rest): (Vec<_>, Vec<_>) = unused.into_iter().partition(same_kind);
        unused = rest;
        // Without endpoints one slice is enough, and any will do.
        if fitting.is_empty() && endpoints.is_empty() {
            fitting.extend(
                unused.iter().position(|slice| slice.address_type == template.address_type).map(|at| unused.remove(at)),
            );
        }
        deal(&template, endpoints, fitting, &mut changes);
    }
    changes.delete.extend(unused.into_iter().cloned());
    changes
}

/// Makes the changes.
pub(super) async fn carry_out(
    changes: Changes,
    api: &Api<EndpointSlice>,
    cache: &Cache<EndpointSlice>,
) -> Result<(), Error> {
    for slice in changes.create {
        cache.observe(api.create(&post_params(), &slice).await?);
    }
    for (before, slice) in changes.update {
        cache.observe(api.replace(name(&*before), &post_params(), &slice).await?);
    }
    for slice in changes.delete {
        match api.delete(name(&*slice), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        cache.forget(&Key::of(&*slice), uid(&*slice));
    }
    Ok(())
}

fn deal(template: &EndpointSlice, endpoints: Vec<Endpoint>, slices: Vec<&Arc<EndpointSlice>>, changes: &mut Changes) {
    let is_empty_group = endpoints.is_empty();
    let mut waiting: BTreeMap<String, Endpoint> =
        endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let mut kept: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let stay = slice.endpoints.iter().filter_map(|endpoint| waiting.remove(&identity(endpoint))).collect();
        kept.push((slice, stay));
    }
    let mut waiting = waiting.into_values();
    for (_, endpoints) in &mut kept {
        let room = SLICE_ENDPOINTS.saturating_sub(endpoints.len());
        endpoints.extend(waiting.by_ref().take(room));
    }
    let mut spare = is_empty_group;
    for (slice, endpoints) in kept {
        if endpoints.is_empty() && !std::mem::take(&mut spare) {
            changes.delete.push(Arc::clone(slice));
            continue;
        }
        let updated = EndpointSlice { endpoints, ..template.clone() };
        if !is_same(slice, &updated) {
            changes.update.push((Arc::clone(slice), onto(slice, updated)));
        }
    }
    loop {
        let endpoints: Vec<Endpoint> = waiting.by_ref().take(SLICE_ENDPOINTS).collect();
        if endpoints.is_empty() && !std::mem::take(&mut spare) {
            return;
        }
        changes.create.push(EndpointSlice { endpoints, ..template.clone() });
    }
}

fn identity(endpoint: &Endpoint) -> String {
    let pod = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{pod} {}", endpoint.addresses.join(","))
}

fn is_same(slice: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    slice.endpoints == wanted.endpoints
        && slice.ports.clone().unwrap_or_default() == wanted.ports.clone().unwrap_or_default()
        && slice.metadata.labels == wanted.metadata.labels
        && slice.metadata.annotations == wanted.metadata.annotations
}

/// An existing slice with new content.
fn onto(slice: &EndpointSlice, wanted: EndpointSlice) -> EndpointSlice {
    let ObjectMeta { labels, annotations, .. } = wanted.metadata;
    let metadata = ObjectMeta { labels, annotations, ..slice.metadata.clone() };
    EndpointSlice { metadata, ..wanted }
}
