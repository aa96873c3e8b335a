//! What cluster names mean, after the Kubernetes DNS-based service discovery specification (version 1.1.0). Pure.

use std::net::Ipv4Addr;

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT},
};

use crate::{
    cluster::{Cluster, Endpoint, ObjectName, Reach, Service, Slice, protocol_name},
    config::Config,
};

/// Short, since endpoints change: what the customary cluster DNS gives, too.
pub(crate) const TTL_S: u32 = 5;
/// Of the specification that this follows.
const SPECIFICATION_VERSION: &str = "1.1.0";

/// What there is to a name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one lives for the length of a look-up")]
pub(crate) enum Outcome {
    /// Not a cluster name.
    Elsewhere,
    /// The name does not exist.
    NoSuchName,
    /// The name exists; `answers` may be empty when it has no record of that type.
    Found { answers: Vec<Record>, additionals: Vec<Record> },
    /// The name stands for another one, which has to be looked up.
    Alias { record: Record, target: Name },
}

/// Looks names up in one state of the cluster.
pub(crate) struct Zone<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) config: &'a Config,
}

impl Zone<'_> {
    /// What `name` has of `kind`.
    pub(crate) fn look_up(&self, name: &Name, kind: RecordType) -> Outcome {
        let text = name.to_lowercase().to_utf8();
        let text = text.trim_end_matches('.');
        if let Some(ip) = reverse_address(text) {
            return if self.config.is_cluster(ip) { self.reverse(name, ip, kind) } else { Outcome::Elsewhere };
        }
        if text == self.config.cluster_domain {
            return self.apex(name, kind);
        }
        let Some(relative) = text.strip_suffix(&self.config.cluster_domain).and_then(|text| text.strip_suffix('.'))
        else {
            return Outcome::Elsewhere;
        };
        let labels: Vec<_> = relative.split('.').collect();
        match labels.as_slice() {
            ["svc" | "pod" | "dns"] => no_data(),
            ["ns", "dns"] => self.addresses(name, kind, [self.config.dns_ip]),
            ["dns-version"] => version(name, kind),
            [namespace, "svc" | "pod"] if self.cluster.has_namespace(namespace) => no_data(),
            [dashed, namespace, "pod"] if self.cluster.has_namespace(namespace) => match dashed_address(dashed) {
                Some(ip) => self.addresses(name, kind, [ip]),
                None => Outcome::NoSuchName,
            },
            [rest @ .., service, namespace, "svc"] => {
                self.service(name, kind, &ObjectName::new(*namespace, *service), rest)
            }
            _ => Outcome::NoSuchName,
        }
    }

    /// The record that goes with every answer that something is not there: how long that may be remembered.
    pub(crate) fn authority(&self) -> Option<Record> {
        let zone = self.name("")?;
        let soa = SOA::new(self.name("ns.dns.")?, self.name("hostmaster.")?, 1, 7200, 1800, 86_400, TTL_S);
        Some(Record::from_rdata(zone, TTL_S, RData::SOA(soa)))
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Outcome {
        match (kind, self.name("ns.dns.")) {
            (RecordType::SOA, _) => found(self.authority()),
            (RecordType::NS, Some(server)) => found([Record::from_rdata(name.clone(), TTL_S, RData::NS(NS(server)))]),
            _ => no_data(),
        }
    }

    /// `before` are the labels in front of the service's name.
    fn service(&self, name: &Name, kind: RecordType, object: &ObjectName, before: &[&str]) -> Outcome {
        let Some(service) = self.cluster.service(object) else { return Outcome::NoSuchName };
        if let ([], Reach::External(target)) = (before, &service.reach) {
            return alias(name, target);
        }
        match before {
            [] => self.service_itself(name, kind, object, service),
            [protocol] if protocol.starts_with('_') => {
                let known = service.ports.iter().any(|port| protocol[1..] == *protocol_name(port.protocol));
                if known { no_data() } else { Outcome::NoSuchName }
            }
            [endpoint] => {
                let ips: Vec<_> = self
                    .ready(object)
                    .map(|(_, it)| it)
                    .filter(|it| endpoint_label(it) == *endpoint)
                    .map(|it| it.ip)
                    .collect();
                self.addresses(name, kind, ips)
            }
            [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => self.port(name, kind, object, service, port, protocol),
                _ => Outcome::NoSuchName,
            },
            _ => Outcome::NoSuchName,
        }
    }

    fn service_itself(&self, name: &Name, kind: RecordType, object: &ObjectName, service: &Service) -> Outcome {
        match (kind, &service.reach) {
            (RecordType::SRV, _) => {
                let ports = service.ports.iter().map(|port| (port.name.as_str(), port.protocol));
                self.locations(name, object, service, &Vec::from_iter(ports))
            }
            (_, Reach::ClusterIp(ip)) => self.addresses(name, kind, [*ip]),
            _ => self.addresses(name, kind, self.ready(object).map(|(_, endpoint)| endpoint.ip)),
        }
    }

    fn port(
        &self,
        name: &Name,
        kind: RecordType,
        object: &ObjectName,
        service: &Service,
        port: &str,
        protocol: &str,
    ) -> Outcome {
        let wanted = service.ports.iter().find(|it| it.name == port && protocol_name(it.protocol) == protocol);
        match (wanted, kind) {
            (None, _) => Outcome::NoSuchName,
            (Some(wanted), RecordType::SRV) => {
                self.locations(name, object, service, &[(&wanted.name, wanted.protocol)])
            }
            (Some(_), _) => no_data(),
        }
    }

    /// SRV records: the service itself, or each endpoint of a headless one, with their addresses.
    fn locations(&self, name: &Name, object: &ObjectName, service: &Service, ports: &[(&str, u8)]) -> Outcome {
        let suffix = format!("{}.{}.svc.", object.name, object.namespace);
        let mut places = Vec::new();
        for (port_name, protocol) in ports {
            if let Reach::ClusterIp(ip) = service.reach {
                let port = service.ports.iter().find(|it| it.name == *port_name && it.protocol == *protocol);
                places.extend(port.map(|port| (port.port, suffix.clone(), ip)));
            } else {
                let of_port = |slice: &&Slice| {
                    slice.ports.iter().find(|it| it.name == *port_name && it.protocol == *protocol).map(|it| it.port)
                };
                let endpoints = self.ready(object).filter_map(|(slice, endpoint)| Some((of_port(&slice)?, endpoint)));
                places.extend(endpoints.map(|(port, it)| (port, format!("{}.{suffix}", endpoint_label(it)), it.ip)));
            }
        }
        if places.is_empty() {
            return Outcome::NoSuchName;
        }
        let weight = u16::try_from(100 / places.len()).unwrap_or(1).max(1);
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for (port, target, ip) in places {
            let Some(target) = self.name(&target) else { continue };
            answers.push(Record::from_rdata(
                name.clone(),
                TTL_S,
                RData::SRV(SRV::new(0, weight, port, target.clone())),
            ));
            additionals.push(Record::from_rdata(target, TTL_S, RData::A(A(ip))));
        }
        Outcome::Found { answers, additionals }
    }

    fn reverse(&self, name: &Name, ip: Ipv4Addr, kind: RecordType) -> Outcome {
        let service = self.cluster.services().find(|(_, service)| service.reach == Reach::ClusterIp(ip));
        let targets: Vec<_> = match service {
            Some((object, _)) => vec![format!("{}.{}.svc.", object.name, object.namespace)],
            None => self.endpoint_names(ip),
        };
        if targets.is_empty() {
            return Outcome::NoSuchName;
        }
        if kind != RecordType::PTR {
            return no_data();
        }
        let names = targets.iter().filter_map(|target| self.name(target));
        found(names.map(|target| Record::from_rdata(name.clone(), TTL_S, RData::PTR(PTR(target)))))
    }

    fn endpoint_names(&self, ip: Ipv4Addr) -> Vec<String> {
        let endpoints = self.cluster.all_slices().flat_map(|slice| slice.endpoints.iter().map(move |it| (slice, it)));
        let named = endpoints.filter(|(_, endpoint)| endpoint.ip == ip && endpoint.ready);
        named
            .map(|(slice, it)| {
                format!("{}.{}.{}.svc.", endpoint_label(it), slice.service.name, slice.service.namespace)
            })
            .collect()
    }

    fn ready(&self, object: &ObjectName) -> impl Iterator<Item = (&Slice, &Endpoint)> {
        let endpoints = self.cluster.slices(object).flat_map(|slice| slice.endpoints.iter().map(move |it| (slice, it)));
        endpoints.filter(|(_, endpoint)| endpoint.ready)
    }

    /// The specification asks for "no such name" where a headless service has no ready endpoint.
    fn addresses(&self, name: &Name, kind: RecordType, ips: impl IntoIterator<Item = Ipv4Addr>) -> Outcome {
        let mut ips: Vec<_> = ips.into_iter().collect();
        ips.sort_unstable();
        ips.dedup();
        if ips.is_empty() {
            return Outcome::NoSuchName;
        }
        if !matches!(kind, RecordType::A | RecordType::ANY) {
            return no_data();
        }
        found(ips.into_iter().map(|ip| Record::from_rdata(name.clone(), TTL_S, RData::A(A(ip)))))
    }

    /// A name of the zone; `relative` is empty or ends in a dot.
    fn name(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(format!("{relative}{}.", self.config.cluster_domain)).ok()
    }
}

