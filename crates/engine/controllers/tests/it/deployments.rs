//! Deployments from creation to pods, through updates, scaling and back.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

pub fn web(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a",
                "ports": [{"name": "http", "containerPort": 8080}], "resources": {"requests": {"cpu": "10m"}}}]}},
        },
    })
}

/// Waits until so many pods of an image are available, and nothing else is left.
pub async fn settled(cluster: &Cluster, replicas: i32, image: &str) {
    eventually(&format!("{replicas} pods of image {image}"), || async {
        let Ok(deployment) = cluster.api::<Deployment>().get("web").await else { return false };
        let status = deployment.status.unwrap_or_default();
        let all_there = [status.replicas, status.updated_replicas, status.available_replicas]
            .iter()
            .all(|count| count.unwrap_or(0) == replicas);
        let pods = cluster.list::<Pod>().await;
        let right =
            |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image));
        all_there
            && status.observed_generation == deployment.metadata.generation
            && pods.len() == replicas as usize
            && pods.iter().all(right)
    })
    .await;
}

async fn set_image(cluster: &Cluster, image: &str) {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    cluster.patch::<Deployment>("web", patch).await;
}

fn conditions(deployment: &Deployment) -> Vec<String> {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut lines: Vec<String> = conditions
        .map(|condition| {
            format!("{}={} {}", condition.type_, condition.status, condition.reason.as_deref().unwrap_or(""))
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_deployment_becomes_ready_pods_and_says_so() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(3)).await;
    settled(&cluster, 3, "a").await;
    let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "1");
    eventually("the rollout's success", || async {
        let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
        conditions(&deployment)
            == ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
    })
    .await;
    let set = cluster.list::<ReplicaSet>().await.remove(0).name_any();
    eventually("the events", || async {
        cluster.events("web").await == [format!("ScalingReplicaSet Scaled up replica set {set} from 0 to 3")]
            && cluster
                .events(&set)
                .await
                .iter()
                .filter(|event| event.starts_with("SuccessfulCreate Created pod: web-"))
                .count()
                == 3
    })
    .await;
    let pod = cluster.list::<Pod>().await.remove(0).name_any();
    let scheduled = format!("Scheduled Successfully assigned shop/{pod} to node");
    eventually("the scheduler's event", || async { cluster.events(&pod).await == [scheduled.clone()] }).await;
}

#[tokio::test]
async fn updates_roll_and_go_back_to_the_set_they_came_from() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(4)).await;
    settled(&cluster, 4, "a").await;
    let first = cluster.list::<ReplicaSet>().await.remove(0).name_any();
    set_image(&cluster, "b").await;
    settled(&cluster, 4, "b").await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 2);
    set_image(&cluster, "a").await;
    settled(&cluster, 4, "a").await;
    let sets = cluster.list::<ReplicaSet>().await;
    let again = sets.iter().find(|set| set.name_any() == first).unwrap();
    assert_eq!((sets.len(), again.spec.as_ref().unwrap().replicas), (2, Some(4)));
    assert_eq!(again.annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(again.annotations()["deployment.kubernetes.io/revision-history"], "1");
    eventually("the deployment's revision", || async {
        let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
        deployment.annotations()["deployment.kubernetes.io/revision"] == "3"
    })
    .await;
}

#[tokio::test]
async fn pods_that_never_get_ready_do_not_replace_those_that_are() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(4)).await;
    settled(&cluster, 4, "a").await;
    let patch = json!({"spec": {"template": {"metadata": {"labels": {"broken": "yes"}}}}});
    cluster.patch::<Deployment>("web", patch).await;
    eventually("the update to get stuck", || async {
        let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
        let status = deployment.status.unwrap_or_default();
        // One more than desired may be there, and one fewer than desired available.
        (status.updated_replicas, status.replicas, status.available_replicas) == (Some(2), Some(5), Some(3))
    })
    .await;
    cluster.patch::<Deployment>("web", json!({"spec": {"template": {"metadata": {"labels": {"broken": null}}}}})).await;
    settled(&cluster, 4, "a").await;
}

