//! The downward API: what a pod may know about itself. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as core;

use super::ConfigError;
use crate::quantity::{self, ResourceList};

/// What the downward API tells beside the object itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub node_name: String,
    pub host_ips: Vec<IpAddr>,
    pub pod_ips: Vec<IpAddr>,
    /// What limits default to.
    pub allocatable: ResourceList,
}

/// The value of a `fieldRef`.
pub fn field(pod: &core::Pod, facts: &Facts, path: &str) -> Result<String, ConfigError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(ConfigError::FieldPath(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => format_map(metadata.labels.as_ref()),
        "metadata.annotations" => format_map(metadata.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => join(&facts.host_ips),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => join(&facts.pod_ips),
        other => return Err(ConfigError::FieldPath(other.to_owned())),
    })
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn join(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `metadata.labels['key']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as lines of `key="value"`, as the downward API volume shows it.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`, in units of its divisor, rounded up.
pub fn resource(
    pod: &core::Pod,
    facts: &Facts,
    selector: &core::ResourceFieldSelector,
    own: &str,
) -> Result<String, ConfigError> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let spec = pod.spec.as_ref().ok_or_else(|| ConfigError::NoContainer(name.to_owned()))?;
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let container =
        containers.find(|container| container.name == name).ok_or_else(|| ConfigError::NoContainer(name.to_owned()))?;
    let (list, resource) =
        selector.resource.split_once('.').ok_or_else(|| ConfigError::Resource(selector.resource.clone()))?;
    let resources = container.resources.as_ref();
    let value = match list {
        "limits" => quantity::milli_of(resources.and_then(|r| r.limits.as_ref()), resource)
            .filter(|value| *value > 0)
            .or_else(|| quantity::milli_of(Some(&facts.allocatable), resource)),
        "requests" => quantity::milli_of(resources.and_then(|r| r.requests.as_ref()), resource),
        _ => return Err(ConfigError::Resource(selector.resource.clone())),
    };
    let divisor = selector.divisor.as_ref().and_then(quantity::milli).filter(|value| *value > 0).unwrap_or(1000);
    Ok(value.unwrap_or(0).div_ceil(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::api::resource::Quantity};

    use super::{Facts, field, resource};

    fn pod() -> core::Pod {
        serde_json::from_str(
            r#"{"metadata":{"name":"web-1","namespace":"shop","uid":"u1","labels":{"app":"web","tier":"a\"b"}},
            "spec":{"serviceAccountName":"sa","containers":[{"name":"a","resources":{"limits":{"cpu":"1500m"},
            "requests":{"memory":"100Mi"}}}]}}"#,
        )
        .expect("a pod")
    }

    fn facts() -> Facts {
        Facts {
            node_name: "n1".into(),
            host_ips: vec!["10.42.0.1".parse().expect("an address")],
            pod_ips: vec!["10.42.0.7".parse().expect("an address")],
            allocatable: [("memory".to_owned(), Quantity("2Gi".into()))].into(),
        }
    }

    #[test]
    fn fields() {
        let shown: Vec<_> = [
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "metadata.labels['app']",
            "metadata.labels['absent']",
            "metadata.labels",
            "metadata.annotations",
            "spec.nodeName",
            "spec.serviceAccountName",
            "status.hostIP",
            "status.podIPs",
            "status.phase",
        ]
        .into_iter()
        .map(|path| format!("{path}: {:?}", field(&pod(), &facts(), path)))
        .collect();
        expect![[r#"
            metadata.name: Ok("web-1")
            metadata.namespace: Ok("shop")
            metadata.uid: Ok("u1")
            metadata.labels['app']: Ok("web")
            metadata.labels['absent']: Ok("")
            metadata.labels: Ok("app=\"web\"\ntier=\"a\\\"b\"")
            metadata.annotations: Ok("")
            spec.nodeName: Ok("n1")
            spec.serviceAccountName: Ok("sa")
            status.hostIP: Ok("10.42.0.1")
            status.podIPs: Ok("10.42.0.7")
            status.phase: Err(FieldPath("status.phase"))"#]]
        .assert_eq(&shown.join("\n"));
    }

    #[test]
    fn resources_round_up_and_default_to_the_node() {
        let value = |name: &str, divisor: Option<&str>| {
            let selector = core::ResourceFieldSelector {
                resource: name.to_owned(),
                divisor: divisor.map(|divisor| Quantity(divisor.to_owned())),
                container_name: None,
            };
            resource(&pod(), &facts(), &selector, "a").map_err(|error| error.to_string())
        };
        assert_eq!(value("limits.cpu", None), Ok("2".into()));
        assert_eq!(value("limits.cpu", Some("1m")), Ok("1500".into()));
        assert_eq!(value("limits.memory", Some("1Mi")), Ok("2048".into()));
        assert_eq!(value("requests.memory", None), Ok("104857600".into()));
        assert_eq!(value("requests.cpu", None), Ok("0".into()));
        assert_eq!(value("uses.cpu", None), Err("unsupported container resource : uses.cpu".into()));
    }
}
