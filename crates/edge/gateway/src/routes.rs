//! The routing table: made whole from ingresses, services and endpoints, then only read. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressBackend, ServiceBackendPort},
};
use kube::ResourceExt;

use crate::{
    counters::{Counters, RouteStats},
    upstream::Upstream,
};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectName {
    pub(crate) fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A port of a service as an ingress names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServicePort {
    pub(crate) service: ObjectName,
    /// A number or a name.
    pub(crate) port: String,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathKind {
    Exact,
    Prefix,
}

/// Where requests to one host and path go.
pub(crate) struct Route {
    ingress: ObjectName,
    /// Empty: any host.
    host: String,
    path: String,
    kind: PathKind,
    pub(crate) backend: ServicePort,
    pub(crate) upstream: Arc<Upstream>,
    /// Why nothing can be there, such as a service that does not exist.
    pub(crate) missing: Option<String>,
    pub(crate) counters: Arc<Counters>,
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        match self.kind {
            PathKind::Exact => path == self.path,
            PathKind::Prefix => {
                let prefix = self.path.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// Longer paths first, and the exact one before the prefix.
    fn rank(&self) -> impl Ord + use<> {
        let length = self.path.trim_end_matches('/').len();
        (std::cmp::Reverse(length), self.kind == PathKind::Prefix)
    }
}

/// All routes.
#[derive(Default)]
pub(crate) struct Table {
    /// By host, `*.DOMAIN`, or empty for any host; each best match first.
    hosts: HashMap<String, Vec<Arc<Route>>>,
    /// Of ingresses that have a default backend.
    defaults: Vec<Arc<Route>>,
    /// Whether the cluster was ever seen whole.
    pub(crate) is_complete: bool,
}

impl Table {
    /// The route of a request; `host` is in lower case and without a port.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let wildcard = host.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let hosts = [Some(host), wildcard.as_deref(), Some("")];
        let mut lists = hosts.into_iter().flatten().filter_map(|host| self.hosts.get(host));
        lists.find_map(|routes| routes.iter().find(|route| route.matches(path))).or(self.defaults.first())
    }

    /// Whether any path of this host is served.
    pub(crate) fn has_host(&self, host: &str) -> bool {
        let wildcard = host.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        self.hosts.contains_key(host) || wildcard.is_some_and(|wildcard| self.hosts.contains_key(&wildcard))
    }

    pub(crate) fn stats(&self) -> Vec<RouteStats> {
        let routes = self.hosts.values().flatten().chain(&self.defaults);
        let mut stats: Vec<_> = routes
            .map(|route| {
                route.counters.read(
                    route.ingress.to_string(),
                    route.host.clone(),
                    route.path.clone(),
                    route.backend.to_string(),
                )
            })
            .collect();
        stats.sort_by(|a, b| (&a.ingress, &a.host, &a.path).cmp(&(&b.ingress, &b.host, &b.path)));
        stats
    }
}

/// What outlives a table: connections and counts.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) upstreams: BTreeMap<ServicePort, Arc<Upstream>>,
    counters: BTreeMap<(ObjectName, String, String), Arc<Counters>>,
}

/// What a table is made from.
pub(crate) struct Sources<'a> {
    pub(crate) ingresses: Vec<&'a Ingress>,
    pub(crate) services: &'a BTreeMap<ObjectName, Service>,
    pub(crate) slices: &'a BTreeMap<ObjectName, EndpointSlice>,
}

/// Makes the table, taking over what is kept and dropping what is no longer needed of it.
pub(crate) fn build(sources: &Sources<'_>, kept: &mut Kept, new_upstream: impl Fn() -> Arc<Upstream>) -> Table {
    let mut builder = Builder { sources, old: std::mem::take(kept), new: Kept::default(), new_upstream };
    let mut table = Table { is_complete: true, ..Table::default() };
    let mut ingresses = sources.ingresses.clone();
    // Where two claim the same path, the older one has it.
    ingresses.sort_by_key(|it| (it.metadata.creation_timestamp.clone().map(|time| time.0), ObjectName::of(*it)));
    for ingress in ingresses {
        builder.add_ingress(ingress, &mut table);
    }
    *kept = builder.new;
    table.hosts.values_mut().for_each(|routes| routes.sort_by_key(|route| route.rank()));
    table
}

struct Builder<'a, F> {
    sources: &'a Sources<'a>,
    old: Kept,
    new: Kept,
    new_upstream: F,
}

