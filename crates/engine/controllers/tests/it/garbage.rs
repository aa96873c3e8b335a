//! What becomes of the owned.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod},
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::{
    cluster::{Cluster, eventually},
    deployments::{settled, web},
};

#[tokio::test]
async fn in_the_background_the_owned_go_after_their_owner() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(3)).await;
    settled(&cluster, 3, "a").await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::background()).await.unwrap();
    assert!(cluster.api::<Deployment>().get_opt("web").await.unwrap().is_none(), "the owner goes at once");
    eventually("the end of sets and pods", || async {
        cluster.list::<ReplicaSet>().await.is_empty() && cluster.list::<Pod>().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(3)).await;
    settled(&cluster, 3, "a").await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    eventually("the end of all", || async {
        // In this order: whoever is listed later is gone no later.
        let owner = cluster.api::<Deployment>().get_opt("web").await.unwrap();
        let (sets, pods) = (cluster.list::<ReplicaSet>().await, cluster.list::<Pod>().await);
        assert!(owner.is_some() || (sets.is_empty() && pods.is_empty()), "the owner went first");
        owner.is_none()
    })
    .await;
}

#[tokio::test]
async fn orphans_stay_and_name_nobody() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(2)).await;
    settled(&cluster, 2, "a").await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::orphan()).await.unwrap();
    eventually("the owner's end", || async { cluster.api::<Deployment>().get_opt("web").await.unwrap().is_none() })
        .await;
    let sets = cluster.list::<ReplicaSet>().await;
    assert_eq!(sets.len(), 1);
    assert!(sets[0].owner_references().is_empty());
    assert_eq!(cluster.list::<Pod>().await.len(), 2);
}

#[tokio::test]
async fn one_good_owner_is_enough_and_an_absent_one_is_none() {
    let cluster = Cluster::start().await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    let (a, b) = (cluster.create::<ConfigMap>(map("a")).await, cluster.create::<ConfigMap>(map("b")).await);
    let owner =
        |of: &ConfigMap| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": of.name_any(), "uid": of.uid()});
    let absent =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "7c7a37ff-11b3-4d4e-9d6d-2f4b1e0a9c11"});
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "both", "ownerReferences": [owner(&a), owner(&b)]}})).await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "stray", "ownerReferences": [absent]}})).await;
    let maps = cluster.api::<ConfigMap>();
    eventually("the stray's end", || async { maps.get_opt("stray").await.unwrap().is_none() }).await;
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    eventually("one owner left", || async { maps.get("both").await.unwrap().owner_references().len() == 1 }).await;
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    eventually("the end of the owned", || async { maps.get_opt("both").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn owners_that_own_one_another_do_not_wait_for_one_another() {
    let cluster = Cluster::start().await;
    let names = ["a", "b", "c"];
    let maps: kube::Api<ConfigMap> = cluster.api();
    let mut uids = Vec::new();
    for name in names {
        cluster.create::<ConfigMap>(json!({"metadata": {"name": name}})).await;
        uids.push(maps.get(name).await.unwrap().uid().unwrap());
    }
    for at in 0..3 {
        let owner = (at + 2) % 3;
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": names[owner], "uid": uids[owner],
            "controller": true, "blockOwnerDeletion": true});
        let patch = kube::api::Patch::Merge(json!({"metadata": {"ownerReferences": [reference]}}));
        maps.patch(names[at], &Default::default(), &patch).await.unwrap();
    }
    maps.delete("a", &DeleteParams::foreground()).await.unwrap();
    let left =
        || async { cluster.list::<ConfigMap>().await.iter().filter(|map| names.contains(&&*map.name_any())).count() };
    eventually("the end of the circle", || async { left().await == 0 }).await;
}
