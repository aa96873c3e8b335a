//! Endpoints follow pods.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    cluster::{Cluster, eventually},
    deployments::{settled, web},
};

/// Addresses that take traffic, by the slices and by the older form.
async fn ready(cluster: &Cluster) -> (Vec<String>, Vec<String>) {
    let slices = cluster.list::<EndpointSlice>().await;
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true)));
    let mut sliced: Vec<String> = ready.flat_map(|endpoint| endpoint.addresses.clone()).collect();
    sliced.sort();
    let legacy = cluster.api::<Endpoints>().get_opt("web").await.unwrap();
    let subsets = legacy.and_then(|endpoints| endpoints.subsets).unwrap_or_default();
    let mut listed: Vec<String> =
        subsets.into_iter().flat_map(|subset| subset.addresses.unwrap_or_default()).map(|address| address.ip).collect();
    listed.sort();
    (sliced, listed)
}

#[tokio::test]
async fn endpoints_follow_pods_and_go_with_their_service() {
    let cluster = Cluster::start().await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}});
    cluster.create::<Service>(service).await;
    cluster.create::<Deployment>(web(3)).await;
    settled(&cluster, 3, "a").await;
    let all_ready = || async {
        let pods = cluster.running_pods().await;
        let mut addresses: Vec<String> = pods.into_iter().filter_map(|pod| pod.status?.pod_ip).collect();
        addresses.sort();
        ready(&cluster).await == (addresses.clone(), addresses)
    };
    eventually("three endpoints", || async { ready(&cluster).await.0.len() == 3 && all_ready().await }).await;
    let slice = cluster.list::<EndpointSlice>().await.remove(0);
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "web");
    assert_eq!(slice.endpoints[0].target_ref.as_ref().unwrap().kind.as_deref(), Some("Pod"));

    let unready = cluster.list::<Pod>().await.remove(0);
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let pods: Api<Pod> = cluster.api();
    pods.patch_status(&unready.name_any(), &Default::default(), &kube::api::Patch::Strategic(status)).await.unwrap();
    eventually("two endpoints", || async { ready(&cluster).await.0.len() == 2 && ready(&cluster).await.1.len() == 2 })
        .await;

    cluster.api::<Service>().delete("web", &DeleteParams::default()).await.unwrap();
    eventually("no endpoints", || async {
        cluster.list::<EndpointSlice>().await.is_empty() && cluster.list::<Endpoints>().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn endpoints_written_by_hand_are_mirrored_for_a_service_without_a_selector() {
    let cluster = Cluster::start().await;
    cluster.create::<Service>(json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})).await;
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "notReadyAddresses": [{"ip": "10.1.2.4"}, {"ip": "fd00::1"}],
        "ports": [{"port": 9, "protocol": "TCP"}]}]);
    cluster.create::<Endpoints>(json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "subsets": subsets})).await;
    let shown = || async {
        let mut shown = Vec::new();
        for slice in cluster.list::<EndpointSlice>().await {
            assert_eq!(
                slice.labels()["endpointslice.kubernetes.io/managed-by"],
                "endpointslicemirroring-controller.k8s.io"
            );
            assert_eq!((&*slice.labels()["kubernetes.io/service-name"], &*slice.labels()["a"]), ("web", "b"));
            let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| endpoint.conditions.as_ref()?.ready;
            shown.extend(
                slice.endpoints.iter().map(|endpoint| format!("{} {:?}", endpoint.addresses[0], ready(endpoint))),
            );
        }
        shown.sort();
        shown
    };
    let all = ["10.1.2.3 Some(true)", "10.1.2.4 Some(false)", "fd00::1 Some(false)"];
    eventually("the mirrored slices", || async { shown().await == all }).await;
    let fewer = json!({"subsets": [{"addresses": [{"ip": "10.1.2.4"}], "ports": [{"port": 9, "protocol": "TCP"}]}]});
    let api: Api<Endpoints> = cluster.api();
    api.patch("web", &Default::default(), &kube::api::Patch::Merge(fewer)).await.unwrap();
    eventually("the changed slice", || async { shown().await == ["10.1.2.4 Some(true)"] }).await;
    api.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("no slices", || async { shown().await.is_empty() }).await;
}