impl<F: Fn() -> Arc<Upstream>> Builder<'_, F> {
    fn add_ingress(&mut self, ingress: &Ingress, table: &mut Table) {
        let name = ObjectName::of(ingress);
        let Some(spec) = &ingress.spec else { return };
        for rule in spec.rules.iter().flatten() {
            let host = rule.host.as_deref().unwrap_or_default().to_ascii_lowercase();
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let kind = if path.path_type == "Exact" { PathKind::Exact } else { PathKind::Prefix };
                let text = path.path.as_deref().unwrap_or("/");
                if let Some(route) = self.route(&name, &host, text, kind, &path.backend) {
                    table.hosts.entry(host.clone()).or_default().push(route);
                }
            }
        }
        if let Some(backend) = &spec.default_backend {
            table.defaults.extend(self.route(&name, "", "/", PathKind::Prefix, backend));
        }
    }

    /// `None`: the backend is of a kind that is not served.
    fn route(
        &mut self,
        ingress: &ObjectName,
        host: &str,
        path: &str,
        kind: PathKind,
        backend: &IngressBackend,
    ) -> Option<Arc<Route>> {
        let service = backend.service.as_ref()?;
        let backend = ServicePort {
            service: ObjectName { namespace: ingress.namespace.clone(), name: service.name.clone() },
            port: port_text(service.port.as_ref()?),
        };
        let (upstream, missing) = self.upstream(&backend);
        let counters_key = (ingress.clone(), host.to_owned(), path.to_owned());
        let counters =
            self.old.counters.get(&counters_key).or(self.new.counters.get(&counters_key)).cloned().unwrap_or_default();
        self.new.counters.insert(counters_key, Arc::clone(&counters));
        let (ingress, host, path) = (ingress.clone(), host.to_owned(), path.to_owned());
        Some(Arc::new(Route { ingress, host, path, kind, backend, upstream, missing, counters }))
    }

    fn upstream(&mut self, backend: &ServicePort) -> (Arc<Upstream>, Option<String>) {
        let known = self.new.upstreams.get(backend).or(self.old.upstreams.get(backend)).cloned();
        let upstream = known.unwrap_or_else(&self.new_upstream);
        let (addresses, missing) = match endpoints(self.sources, backend) {
            Ok(addresses) => (addresses, None),
            Err(missing) => (Vec::new(), Some(missing)),
        };
        upstream.set(&addresses);
        self.new.upstreams.insert(backend.clone(), Arc::clone(&upstream));
        (upstream, missing)
    }
}

fn port_text(port: &ServiceBackendPort) -> String {
    port.name.clone().or(port.number.map(|number| number.to_string())).unwrap_or_default()
}

