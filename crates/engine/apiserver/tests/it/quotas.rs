//! Quotas and the standards pods are held to: what a namespace asks of what is in it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ResourceQuota};
use kube::{
    Api, Error,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{client, server};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn used(quotas: &Api<ResourceQuota>, wanted: Value) {
    let begun = Instant::now();
    loop {
        let quota = serde_json::to_value(quotas.get("q").await.unwrap()).unwrap();
        if quota["status"]["used"] == wanted {
            assert_eq!(quota["status"]["hard"], quota["spec"]["hard"]);
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{quota}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_quota_tells_what_is_used() {
    let client = client(&server().await);
    let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
    let hard = json!({"configmaps": "2", "requests.cpu": "1", "count/deployments.apps": "3"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    quotas.create(&PostParams::default(), &typed(quota)).await.unwrap();
    used(&quotas, json!({"configmaps": "0", "requests.cpu": "0", "count/deployments.apps": "0"})).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map = |name: &str| typed::<ConfigMap>(json!({"metadata": {"name": name}}));
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    maps.create(&PostParams::default(), &map("b")).await.unwrap();
    used(&quotas, json!({"configmaps": "2", "requests.cpu": "0", "count/deployments.apps": "0"})).await;
    let Err(Error::Api(refused)) = maps.create(&PostParams::default(), &map("c")).await else {
        panic!("over the quota")
    };
    assert_eq!(
        refused.message,
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"
    );
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    used(&quotas, json!({"configmaps": "1", "requests.cpu": "0", "count/deployments.apps": "0"})).await;
}

#[tokio::test]
async fn pods_are_held_to_their_namespaces_standard() {
    let client = client(&server().await);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = |name: &str, spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
        typed::<Pod>(json!({"metadata": {"name": name}, "spec": spec}))
    };
    let service_account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::default_namespaced(client.clone());
    accounts.create(&PostParams::default(), &typed(service_account)).await.unwrap();
    pods.create(&PostParams::default(), &pod("before", json!({"hostNetwork": true}))).await.unwrap();
    let label =
        |level: &str| Patch::Merge(json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}));
    namespaces.patch("default", &PatchParams::default(), &label("baseline")).await.unwrap();
    let Err(Error::Api(refused)) = pods.create(&PostParams::default(), &pod("after", json!({"hostPID": true}))).await
    else {
        panic!("not baseline")
    };
    assert_eq!(
        refused.message,
        "pods \"after\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
    );
    pods.create(&PostParams::default(), &pod("after", json!({}))).await.unwrap();
    let Err(Error::Api(refused)) = namespaces.patch("default", &PatchParams::default(), &label("strict")).await else {
        panic!("no such level")
    };
    assert_eq!(refused.code, 422, "{}", refused.message);
}
