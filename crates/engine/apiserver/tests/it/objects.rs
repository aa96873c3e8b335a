//! Objects through a kube client in the same process.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use crate::support::{client, server};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": "v"}}))
}

/// What a refused request says: code, reason, message.
fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> String {
    match outcome.unwrap_err() {
        kube::Error::Api(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        other => panic!("{other}"),
    }
}

async fn with_account(client: &Client) {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    accounts.create(&PostParams::default(), &object(json!({"metadata": {"name": "default"}}))).await.unwrap();
}

#[tokio::test]
async fn an_object_lives_and_dies() {
    let client = client(&server().await);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let made = maps.create(&PostParams::default(), &config("a")).await.unwrap();
    assert!(made.uid().is_some() && made.resource_version().is_some() && made.creation_timestamp().is_some());
    let again = refusal(maps.create(&PostParams::default(), &config("a")).await);
    assert_eq!(again, "409 AlreadyExists: configmaps \"a\" already exists");
    let mut read = maps.get("a").await.unwrap();
    read.data.as_mut().unwrap().insert("x".into(), "y".into());
    let written = maps.replace("a", &PostParams::default(), &read).await.unwrap();
    assert_ne!(written.resource_version(), made.resource_version());
    assert_eq!(
        refusal(maps.replace("a", &PostParams::default(), &read).await),
        "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let merged = maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": null}}))).await.unwrap();
    assert_eq!(merged.data.unwrap().len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(refusal(maps.get("a").await), "404 NotFound: configmaps \"a\" not found");
}

#[tokio::test]
async fn a_watch_sees_everything_once_and_in_order() {
    let client = client(&server().await);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.create(&PostParams::default(), &config("a")).await.unwrap();
    let list = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    let revision = list.metadata.resource_version.unwrap();
    let mut events = maps.watch(&WatchParams::default().labels("app in (a,b)"), &revision).await.unwrap().boxed();
    maps.create(&PostParams::default(), &config("b")).await.unwrap();
    maps.create(&PostParams::default(), &config("c")).await.unwrap();
    maps.patch("b", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"app": "z"}}})))
        .await
        .unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => format!("added {}", map.name_any()),
            WatchEvent::Modified(map) => format!("modified {}", map.name_any()),
            WatchEvent::Deleted(map) => format!("deleted {}", map.name_any()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["added b", "deleted b", "deleted a"]);
}

#[tokio::test]
async fn pages_of_a_list_are_of_one_moment() {
    let client = client(&server().await);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for name in ["a", "b", "c", "d", "e"] {
        maps.create(&PostParams::default(), &config(name)).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = maps.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap();
    let names: Vec<String> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let client = client(&server().await);
    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let wanted: Deployment = object(json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }, "status": {"replicas": 7}}));
    let made = deployments.create(&PostParams::default(), &wanted).await.unwrap();
    assert_eq!((made.metadata.generation, made.status.clone().unwrap_or_default().replicas), (Some(1), None));
    assert_eq!(made.spec.as_ref().unwrap().replicas, Some(1), "defaults are filled in");
    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 9}});
    let patched = deployments.patch_status("d", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    assert_eq!((patched.status.unwrap().replicas, patched.spec.unwrap().replicas), (Some(3), Some(1)));
    assert_eq!(patched.metadata.generation, Some(1));
    let scaled = deployments
        .patch_scale("d", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}})))
        .await
        .unwrap();
    assert_eq!((scaled.spec.unwrap().replicas, scaled.status.unwrap().selector.as_deref()), (Some(5), Some("a=b")));
    assert_eq!(deployments.get("d").await.unwrap().metadata.generation, Some(2));
}

#[tokio::test]
async fn apply_owns_fields() {
    let client = client(&server().await);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let apply = |value: &str| {
        Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}}))
    };
    maps.patch("a", &PatchParams::apply("one"), &apply("1")).await.unwrap();
    let conflict = refusal(maps.patch("a", &PatchParams::apply("two"), &apply("2")).await);
    assert_eq!(conflict, "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .data.k");
    let forced = maps.patch("a", &PatchParams::apply("two").force(), &apply("2")).await.unwrap();
    assert_eq!(forced.data.unwrap()["k"], "2");
}

