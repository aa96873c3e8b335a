//! The environment variables that tell a container where services are, as Docker links once did. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1 as core;

/// Variables of the services of `namespace` (only where `links`), and always of `default/kubernetes`.
pub fn variables(services: &[Arc<core::Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // The pod's own namespace wins over the service every pod gets.
    let relevant = |service: &&Arc<core::Service>, own: bool| {
        let (name, in_namespace) = (service.metadata.name.as_deref(), service.metadata.namespace.as_deref());
        if own {
            links && in_namespace == Some(namespace)
        } else {
            name == Some("kubernetes") && in_namespace == Some("default")
        }
    };
    for own in [false, true] {
        for service in services.iter().filter(|service| relevant(service, own)) {
            of_service(service, &mut found);
        }
    }
    found
}

fn of_service(service: &core::Service, found: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let name = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let mut set = |suffix: &str, value: String| {
        found.insert(format!("{name}_{suffix}"), value);
    };
    set("SERVICE_HOST", ip.to_owned());
    set("SERVICE_PORT", first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            set(&format!("SERVICE_PORT_{}", variable_name(port_name)), port.port.to_string());
        }
    }
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            set("PORT", url.clone());
        }
        let prefix = format!("PORT_{}_{}", port.port, protocol.to_uppercase());
        set(&prefix, url);
        set(&format!("{prefix}_PROTO"), protocol.to_lowercase());
        set(&format!("{prefix}_PORT"), port.port.to_string());
        set(&format!("{prefix}_ADDR"), ip.to_owned());
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;

    use super::variables;

    #[test]
    fn links() {
        let service = |json: &str| Arc::new(serde_json::from_str(json).expect("a service"));
        let services = [
            service(
                r#"{"metadata":{"name":"my-db","namespace":"shop"},"spec":{"clusterIP":"10.43.0.9",
                "ports":[{"name":"sql","port":5432},{"name":"adm-in","port":53,"protocol":"UDP"}]}}"#,
            ),
            service(
                r#"{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.43.0.1","ports":[{"port":443}]}}"#,
            ),
            service(
                r#"{"metadata":{"name":"headless","namespace":"shop"},"spec":{"clusterIP":"None","ports":[{"port":1}]}}"#,
            ),
            service(
                r#"{"metadata":{"name":"other","namespace":"default"},"spec":{"clusterIP":"10.43.0.2","ports":[{"port":1}]}}"#,
            ),
        ];
        let lines: Vec<_> =
            variables(&services, "shop", true).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        expect![[r#"
            KUBERNETES_PORT=tcp://10.43.0.1:443
            KUBERNETES_PORT_443_TCP=tcp://10.43.0.1:443
            KUBERNETES_PORT_443_TCP_ADDR=10.43.0.1
            KUBERNETES_PORT_443_TCP_PORT=443
            KUBERNETES_PORT_443_TCP_PROTO=tcp
            KUBERNETES_SERVICE_HOST=10.43.0.1
            KUBERNETES_SERVICE_PORT=443
            MY_DB_PORT=tcp://10.43.0.9:5432
            MY_DB_PORT_53_UDP=udp://10.43.0.9:53
            MY_DB_PORT_53_UDP_ADDR=10.43.0.9
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_5432_TCP=tcp://10.43.0.9:5432
            MY_DB_PORT_5432_TCP_ADDR=10.43.0.9
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_SERVICE_HOST=10.43.0.9
            MY_DB_SERVICE_PORT=5432
            MY_DB_SERVICE_PORT_ADM_IN=53
            MY_DB_SERVICE_PORT_SQL=5432"#]]
        .assert_eq(&lines.join("\n"));
        assert!(variables(&services, "shop", false).keys().all(|name| name.starts_with("KUBERNETES_")));
    }
}
