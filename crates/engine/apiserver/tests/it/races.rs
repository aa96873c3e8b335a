//! Many clients at once, and a server that comes back.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{client, server, server_over};

const WRITERS: usize = 8;
const ROUNDS: usize = 10;

fn counter() -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "counter"}, "data": {"n": "0"}})).unwrap()
}

async fn increment(maps: &Api<ConfigMap>) {
    loop {
        let mut map = maps.get("counter").await.unwrap();
        let data = map.data.as_mut().unwrap();
        let next = data["n"].parse::<usize>().unwrap() + 1;
        data.insert("n".into(), next.to_string());
        match maps.replace("counter", &PostParams::default(), &map).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server().await));
    maps.create(&PostParams::default(), &counter()).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let maps = maps.clone();
        async move {
            for round in 0..ROUNDS {
                increment(&maps).await;
                // Patches of different fields never get into each other's way.
                let patch = json!({"data": {format!("w{writer}"): round.to_string()}});
                maps.patch("counter", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            }
        }
    });
    join_all(writers).await;
    let data = maps.get("counter").await.unwrap().data.unwrap();
    assert_eq!(data["n"], (WRITERS * ROUNDS).to_string());
    assert!((0..WRITERS).all(|writer| data[&format!("w{writer}")] == (ROUNDS - 1).to_string()));
}

fn service(name: &str) -> Service {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}))
        .unwrap()
}

async fn claimed(client: &Client) -> Vec<(String, i32)> {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let all = services.list(&ListParams::default()).await.unwrap();
    let specs =
        all.items.into_iter().filter(|service| service.name_any() != "kubernetes").filter_map(|service| service.spec);
    specs.map(|spec| (spec.cluster_ip.unwrap(), spec.ports.unwrap()[0].node_port.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_given_once() {
    let client = client(&server().await);
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    join_all(names.iter().map(|name| {
        let services = services.clone();
        async move { services.create(&PostParams::default(), &service(name)).await.unwrap() }
    }))
    .await;
    let claimed = claimed(&client).await;
    assert_eq!(claimed.iter().map(|(address, _)| address).collect::<BTreeSet<_>>().len(), 40);
    assert_eq!(claimed.iter().map(|(_, port)| port).collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn a_server_that_comes_back_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let open = || coracle_store::Store::open(directory.path(), coracle_store::Options::default()).unwrap();
    let store = open();
    let first = server_over(store.clone()).await;
    let before = client(&first);
    let services: Api<Service> = Api::default_namespaced(before.clone());
    let made = services.create(&PostParams::default(), &service("a")).await.unwrap();
    services.create(&PostParams::default(), &service("gone")).await.unwrap();
    services.delete("gone", &DeleteParams::default()).await.unwrap();
    let held = claimed(&before).await;
    first.stop();
    drop((before, services, first));
    store.close().await;

    let after = client(&server_over(open()).await);
    let services: Api<Service> = Api::default_namespaced(after.clone());
    assert_eq!(claimed(&after).await, held);
    let next = services.create(&PostParams::default(), &service("b")).await.unwrap();
    assert!(!held.contains(&(
        next.spec.clone().unwrap().cluster_ip.unwrap(),
        next.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].node_port.unwrap()
    )));
    let version = |service: &Service| service.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(version(&next) > version(&made));
    assert_eq!(services.get("a").await.unwrap().uid(), made.uid());
}
