//! The texts of `/etc/hosts` and `/etc/resolv.conf`, and the pod's host name. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

/// A host name may have this many bytes.
const HOSTNAME_BYTES: usize = 63;
/// What a resolver reads of `search`.
const MAX_SEARCHES: usize = 32;
const MAX_NAMESERVERS: usize = 3;

/// The cluster's names.
#[derive(Debug, Clone)]
pub struct Dns {
    pub cluster_ip: IpAddr,
    pub cluster_domain: String,
    /// The node's own `/etc/resolv.conf`.
    pub node_resolv_conf: String,
}

fn uses_host_network(spec: &core::PodSpec) -> bool {
    spec.host_network == Some(true)
}

/// The pod's host name: the one it asks for, or its own name cut to what a host name may be.
pub fn hostname(pod: &core::Pod, node_name: &str, cluster_domain: &str) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    if let Some(hostname) = spec.hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return hostname.to_owned();
    }
    if uses_host_network(spec) {
        return node_name.to_owned();
    }
    let short = short_hostname(pod, spec);
    match domain(pod, spec, cluster_domain).filter(|_| spec.set_hostname_as_fqdn == Some(true)) {
        Some(domain) => format!("{short}.{domain}"),
        None => short,
    }
}

fn short_hostname(pod: &core::Pod, spec: &core::PodSpec) -> String {
    match spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        Some(hostname) => hostname.to_owned(),
        None => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let cut = name.get(..HOSTNAME_BYTES).unwrap_or(name);
            cut.trim_end_matches(['-', '.']).to_owned()
        }
    }
}

fn domain(pod: &core::Pod, spec: &core::PodSpec, cluster_domain: &str) -> Option<String> {
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Some(format!("{subdomain}.{namespace}.svc.{cluster_domain}"))
}

/// The pod's `/etc/hosts`; `node_hosts` is the node's own, for pods that share its network.
pub fn hosts(pod: &core::Pod, ips: &[IpAddr], cluster_domain: &str, node_hosts: &str) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    let mut text = if uses_host_network(spec) {
        format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let name = short_hostname(pod, spec);
        for ip in ips {
            text += &match domain(pod, spec, cluster_domain) {
                Some(domain) => format!("{ip}\t{name}.{domain}\t{name}\n"),
                None => format!("{ip}\t{name}\n"),
            };
        }
        text
    };
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text += "\n# Entries added by HostAliases.\n";
        for alias in aliases {
            text += &format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
        }
    }
    text
}

#[derive(Default)]
struct ResolvConf {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.nameservers.extend(words.next().map(str::to_owned)),
                Some("search") => conf.searches = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| {
                    let (name, value) = option.split_once(':').map_or((option, None), |(n, v)| (n, Some(v.to_owned())));
                    conf.options.push((name.to_owned(), value));
                }),
                _ => {}
            }
        }
        conf
    }

    fn add(&mut self, config: &core::PodDNSConfig) {
        let add_all = |list: &mut Vec<String>, more: &Option<Vec<String>>| {
            for text in more.iter().flatten() {
                if !list.contains(text) {
                    list.push(text.clone());
                }
            }
        };
        add_all(&mut self.nameservers, &config.nameservers);
        add_all(&mut self.searches, &config.searches);
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            self.options.retain(|(old, _)| old != name);
            self.options.push((name.clone(), option.value.clone()));
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let searches: Vec<_> = self.searches.iter().take(MAX_SEARCHES).map(String::as_str).collect();
            text += &format!("search {}\n", searches.join(" "));
        }
        for nameserver in self.nameservers.iter().take(MAX_NAMESERVERS) {
            text += &format!("nameserver {nameserver}\n");
        }
        if !self.options.is_empty() {
            let options: Vec<_> = self
                .options
                .iter()
                .map(|(name, value)| value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")))
                .collect();
            text += &format!("options {}\n", options.join(" "));
        }
        text
    }
}