#[tokio::test]
async fn scaling_follows_and_a_lost_pod_comes_back() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(1)).await;
    settled(&cluster, 1, "a").await;
    for replicas in [5, 2, 0, 3] {
        cluster.patch::<Deployment>("web", json!({"spec": {"replicas": replicas}})).await;
        settled(&cluster, replicas, "a").await;
    }
    let lost = cluster.list::<Pod>().await.remove(0).name_any();
    cluster.api::<Pod>().delete(&lost, &kube::api::DeleteParams::default()).await.unwrap();
    eventually("another pod", || async {
        let pods = cluster.list::<Pod>().await;
        pods.len() == 3 && pods.iter().all(|pod| pod.name_any() != lost)
    })
    .await;
}

#[tokio::test]
async fn recreate_never_runs_both() {
    let cluster = Cluster::start().await;
    let mut deployment = web(3);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create::<Deployment>(deployment).await;
    settled(&cluster, 3, "a").await;
    set_image(&cluster, "b").await;
    eventually("the new pods", || async {
        let pods = cluster.list::<Pod>().await;
        let of = |image: &str| {
            pods.iter().filter(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image)).count()
        };
        assert!(of("a") == 0 || of("b") == 0, "{} old and {} new pods at once", of("a"), of("b"));
        of("b") == 3
    })
    .await;
    settled(&cluster, 3, "b").await;
}

#[tokio::test]
async fn orphans_are_adopted_and_strangers_released() {
    let cluster = Cluster::start().await;
    let pod = json!({"metadata": {"name": "orphan", "labels": {"app": "web", "pod-template-hash": "x"}},
        "spec": {"containers": [{"name": "c", "image": "a"}]}});
    cluster.create::<Pod>(pod).await;
    // The node has seen it, and so have the caches that all share.
    eventually("the orphan's address", || async {
        cluster.api::<Pod>().get("orphan").await.unwrap().status.is_some_and(|status| status.pod_ip.is_some())
    })
    .await;
    let set = json!({"metadata": {"name": "set"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}}});
    cluster.create::<ReplicaSet>(set).await;
    let owned = || async {
        let pods = cluster.list::<Pod>().await;
        let owned = pods.iter().filter(|pod| pod.owner_references().iter().any(|owner| owner.name == "set"));
        owned.map(|pod| pod.name_any()).collect::<Vec<_>>()
    };
    eventually("the adoption", || async { owned().await.len() == 2 && owned().await.contains(&"orphan".to_owned()) })
        .await;
    cluster.patch::<Pod>("orphan", json!({"metadata": {"labels": {"app": "other"}}})).await;
    eventually("the release", || async { owned().await.len() == 2 && !owned().await.contains(&"orphan".to_owned()) })
        .await;
    assert_eq!(cluster.list::<Pod>().await.len(), 3, "the released pod stays");
}

#[tokio::test]
async fn what_does_not_fit_says_why_and_goes_when_there_is_room() {
    let cluster = Cluster::start().await;
    let mut deployment = web(3);
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("900m");
    cluster.create::<Deployment>(deployment).await;
    let waiting = || async {
        let pods = cluster.list::<Pod>().await;
        pods.into_iter().find(|pod| pod.spec.as_ref().unwrap().node_name.is_none()).map(|pod| pod.name_any())
    };
    eventually("two of three pods to be bound", || async {
        waiting().await.is_some() && cluster.list::<Pod>().await.len() == 3
    })
    .await;
    eventually("the reason", || async {
        let Some(pod) = waiting().await else { return false };
        cluster.events(&pod).await == ["FailedScheduling 0/1 nodes are available: 1 Insufficient cpu."]
    })
    .await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 2}})).await;
    settled(&cluster, 2, "a").await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 3}})).await;
    eventually("a waiting pod", || async { waiting().await.is_some() }).await;
    let (bound, was_waiting) = {
        let pods = cluster.list::<Pod>().await;
        let bound = pods.iter().find(|pod| pod.spec.as_ref().unwrap().node_name.is_some()).unwrap().name_any();
        (bound, waiting().await.unwrap())
    };
    cluster.api::<Pod>().delete(&bound, &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the waiting pod's turn", || async { waiting().await.is_some_and(|pod| pod != was_waiting) }).await;
}
