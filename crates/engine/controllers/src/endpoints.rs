//! Endpoints and EndpointSlices: where a service's pods are, and which of them take traffic.

mod legacy;
pub mod mirror;
mod slices;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use coracle_client::{Cache, Change, Key, Recorder, reference};
use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Node, Pod, Service, ServicePort},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api,
    api::{DeleteParams, Patch},
};
use serde_json::json;

use crate::{
    control::{Action, Context, Controller, Error},
    owner::{is_deleting, name, namespace, patch_params, post_params, uid},
    pods,
    replicaset::is_namespace_terminating,
};

const HEADLESS: &str = "service.kubernetes.io/headless";

/// A port as a pod offers it to a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: Option<String>,
    port: i32,
    protocol: String,
    app_protocol: Option<String>,
}

/// A pod behind a service.
#[derive(Debug, Clone, PartialEq)]
struct Backend {
    addresses: Vec<String>,
    pod: Arc<Pod>,
    /// Whether it takes new traffic, could take traffic, is on its way out.
    ready: bool,
    serving: bool,
    terminating: bool,
    hostname: Option<String>,
}

/// The backends of a service, by the ports they offer: a named port may have another number in each pod.
type Backends = BTreeMap<Vec<Port>, Vec<Backend>>;

struct Reconciler {
    context: Context,
    recorder: Recorder,
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    slices: Cache<EndpointSlice>,
    endpoints: Cache<Endpoints>,
}

/// Runs both controllers: they ask the same questions.
pub async fn run(context: Context) {
    let services: Cache<Service> = context.caches.of();
    let pods: Cache<Pod> = context.caches.of();
    let nodes: Cache<Node> = context.caches.of();
    let slices: Cache<EndpointSlice> = context.caches.of();
    let endpoints: Cache<Endpoints> = context.caches.of();
    let by_pod = {
        let services = services.clone();
        move |change: &Change<Pod>| keys_of_pod(&services, change)
    };
    let controller = Controller::new("endpoint-slice-controller")
        .watch_own(&services)
        .watch(&pods, by_pod)
        .watch(&slices, |change| slices::service_of(change.object(), slices::CONTROLLER).into_iter().collect())
        // Endpoints are named as their service.
        .watch_own(&endpoints);
    let recorder = context.events.component("endpoint-slice-controller");
    services.filled().await;
    pods.filled().await;
    nodes.filled().await;
    slices.filled().await;
    endpoints.filled().await;
    let this = Arc::new(Reconciler { context, recorder, services, pods, nodes, slices, endpoints });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

/// Services that select the pod, or did so. Changes that no service could notice are passed over.
fn keys_of_pod(services: &Cache<Service>, change: &Change<Pod>) -> Vec<Key> {
    if let (Some(previous), Some(current)) = (&change.previous, &change.current)
        && visible(previous) == visible(current)
    {
        return Vec::new();
    }
    let selects = |service: &Arc<Service>| change.states().any(|pod| selects(service, pod));
    let in_namespace = services.in_namespace(namespace(&**change.object()));
    in_namespace.iter().filter(|service| selects(service)).map(|service| Key::of(&**service)).collect()
}

/// What of a pod endpoints show.
fn visible(pod: &Pod) -> impl PartialEq + use<'_> {
    let spec = pod.spec.as_ref();
    (
        (pod.metadata.labels.as_ref(), pods::is_ready(pod), pods::is_terminating(pod), pods::is_finished(pod)),
        addresses(pod),
        spec.map(|spec| (spec.node_name.as_ref(), spec.hostname.as_ref(), spec.subdomain.as_ref())),
    )
}

/// The labels a service selects its pods by, where it does.
fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty())
}