#[tokio::test]
async fn namespaces_are_needed_and_held() {
    let client = client(&server().await);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "nowhere");
    assert_eq!(
        refusal(maps.create(&PostParams::default(), &config("a")).await),
        "404 NotFound: namespaces \"nowhere\" not found"
    );
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &object(json!({"metadata": {"name": "ns"}}))).await.unwrap();
    namespaces.delete("ns", &DeleteParams::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "ns");
    assert_eq!(
        refusal(maps.create(&PostParams::default(), &config("a")).await),
        "403 Forbidden: configmaps \"a\" is forbidden: unable to create new content in namespace ns because it is being terminated"
    );
    assert_eq!(
        refusal(namespaces.delete("default", &DeleteParams::default()).await),
        "403 Forbidden: namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
    let mut held = namespaces.get("ns").await.unwrap();
    assert_eq!(held.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    held.spec.as_mut().unwrap().finalizers = None;
    namespaces.replace_subresource("finalize", "ns", &PostParams::default(), &held).await.unwrap();
    assert_eq!(refusal(namespaces.get("ns").await), "404 NotFound: namespaces \"ns\" not found");
}

#[tokio::test]
async fn pods_are_bound_and_end_in_their_own_time() {
    let client = client(&server().await);
    with_account(&client).await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let wanted: Pod =
        object(json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}));
    let made = pods.create(&PostParams::default(), &wanted).await.unwrap();
    let name = made.name_any();
    let spec = made.spec.unwrap();
    assert_eq!(
        spec.containers[0].volume_mounts.as_ref().unwrap()[0].mount_path,
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!((spec.service_account_name.as_deref(), spec.priority), (Some("default"), Some(0)));
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    let post = PostParams::default();
    let bind = || pods.create_subresource::<Value, Value>("binding", &name, &post, &binding);
    bind().await.unwrap();
    assert_eq!(
        refusal(bind().await),
        format!(
            "409 Conflict: Operation cannot be fulfilled on pods/binding \"{name}\": pod {name} is already assigned to node \"n\""
        )
    );
    let bound = pods.list(&ListParams::default().fields("spec.nodeName=n")).await.unwrap();
    assert_eq!(bound.items.len(), 1);
    let ending = pods.delete(&name, &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(ending.metadata.deletion_grace_period_seconds, Some(30));
    pods.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(refusal(pods.get(&name).await).starts_with("404"));
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let client = client(&server().await);
    let services: Api<Service> = Api::default_namespaced(client);
    let wanted = |name: &str, kind: &str| -> Service {
        object(
            json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": [{"port": 80}]}}),
        )
    };
    let made = services.create(&PostParams::default(), &wanted("s", "NodePort")).await.unwrap();
    let spec = made.spec.unwrap();
    let (address, port) = (spec.cluster_ip.unwrap(), spec.ports.unwrap()[0].node_port.unwrap());
    assert!(address.starts_with("10.43.") && (30000..=32767).contains(&port));
    let mut taken = wanted("t", "ClusterIP");
    taken.spec.as_mut().unwrap().cluster_ip = Some(address.clone());
    let refused = refusal(services.create(&PostParams::default(), &taken).await);
    assert_eq!(
        refused,
        format!(
            "422 Invalid: Service \"t\" is invalid: spec.clusterIPs: Invalid value: [\"{address}\"]: failed to allocate IP {address}: provided IP is already allocated"
        )
    );
    services.delete("s", &DeleteParams::default()).await.unwrap();
    services.create(&PostParams::default(), &taken).await.unwrap();
}

#[tokio::test]
async fn limits_and_quotas_are_kept() {
    let client = client(&server().await);
    with_account(&client).await;
    let limits: Api<k8s_openapi::api::core::v1::LimitRange> = Api::default_namespaced(client.clone());
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "400m"}, "max": {"cpu": "1"}, "default": {"cpu": "1"}}]}});
    limits.create(&PostParams::default(), &object(range)).await.unwrap();
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> = Api::default_namespaced(client.clone());
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1", "configmaps": "1"}}});
    quotas.create(&PostParams::default(), &object(quota)).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = |name: &str, cpu: &str| -> Pod {
        let resources =
            if cpu.is_empty() { json!({}) } else { json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}) };
        object(
            json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}}),
        )
    };
    let made = pods.create(&PostParams::default(), &pod("a", "")).await.unwrap();
    assert_eq!(
        made.spec.unwrap().containers[0].resources.as_ref().unwrap().requests.as_ref().unwrap()["cpu"].0,
        "400m"
    );
    assert_eq!(
        refusal(pods.create(&PostParams::default(), &pod("b", "2")).await),
        "403 Forbidden: pods \"b\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum cpu usage per Container is 1, but request is 2]"
    );
    assert_eq!(
        refusal(pods.create(&PostParams::default(), &pod("b", "700m")).await),
        "403 Forbidden: pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1"
    );
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let (one, two) = (config("a"), config("b"));
    let post = PostParams::default();
    let (one, two) = tokio::join!(maps.create(&post, &one), maps.create(&post, &two));
    assert_eq!([one, two].iter().filter(|outcome| outcome.is_ok()).count(), 1, "only one of both fits");
}
