//! What this room knows of the cluster: Services and EndpointSlices, cut down to the facts that rules and DNS need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::ResourceExt;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How a service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By a virtual address.
    ClusterIp(Ipv4Addr),
    /// By the addresses of its endpoints, from DNS.
    Headless,
    /// By a name elsewhere, from DNS.
    External(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    pub protocol: u8,
    pub port: u16,
    pub node_port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub uid: String,
    pub reach: Reach,
    /// `externalIPs` and the load balancer's addresses: balanced like the cluster IP where packets come by.
    pub other_ips: Vec<Ipv4Addr>,
    /// `sessionAffinity: ClientIP`
    pub sticky: bool,
    pub ports: Vec<ServicePort>,
}

impl Service {
    /// `None` for a service that has no IPv4 address (yet).
    pub fn from_object(object: &core::Service) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        let reach = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
            (Some("ExternalName"), _) => Reach::External(spec.external_name.clone()?),
            (_, Some("None")) => Reach::Headless,
            (_, Some(ip)) => Reach::ClusterIp(ip.parse().ok()?),
            (_, None) => return None,
        };
        let external = spec.external_ips.iter().flatten().map(String::as_str);
        let balancer = object.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let balanced =
            balancer.flat_map(|balancer| balancer.ingress.iter().flatten()).filter_map(|it| it.ip.as_deref());
        Some(Self {
            uid: object.uid().unwrap_or_default(),
            reach,
            other_ips: external.chain(balanced).filter_map(|ip| ip.parse().ok()).collect(),
            sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
            ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
        })
    }
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref())?,
        port: port.port.try_into().ok()?,
        node_port: port.node_port.and_then(|port| port.try_into().ok()).filter(|port| *port != 0),
    })
}

fn protocol(name: Option<&str>) -> Option<u8> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(TCP),
        "UDP" => Some(UDP),
        "SCTP" => Some(SCTP),
        _ => None,
    }
}

/// The protocol as Kubernetes writes it, in lower case as DNS does.
pub(crate) fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        TCP => "tcp",
        UDP => "udp",
        _ => "sctp",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    pub name: String,
    pub protocol: u8,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub hostname: Option<String>,
    pub ready: bool,
    /// Not ready any more, since it is being deleted, but still answering.
    pub draining: bool,
}

/// Endpoints of a service that share their ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub service: ObjectName,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
}

impl Slice {
    /// `None` for a slice of no service or of another address family.
    pub fn from_object(object: &discovery::EndpointSlice) -> Option<Self> {
        if object.address_type != "IPv4" {
            return None;
        }
        let name = object.labels().get(SERVICE_LABEL)?;
        let ports = object.ports.iter().flatten().filter_map(|port| {
            Some(SlicePort {
                name: port.name.clone().unwrap_or_default(),
                protocol: protocol(port.protocol.as_deref())?,
                port: port.port?.try_into().ok()?,
            })
        });
        Some(Self {
            service: ObjectName::new(object.namespace().unwrap_or_default(), name),
            ports: ports.collect(),
            endpoints: object.endpoints.iter().filter_map(endpoint).collect(),
        })
    }
}

fn endpoint(object: &discovery::Endpoint) -> Option<Endpoint> {
    let conditions = object.conditions.as_ref();
    let is =
        |pick: fn(&discovery::EndpointConditions) -> Option<bool>, unset| conditions.and_then(pick).unwrap_or(unset);
    let ready = is(|conditions| conditions.ready, true);
    Some(Endpoint {
        // The API takes the first address of an endpoint only.
        ip: object.addresses.first()?.parse().ok()?,
        hostname: object.hostname.clone(),
        ready,
        draining: !ready
            && is(|conditions| conditions.serving, ready)
            && is(|conditions| conditions.terminating, false),
    })
}

/// All services and endpoints, as last seen.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, Slice>,
    slices_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Cluster {
    /// Takes over a service's new state; returns the name of what changed.
    pub fn put_service(&mut self, object: &core::Service) -> ObjectName {
        let name = ObjectName::of(object);
        match Service::from_object(object) {
            Some(service) => drop(self.services.insert(name.clone(), service)),
            None => drop(self.services.remove(&name)),
        }
        name
    }

    /// Forgets a service; returns its name.
    pub fn remove_service(&mut self, object: &core::Service) -> ObjectName {
        let name = ObjectName::of(object);
        self.services.remove(&name);
        name
    }

    /// Takes over a slice's new state; returns the services that changed.
    pub fn put_slice(&mut self, object: &discovery::EndpointSlice) -> Vec<ObjectName> {
        let mut changed = self.remove_slice(object);
        if let Some(slice) = Slice::from_object(object) {
            let name = ObjectName::of(object);
            self.slices_of.entry(slice.service.clone()).or_default().insert(name.clone());
            if !changed.contains(&slice.service) {
                changed.push(slice.service.clone());
            }
            self.slices.insert(name, slice);
        }
        changed
    }

    /// Forgets a slice; returns the service that changed, if it was known.
    pub fn remove_slice(&mut self, object: &discovery::EndpointSlice) -> Vec<ObjectName> {
        let name = ObjectName::of(object);
        let Some(slice) = self.slices.remove(&name) else { return Vec::new() };
        if let Some(slices) = self.slices_of.get_mut(&slice.service) {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices_of.remove(&slice.service);
            }
        }
        vec![slice.service]
    }

    /// Replaces all services.
    pub fn replace_services(&mut self, objects: &[core::Service]) {
        self.services.clear();
        objects.iter().for_each(|object| drop(self.put_service(object)));
    }

    /// Replaces all slices.
    pub fn replace_slices(&mut self, objects: &[discovery::EndpointSlice]) {
        self.slices.clear();
        self.slices_of.clear();
        objects.iter().for_each(|object| drop(self.put_slice(object)));
    }

    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    pub fn services(&self) -> impl Iterator<Item = (&ObjectName, &Service)> {
        self.services.iter()
    }

    /// The slices of a service.
    pub fn slices(&self, service: &ObjectName) -> impl Iterator<Item = &Slice> {
        self.slices_of.get(service).into_iter().flatten().filter_map(|name| self.slices.get(name))
    }

    /// The slices of all services.
    pub fn all_slices(&self) -> impl Iterator<Item = &Slice> {
        self.slices.values()
    }

    /// Whether anything is known of a namespace.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        let first = ObjectName::new(namespace, "");
        self.services.range(first..).next().is_some_and(|(name, _)| name.namespace == namespace)
    }
}