fn is_selecting(service: &Service) -> bool {
    selector(service).is_some()
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector(service).is_some_and(|selector| {
        selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

fn addresses(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all: Vec<String> = status.pod_ips.iter().flatten().map(|address| address.ip.clone()).collect();
    if all.is_empty() { status.pod_ip.clone().into_iter().collect() } else { all }
}

/// The service's backends as the pods are now.
fn backends(service: &Service, pods: &[Arc<Pod>]) -> Backends {
    let spec = service.spec.clone().unwrap_or_default();
    let publish_not_ready = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut backends = Backends::new();
    let behind = |pod: &&Arc<Pod>| selects(service, pod) && !pods::is_finished(pod) && !addresses(pod).is_empty();
    for pod in pods.iter().filter(behind) {
        let terminating = pods::is_terminating(pod);
        let serving = pods::is_ready(pod);
        let pod_spec = pod.spec.as_ref();
        let has_own_name = pod_spec.and_then(|spec| spec.subdomain.as_deref()) == Some(name(service));
        let hostname =
            pod_spec.and_then(|spec| spec.hostname.clone()).filter(|hostname| has_own_name && !hostname.is_empty());
        let backend = Backend {
            addresses: addresses(pod),
            pod: Arc::clone(pod),
            ready: publish_not_ready || (serving && !terminating),
            serving,
            terminating,
            hostname,
        };
        let ports = spec.ports.iter().flatten().filter_map(|port| resolve_port(port, pod)).collect();
        backends.entry(ports).or_default().push(backend);
    }
    backends
}

/// The port of the pod that a service port leads to; none where the pod has no port of that name.
fn resolve_port(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    Some(Port { name: port.name.clone(), port: number, protocol, app_protocol: port.app_protocol.clone() })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    // Init containers that keep running offer ports as well.
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
    named.find(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol).map(|port| port.container_port)
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

impl Reconciler {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(service) = self.services.get(&key) else {
            self.delete_orphaned(&key).await?;
            return Ok(Action::Done);
        };
        let spec = service.spec.as_ref();
        if is_deleting(&*service)
            || !is_selecting(&service)
            || spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
        {
            return Ok(Action::Done);
        }
        let backends = backends(&service, &self.pods.in_namespace(&key.namespace));
        let result = match self.write_slices(&service, &backends).await {
            Ok(()) => self.write_endpoints(&service, &backends).await,
            failed => failed,
        };
        match result {
            Err(Error::Api(kube::Error::Api(status))) if is_namespace_terminating(&status) => Ok(Action::Done),
            Err(error) => {
                let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
                self.recorder.warning(reference(&*service), "FailedToUpdateEndpointSlices", message);
                Err(error)
            }
            Ok(()) => Ok(Action::Done),
        }
    }

    async fn write_slices(&self, service: &Service, backends: &Backends) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), namespace(service));
        let in_namespace = self.slices.in_namespace(namespace(service));
        let existing: Vec<Arc<EndpointSlice>> = in_namespace
            .into_iter()
            .filter(|slice| slices::is_ours(slice, service) && !is_deleting(&**slice))
            .collect();
        let zone = |node: &str| {
            let node = self.nodes.get(&Key::new("", node))?;
            node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
        };
        let wanted = slices::wanted(service, backends, zone);
        slices::carry_out(slices::plan(&existing, wanted), &api, &self.slices).await
    }

    async fn write_endpoints(&self, service: &Service, backends: &Backends) -> Result<(), Error> {
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), namespace(service));
        let wanted = legacy::wanted(service, backends);
        match self.endpoints.get(&Key::of(service)) {
            None => self.endpoints.observe(api.create(&post_params(), &wanted).await?),
            Some(existing) if legacy::is_same(&existing, &wanted) => {}
            Some(existing) => {
                let patch = json!({
                    "metadata": {
                        "resourceVersion": existing.metadata.resource_version,
                        "labels": wanted.metadata.labels,
                        "annotations": wanted.metadata.annotations,
                    },
                    "subsets": wanted.subsets,
                });
                let patched = api.patch(name(service), &patch_params(), &Patch::Merge(patch)).await?;
                self.endpoints.observe(patched);
            }
        }
        Ok(())
    }

    /// Endpoints have no owner; they go by their service's name.
    async fn delete_orphaned(&self, key: &Key) -> Result<(), Error> {
        let Some(orphan) = self.endpoints.get(key).filter(|endpoints| legacy::is_managed(endpoints)) else {
            return Ok(());
        };
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match api.delete(&key.name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        self.endpoints.forget(key, uid(&*orphan));
        Ok(())
    }
}