/// The ready pods of a service port, sorted; or why there cannot be any.
fn endpoints(sources: &Sources<'_>, backend: &ServicePort) -> Result<Vec<SocketAddr>, String> {
    let service =
        sources.services.get(&backend.service).ok_or_else(|| format!("service {} does not exist", backend.service))?;
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let is_meant = |it: &&k8s_openapi::api::core::v1::ServicePort| {
        it.name.as_deref() == Some(&backend.port) || it.port.to_string() == backend.port
    };
    let port = ports
        .iter()
        .find(is_meant)
        .ok_or_else(|| format!("service {} has no port {}", backend.service, backend.port))?;
    let port_name = port.name.as_deref().unwrap_or_default();
    let of_service = sources.slices.iter().filter(|(name, slice)| {
        name.namespace == backend.service.namespace && slice.labels().get(SERVICE_LABEL) == Some(&backend.service.name)
    });
    let mut addresses = Vec::new();
    for (_, slice) in of_service {
        let named = slice.ports.iter().flatten().find(|it| it.name.as_deref().unwrap_or_default() == port_name);
        let Some(target) = named.and_then(|it| u16::try_from(it.port?).ok()) else { continue };
        let ready = slice.endpoints.iter().filter(|it| it.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true));
        let ips = ready.filter_map(|it| it.addresses.first()?.parse().ok());
        addresses.extend(ips.map(|ip| SocketAddr::new(ip, target)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    /// Each rule is `HOST PATH TYPE SERVICE:PORT`; `-` stands for no host, and `default SERVICE:PORT` for the default.
    fn ingress(name: &str, rules: &[&str]) -> Ingress {
        let backend = |text: &str| {
            let (service, port) = text.split_once(':').unwrap();
            let port = port.parse::<u16>().map_or(json!({"name": port}), |number| json!({"number": number}));
            json!({"service": {"name": service, "port": port}})
        };
        let mut spec = json!({"rules": []});
        for rule in rules {
            match rule.split(' ').collect::<Vec<_>>()[..] {
                ["default", to] => spec["defaultBackend"] = backend(to),
                [host, path, kind, to] => {
                    let host = if host == "-" { Value::Null } else { json!(host) };
                    let path = json!({"path": path, "pathType": kind, "backend": backend(to)});
                    spec["rules"].as_array_mut().unwrap().push(json!({"host": host, "http": {"paths": [path]}}));
                }
                _ => panic!("{rule}"),
            }
        }
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec})).unwrap()
    }

    fn named<T: ResourceExt>(objects: Vec<T>) -> BTreeMap<ObjectName, T> {
        objects.into_iter().map(|object| (ObjectName::of(&object), object)).collect()
    }

    fn table(ingresses: &[Ingress]) -> Table {
        let service = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [
            {"name": "http", "port": 80}, {"name": "admin", "port": 81},
        ]}});
        let slice = json!({
            "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.42.0.3"]},
                {"addresses": ["10.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            ],
        });
        let services = named(vec![serde_json::from_value(service).unwrap()]);
        let slices = named(vec![serde_json::from_value(slice).unwrap()]);
        let sources = Sources { ingresses: ingresses.iter().collect(), services: &services, slices: &slices };
        build(&sources, &mut Kept::default(), || Upstream::new(Duration::from_secs(1)))
    }

    fn check(ingresses: &[Ingress], requests: &[&str], expected: &Expect) {
        let table = table(ingresses);
        let line = |request: &&str| {
            let (host, path) = request.split_at(request.find('/').unwrap());
            let found = table.find(host, path).map(|route| {
                let pod = route.upstream.pick(&[]).map_or("no pod".to_owned(), |pod| pod.address.to_string());
                let missing = route.missing.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                format!("{:?} {} -> {pod}{missing}", route.kind, route.path)
            });
            format!("{request}: {}\n", found.as_deref().unwrap_or("nothing"))
        };
        expected.assert_eq(&requests.iter().map(line).collect::<String>());
    }

    #[test]
    fn the_longest_path_of_the_most_exact_host_wins() {
        let ingress = ingress(
            "one",
            &[
                "a.localhost / Prefix web:80",
                "a.localhost /api Prefix web:http",
                "a.localhost /api Exact web:80",
                "a.localhost /api/v2/ Prefix web:80",
                "*.localhost /wild Prefix web:80",
                "- /any ImplementationSpecific web:80",
            ],
        );
        check(
            &[ingress],
            &[
                "a.localhost/",
                "a.localhost/api",
                "a.localhost/api/",
                "a.localhost/apis",
                "a.localhost/api/v2",
                "a.localhost/api/v2/x",
                "b.localhost/wild",
                "b.localhost/",
                "c.b.localhost/wild",
                "example.org/any/x",
                "example.org/",
            ],
            &expect![[r#"
                a.localhost/: Prefix / -> 10.42.0.3:8080
                a.localhost/api: Exact /api -> 10.42.0.3:8080
                a.localhost/api/: Prefix /api -> 10.42.0.3:8080
                a.localhost/apis: Prefix / -> 10.42.0.3:8080
                a.localhost/api/v2: Prefix /api/v2/ -> 10.42.0.3:8080
                a.localhost/api/v2/x: Prefix /api/v2/ -> 10.42.0.3:8080
                b.localhost/wild: Prefix /wild -> 10.42.0.3:8080
                b.localhost/: nothing
                c.b.localhost/wild: nothing
                example.org/any/x: Prefix /any -> 10.42.0.3:8080
                example.org/: nothing
            "#]],
        );
    }

    #[test]
    fn a_default_takes_the_rest() {
        let ingresses = [ingress("one", &["a.localhost /x Exact web:80", "default web:80"])];
        check(
            &ingresses,
            &["a.localhost/x", "a.localhost/y", "example.org/"],
            &expect![[r#"
                a.localhost/x: Exact /x -> 10.42.0.3:8080
                a.localhost/y: Prefix / -> 10.42.0.3:8080
                example.org/: Prefix / -> 10.42.0.3:8080
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let ingresses = [ingress("one", &["a / Prefix nobody:80", "b / Prefix web:82", "c / Prefix web:admin"])];
        check(
            &ingresses,
            &["a/", "b/", "c/"],
            &expect![[r#"
                a/: Prefix / -> no pod (service shop/nobody does not exist)
                b/: Prefix / -> no pod (service shop/web has no port 82)
                c/: Prefix / -> no pod
            "#]],
        );
    }

    #[test]
    fn connections_and_counts_outlive_a_table() {
        let (services, slices, ingress) = (BTreeMap::new(), BTreeMap::new(), ingress("one", &["a / Prefix web:80"]));
        let mut kept = Kept::default();
        let mut make = |ingresses: Vec<&Ingress>| {
            let sources = Sources { ingresses, services: &services, slices: &slices };
            build(&sources, &mut kept, || Upstream::new(Duration::from_secs(1)))
        };
        let (before, after) = (make(vec![&ingress]), make(vec![&ingress]));
        let (before, after) = (before.find("a", "/").unwrap(), after.find("a", "/").unwrap());
        assert!(Arc::ptr_eq(&before.upstream, &after.upstream) && Arc::ptr_eq(&before.counters, &after.counters));
        make(Vec::new());
        assert!(kept.upstreams.is_empty() && kept.counters.is_empty());
    }
}