/// The pod's `/etc/resolv.conf`.
pub fn resolv_conf(pod: &core::Pod, dns: &Dns) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    let mut conf = match (spec.dns_policy.as_deref().unwrap_or("ClusterFirst"), uses_host_network(spec)) {
        ("None", _) => ResolvConf::default(),
        ("ClusterFirst", false) | ("ClusterFirstWithHostNet", _) => cluster_first(pod, dns),
        _ => of_node(dns),
    };
    if let Some(config) = &spec.dns_config {
        conf.add(config);
    }
    conf.text()
}

fn cluster_first(pod: &core::Pod, dns: &Dns) -> ResolvConf {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &dns.cluster_domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    for search in ResolvConf::parse(&dns.node_resolv_conf).searches {
        if search != "." && !searches.contains(&search) {
            searches.push(search);
        }
    }
    ResolvConf {
        nameservers: vec![dns.cluster_ip.to_string()],
        searches,
        options: vec![("ndots".to_owned(), Some("5".to_owned()))],
    }
}

/// The node's own, but a resolver on the host's loopback cannot be reached from a pod: the cluster's asks it instead.
fn of_node(dns: &Dns) -> ResolvConf {
    let mut conf = ResolvConf::parse(&dns.node_resolv_conf);
    conf.nameservers.retain(|server| server.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback()));
    if conf.nameservers.is_empty() {
        conf.nameservers.push(dns.cluster_ip.to_string());
    }
    conf
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{Dns, hostname, hosts, resolv_conf};

    fn check(spec: Value, expected: Expect) {
        let mut pod = json!({ "metadata": { "name": "web-0", "namespace": "shop" }, "spec": { "containers": [] } });
        pod["spec"].as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let pod = serde_json::from_value(pod).expect("a pod");
        let dns = Dns {
            cluster_ip: "10.43.0.10".parse().expect("an address"),
            cluster_domain: "cluster.local".into(),
            node_resolv_conf: "# by hand\nnameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n".into(),
        };
        let ips = ["10.42.0.5".parse().expect("an address")];
        let hosts = hosts(&pod, &ips, "cluster.local", "127.0.0.1 localhost node\n");
        let changing: Vec<_> =
            hosts.lines().filter(|line| !line.contains("ip6-") && *line != "127.0.0.1\tlocalhost").collect();
        let shown = format!(
            "{}\n{}\n{}",
            hostname(&pod, "node", "cluster.local"),
            changing.join("\n"),
            resolv_conf(&pod, &dns)
        );
        expected.assert_eq(&shown);
    }

    #[test]
    fn an_ordinary_pod() {
        check(
            json!({}),
            expect![[r#"
                web-0
                # Kubernetes-managed hosts file.
                10.42.0.5	web-0
                search shop.svc.cluster.local svc.cluster.local cluster.local lan
                nameserver 10.43.0.10
                options ndots:5
            "#]],
        );
    }

    #[test]
    fn a_pod_with_a_place_in_the_dns() {
        check(
            json!({ "hostname": "db", "subdomain": "sql", "setHostnameAsFQDN": true,
                "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["foo", "bar"] }],
                "dnsConfig": { "nameservers": ["9.9.9.9"], "searches": ["corp"], "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }] } }),
            expect![[r#"
                db.sql.shop.svc.cluster.local
                # Kubernetes-managed hosts file.
                10.42.0.5	db.sql.shop.svc.cluster.local	db

                # Entries added by HostAliases.
                1.2.3.4	foo	bar
                search shop.svc.cluster.local svc.cluster.local cluster.local lan corp
                nameserver 10.43.0.10
                nameserver 9.9.9.9
                options ndots:2 edns0
            "#]],
        );
    }

    #[test]
    fn pods_of_the_node_and_pods_that_bring_their_own() {
        check(
            json!({ "hostNetwork": true }),
            expect![[r#"
                node
                # Kubernetes-managed hosts file (host network).
                127.0.0.1 localhost node
                search lan
                nameserver 10.43.0.10
                options edns0 trust-ad
            "#]],
        );
        check(
            json!({ "dnsPolicy": "None", "dnsConfig": { "nameservers": ["9.9.9.9"] } }),
            expect![[r#"
                web-0
                # Kubernetes-managed hosts file.
                10.42.0.5	web-0
                nameserver 9.9.9.9
            "#]],
        );
    }
}