fn found(answers: impl IntoIterator<Item = Record>) -> Outcome {
    Outcome::Found { answers: answers.into_iter().collect(), additionals: Vec::new() }
}

fn no_data() -> Outcome {
    found([])
}

fn alias(name: &Name, target: &str) -> Outcome {
    match Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) {
        Ok(target) => Outcome::Alias {
            record: Record::from_rdata(name.clone(), TTL_S, RData::CNAME(CNAME(target.clone()))),
            target,
        },
        Err(_) => no_data(),
    }
}

fn version(name: &Name, kind: RecordType) -> Outcome {
    match kind {
        RecordType::TXT => {
            let text = TXT::new(vec![SPECIFICATION_VERSION.to_owned()]);
            found([Record::from_rdata(name.clone(), TTL_S, RData::TXT(text))])
        }
        _ => no_data(),
    }
}

/// The label of an endpoint below its service's name.
fn endpoint_label(endpoint: &Endpoint) -> String {
    endpoint.hostname.clone().unwrap_or_else(|| endpoint.ip.to_string().replace('.', "-"))
}

fn dashed_address(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}

fn reverse_address(text: &str) -> Option<Ipv4Addr> {
    let reversed: Ipv4Addr = text.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [d, c, b, a] = reversed.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let mut service = |name: &str, spec: serde_json::Value| {
            let object = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
            cluster.put_service(&serde_json::from_value(object).unwrap());
        };
        let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        service("web", json!({"clusterIP": "10.43.0.7", "ports": ports}));
        service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
        service("empty", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
        service("out", json!({"type": "ExternalName", "externalName": "example.org"}));
        let slice = json!({
            "metadata": {"namespace": "shop", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "ports": [{"name": "sql", "port": 5432}],
            "endpoints": [
                {"addresses": ["10.42.0.9"], "hostname": "db-0"},
                {"addresses": ["10.42.0.8"]},
                {"addresses": ["10.42.0.7"], "conditions": {"ready": false}},
            ],
        });
        cluster.put_slice(&serde_json::from_value(slice).unwrap());
        cluster
    }

    fn check(question: &str, expected: &Expect) {
        let (name, kind) = question.split_once(' ').unwrap_or((question, "A"));
        let (cluster, config) = (cluster(), Config::default());
        let zone = Zone { cluster: &cluster, config: &config };
        let outcome = zone.look_up(&Name::from_ascii(name).unwrap(), kind.parse().unwrap());
        let lines = |records: Vec<Record>| records.iter().map(|record| format!("{record}\n")).collect::<String>();
        let text = match outcome {
            Outcome::Found { answers, .. } if answers.is_empty() => "no data\n".to_owned(),
            Outcome::Found { answers, additionals } if additionals.is_empty() => lines(answers),
            Outcome::Found { answers, additionals } => format!("{}additional\n{}", lines(answers), lines(additionals)),
            Outcome::Alias { record, target } => format!("{}look up {target}\n", lines(vec![record])),
            other => format!("{other:?}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn services_have_their_virtual_address() {
        check(
            "web.shop.svc.cluster.local.",
            &expect![[r#"
            web.shop.svc.cluster.local. 5 IN A 10.43.0.7
        "#]],
        );
        check(
            "WEB.shop.SVC.cluster.local.",
            &expect![[r#"
            WEB.shop.SVC.cluster.local. 5 IN A 10.43.0.7
        "#]],
        );
        check(
            "web.shop.svc.cluster.local. AAAA",
            &expect![[r#"
            no data
        "#]],
        );
        check(
            "nobody.shop.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "web.other.svc.cluster.local. AAAA",
            &expect![[r#"
            NoSuchName
        "#]],
        );
    }

    #[test]
    fn headless_services_have_their_ready_endpoints() {
        check(
            "db.shop.svc.cluster.local.",
            &expect![[r#"
            db.shop.svc.cluster.local. 5 IN A 10.42.0.8
            db.shop.svc.cluster.local. 5 IN A 10.42.0.9
        "#]],
        );
        check(
            "db-0.db.shop.svc.cluster.local.",
            &expect![[r#"
            db-0.db.shop.svc.cluster.local. 5 IN A 10.42.0.9
        "#]],
        );
        check(
            "10-42-0-8.db.shop.svc.cluster.local.",
            &expect![[r#"
            10-42-0-8.db.shop.svc.cluster.local. 5 IN A 10.42.0.8
        "#]],
        );
        check(
            "db-9.db.shop.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "empty.shop.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
    }

    #[test]
    fn ports_are_found_by_srv() {
        check(
            "_http._tcp.web.shop.svc.cluster.local. SRV",
            &expect![[r#"
            _http._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 100 80 web.shop.svc.cluster.local.
            additional
            web.shop.svc.cluster.local. 5 IN A 10.43.0.7
        "#]],
        );
        check(
            "web.shop.svc.cluster.local. SRV",
            &expect![[r#"
            web.shop.svc.cluster.local. 5 IN SRV 0 50 80 web.shop.svc.cluster.local.
            web.shop.svc.cluster.local. 5 IN SRV 0 50 53 web.shop.svc.cluster.local.
            additional
            web.shop.svc.cluster.local. 5 IN A 10.43.0.7
            web.shop.svc.cluster.local. 5 IN A 10.43.0.7
        "#]],
        );
        check(
            "_sql._tcp.db.shop.svc.cluster.local. SRV",
            &expect![[r#"
            _sql._tcp.db.shop.svc.cluster.local. 5 IN SRV 0 50 5432 db-0.db.shop.svc.cluster.local.
            _sql._tcp.db.shop.svc.cluster.local. 5 IN SRV 0 50 5432 10-42-0-8.db.shop.svc.cluster.local.
            additional
            db-0.db.shop.svc.cluster.local. 5 IN A 10.42.0.9
            10-42-0-8.db.shop.svc.cluster.local. 5 IN A 10.42.0.8
        "#]],
        );
        check(
            "_http._udp.web.shop.svc.cluster.local. SRV",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "_http._tcp.web.shop.svc.cluster.local. A",
            &expect![[r#"
            no data
        "#]],
        );
        check(
            "_tcp.web.shop.svc.cluster.local. A",
            &expect![[r#"
            no data
        "#]],
        );
    }

    #[test]
    fn external_names_are_aliases() {
        check(
            "out.shop.svc.cluster.local.",
            &expect![[r#"
            out.shop.svc.cluster.local. 5 IN CNAME example.org.
            look up example.org.
        "#]],
        );
        check(
            "x.out.shop.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
    }

    #[test]
    fn addresses_have_names() {
        check(
            "7.0.43.10.in-addr.arpa. PTR",
            &expect![[r#"
            7.0.43.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.
        "#]],
        );
        check(
            "9.0.42.10.in-addr.arpa. PTR",
            &expect![[r#"
            9.0.42.10.in-addr.arpa. 5 IN PTR db-0.db.shop.svc.cluster.local.
        "#]],
        );
        check(
            "8.0.42.10.in-addr.arpa. PTR",
            &expect![[r#"
            8.0.42.10.in-addr.arpa. 5 IN PTR 10-42-0-8.db.shop.svc.cluster.local.
        "#]],
        );
        check(
            "77.0.42.10.in-addr.arpa. PTR",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "1.2.0.192.in-addr.arpa. PTR",
            &expect![[r#"
            Elsewhere
        "#]],
        );
    }

    #[test]
    fn pods_have_dashed_names() {
        check(
            "10-42-0-8.shop.pod.cluster.local.",
            &expect![[r#"
            10-42-0-8.shop.pod.cluster.local. 5 IN A 10.42.0.8
        "#]],
        );
        check(
            "10-42-0.shop.pod.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "10-42-0-8.nowhere.pod.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
    }

    #[test]
    fn the_zone_describes_itself() {
        check(
            "cluster.local. SOA",
            &expect![[r#"
            cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
        "#]],
        );
        check(
            "cluster.local. NS",
            &expect![[r#"
            cluster.local. 5 IN NS ns.dns.cluster.local.
        "#]],
        );
        check(
            "cluster.local.",
            &expect![[r#"
            no data
        "#]],
        );
        check(
            "shop.svc.cluster.local.",
            &expect![[r#"
            no data
        "#]],
        );
        check(
            "nowhere.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
        check(
            "dns-version.cluster.local. TXT",
            &expect![[r#"
            dns-version.cluster.local. 5 IN TXT 1.1.0
        "#]],
        );
    }

    #[test]
    fn other_names_are_elsewhere() {
        check(
            "example.org.",
            &expect![[r#"
            Elsewhere
        "#]],
        );
        check(
            "notcluster.local.",
            &expect![[r#"
            Elsewhere
        "#]],
        );
        check(
            "example.org.shop.svc.cluster.local.",
            &expect![[r#"
            NoSuchName
        "#]],
        );
    }
}
