//! Pods and a service in, slices and Endpoints out.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use serde_json::{Value, json};

use super::{backends, legacy, slices};

fn pod(name: &str, ip: &str, ready: bool, more: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    for (part, value) in more.as_object().into_iter().flatten() {
        for (key, value) in value.as_object().into_iter().flatten() {
            pod[part][key] = value.clone();
        }
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn service(spec: Value) -> Service {
    let mut full = json!({"selector": {"app": "web"}, "clusterIP": "10.43.0.7",
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        full[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop", "uid": "s"}, "spec": full}))
        .expect("a service")
}

fn show_slice(slice: &EndpointSlice) -> String {
    let ports =
        slice.ports.iter().flatten().map(|port| format!("{}", port.port.unwrap_or(0))).collect::<Vec<_>>().join(",");
    let mut text = format!("{} ports [{ports}]\n", slice.metadata.name.as_deref().unwrap_or("new slice"));
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let flags =
            [(conditions.ready, " ready"), (conditions.serving, " serving"), (conditions.terminating, " terminating")];
        let flags: String = flags.iter().filter(|(set, _)| *set == Some(true)).map(|(_, name)| *name).collect();
        text += &format!("  {}{flags} {}\n", endpoint.addresses.join(","), endpoint.hostname.as_deref().unwrap_or(""));
    }
    text
}

fn check(service: &Service, pods: &[Arc<Pod>], expected: Expect) {
    let backends = backends(service, pods);
    let mut text: String =
        slices::plan(&[], slices::wanted(service, &backends, |_| None)).create.iter().map(show_slice).collect();
    for subset in legacy::wanted(service, &backends).subsets.iter().flatten() {
        let ips = |addresses: &Option<Vec<_>>| {
            let ips = addresses
                .iter()
                .flatten()
                .map(|address: &k8s_openapi::api::core::v1::EndpointAddress| address.ip.clone());
            ips.collect::<Vec<_>>().join(",")
        };
        let ports = subset.ports.iter().flatten().map(|port| port.port.to_string()).collect::<Vec<_>>().join(",");
        text += &format!(
            "subset [{}] not ready [{}] ports [{ports}]\n",
            ips(&subset.addresses),
            ips(&subset.not_ready_addresses)
        );
    }
    expected.assert_eq(&text.replace(" \n", "\n"));
}

#[test]
fn pods_are_listed_with_what_they_can_do() {
    let pods = [
        pod("a", "10.42.0.2", true, json!({})),
        pod("b", "10.42.0.3", false, json!({})),
        pod("c", "10.42.0.4", true, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        pod("d", "10.42.0.5", false, json!({"status": {"phase": "Succeeded"}})),
        pod("e", "10.42.0.6", true, json!({"metadata": {"labels": {"app": "other"}}})),
        pod("f", "", true, json!({"status": {"podIP": null}})),
    ];
    check(
        &service(json!({})),
        &pods,
        expect![[r#"
        new slice ports [8080]
          10.42.0.2 ready serving
          10.42.0.3
          10.42.0.4 serving terminating
        subset [10.42.0.2] not ready [10.42.0.3] ports [8080]
    "#]],
    );
    check(
        &service(json!({"publishNotReadyAddresses": true})),
        &pods,
        expect![[r#"
        new slice ports [8080]
          10.42.0.2 ready serving
          10.42.0.3 ready
          10.42.0.4 ready serving terminating
        subset [10.42.0.2,10.42.0.3,10.42.0.4] not ready [] ports [8080]
    "#]],
    );
    check(
        &service(json!({})),
        &[],
        expect![[r#"
        new slice ports []
    "#]],
    );
}

#[test]
fn a_named_port_may_differ_from_pod_to_pod() {
    let ports = |number: i32| json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": number}]}]}});
    let pods = [
        pod("a", "10.42.0.2", true, ports(8080)),
        pod("b", "10.42.0.3", true, ports(9090)),
        pod("c", "10.42.0.4", true, json!({"spec": {"containers": [{"name": "c"}]}})),
    ];
    check(
        &service(json!({})),
        &pods,
        expect![[r#"
            new slice ports []
              10.42.0.4 ready serving
            new slice ports [8080]
              10.42.0.2 ready serving
            new slice ports [9090]
              10.42.0.3 ready serving
            subset [10.42.0.2] not ready [] ports [8080]
            subset [10.42.0.3] not ready [] ports [9090]
        "#]],
    );
}

#[test]
fn a_headless_service_names_its_pods() {
    let own_name = json!({"spec": {"hostname": "web-0", "subdomain": "web"}});
    let other = json!({"spec": {"hostname": "web-1", "subdomain": "elsewhere"}});
    let pods = [pod("a", "10.42.0.2", true, own_name), pod("b", "10.42.0.3", true, other)];
    check(
        &service(json!({"clusterIP": "None", "ports": null})),
        &pods,
        expect![[r#"
        new slice ports []
          10.42.0.2 ready serving web-0
          10.42.0.3 ready serving
        subset [10.42.0.2,10.42.0.3] not ready [] ports []
    "#]],
    );
}

#[test]
fn slices_change_as_little_as_possible() {
    let service = service(json!({}));
    let many: Vec<Arc<Pod>> =
        (0..150).map(|n| pod(&format!("p{n:03}"), &format!("10.42.1.{n}"), true, json!({}))).collect();
    let wanted = |pods: &[Arc<Pod>]| slices::wanted(&service, &backends(&service, pods), |_| None);
    let created = slices::plan(&[], wanted(&many)).create;
    assert_eq!(created.iter().map(|slice| slice.endpoints.len()).collect::<Vec<_>>(), [100, 50]);
    let existing: Vec<Arc<EndpointSlice>> = created
        .into_iter()
        .enumerate()
        .map(|(number, mut slice)| {
            slice.metadata.name = Some(format!("web-{number}"));
            Arc::new(slice)
        })
        .collect();
    let names = |plan: &slices::Changes| {
        let updated: Vec<&str> = plan.update.iter().filter_map(|(slice, _)| slice.metadata.name.as_deref()).collect();
        (plan.create.len(), updated.join(","), plan.delete.len())
    };
    assert_eq!(names(&slices::plan(&existing, wanted(&many))), (0, String::new(), 0), "nothing changed");
    assert_eq!(names(&slices::plan(&existing, wanted(&many[..149]))), (0, "web-1".to_owned(), 0));
    assert_eq!(names(&slices::plan(&existing, wanted(&many[..100]))), (0, String::new(), 1));
    assert_eq!(names(&slices::plan(&existing, wanted(&many[100..]))), (0, String::new(), 1));
    assert_eq!(names(&slices::plan(&existing, wanted(&[]))), (0, "web-0".to_owned(), 1), "one empty slice stays");
}
