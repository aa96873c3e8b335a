//! Sets with names, daemons, jobs, and jobs at times.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{Pod, ReplicationController},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

fn pods(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn names(pods: &[Pod], image: &str) -> Vec<String> {
    let of = |pod: &&Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
    pods.iter().filter(of).map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn a_stateful_set_keeps_its_names() {
    let cluster = Cluster::start().await;
    let set = json!({"metadata": {"name": "db"}, "spec": {"replicas": 3, "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}}, "template": pods("db", "a")}});
    cluster.create::<StatefulSet>(set).await;
    let all = ["db-0", "db-1", "db-2"];
    eventually("three pods", || async {
        let status = cluster.api::<StatefulSet>().get("db").await.unwrap().status.unwrap_or_default();
        status.ready_replicas == Some(3) && names(&cluster.list::<Pod>().await, "a") == all
    })
    .await;
    cluster.api::<Pod>().delete("db-1", &DeleteParams::default()).await.unwrap();
    eventually("the same name again", || async { names(&cluster.running_pods().await, "a") == all }).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    cluster.patch::<StatefulSet>("db", image).await;
    eventually("the update", || async {
        let status = cluster.api::<StatefulSet>().get("db").await.unwrap().status.unwrap_or_default();
        names(&cluster.list::<Pod>().await, "b") == all
            && status.current_revision == status.update_revision
            && status.ready_replicas == Some(3)
    })
    .await;
    cluster.patch::<StatefulSet>("db", json!({"spec": {"replicas": 1}})).await;
    eventually("one pod", || async { names(&cluster.list::<Pod>().await, "b") == ["db-0"] }).await;
}

#[tokio::test]
async fn a_replication_controller_does_what_a_set_does() {
    let cluster = Cluster::start().await;
    let controller = json!({"metadata": {"name": "old"}, "spec": {"replicas": 2, "selector": {"app": "old"},
        "template": pods("old", "a")}});
    cluster.create::<ReplicationController>(controller).await;
    eventually("two pods", || async {
        let status = cluster.api::<ReplicationController>().get("old").await.unwrap().status.unwrap_or_default();
        status.ready_replicas == Some(2) && names(&cluster.list::<Pod>().await, "a").len() == 2
    })
    .await;
    cluster.patch::<ReplicationController>("old", json!({"spec": {"replicas": 1}})).await;
    eventually("one pod", || async { names(&cluster.list::<Pod>().await, "a").len() == 1 }).await;
}

#[tokio::test]
async fn a_daemon_runs_on_the_node() {
    let cluster = Cluster::start().await;
    let set = json!({"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}},
        "template": pods("agent", "a")}});
    cluster.create::<DaemonSet>(set).await;
    let settled = |image: &'static str| {
        let cluster = &cluster;
        eventually(image, move || async move {
            let set = cluster.api::<DaemonSet>().get("agent").await.unwrap();
            let status = set.status.unwrap_or_default();
            names(&cluster.list::<Pod>().await, image).len() == 1
                && status.number_available == Some(1)
                && status.updated_number_scheduled == Some(1)
                && status.observed_generation == set.metadata.generation
        })
    };
    settled("a").await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}});
    cluster.patch::<DaemonSet>("agent", image).await;
    settled("b").await;
    assert_eq!(cluster.list::<Pod>().await.len(), 1);
}

/// Lets a running pod end.
async fn end(cluster: &Cluster, pod: &str, phase: &str) {
    let status = json!({"status": {"phase": phase}});
    cluster.api::<Pod>().patch_status(pod, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
}

async fn running(cluster: &Cluster) -> Vec<String> {
    let is_running = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    cluster.running_pods().await.into_iter().filter(is_running).map(|pod| pod.name_any()).collect()
}

fn condition(job: &Job) -> Option<String> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| ["Complete", "Failed"].contains(&condition.type_.as_str()))
        .map(|c| c.type_.clone())
}

#[tokio::test]
async fn a_job_counts_its_pods_and_ends() {
    let cluster = Cluster::start().await;
    let mut template = pods("sums", "a");
    template["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"metadata": {"name": "sums"}, "spec": {"completions": 3, "parallelism": 2, "template": template}});
    cluster.create::<Job>(job).await;
    for left in [2, 2, 1] {
        eventually("running pods", || async { running(&cluster).await.len() == left }).await;
        let pod = running(&cluster).await.remove(0);
        end(&cluster, &pod, "Succeeded").await;
    }
    eventually("the job's end", || async {
        let job = cluster.api::<Job>().get("sums").await.unwrap();
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded);
        succeeded == Some(3) && condition(&job).as_deref() == Some("Complete")
    })
    .await;
    assert!(cluster.list::<Pod>().await.iter().all(|pod| pod.finalizers().is_empty()), "what is counted may go");
    cluster.api::<Job>().delete("sums", &DeleteParams::background()).await.unwrap();
    eventually("the end of its pods", || async { cluster.list::<Pod>().await.is_empty() }).await;
}

#[tokio::test]
async fn a_job_that_fails_too_often_says_so() {
    let cluster = Cluster::start().await;
    let mut template = pods("sums", "a");
    template["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"metadata": {"name": "sums"}, "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 1, "template": template}});
    cluster.create::<Job>(job).await;
    eventually("a running pod", || async { running(&cluster).await.len() == 1 }).await;
    let pod = running(&cluster).await.remove(0);
    end(&cluster, &pod, "Failed").await;
    eventually("the failure", || async {
        let events = cluster.events("sums").await;
        events.contains(&"BackoffLimitExceeded Job has reached the specified backoff limit".to_owned())
    })
    .await;
    eventually("the job to expire", || async { cluster.api::<Job>().get_opt("sums").await.unwrap().is_none() }).await;
    eventually("its pods to go with it", || async { cluster.list::<Pod>().await.is_empty() }).await;
}

#[tokio::test]
async fn a_cron_job_starts_jobs() {
    let cluster = Cluster::start().await;
    let mut template = pods("tick", "a");
    template["spec"]["restartPolicy"] = json!("Never");
    let cron = json!({"metadata": {"name": "tick"}, "spec": {"schedule": "@every 1s", "concurrencyPolicy": "Forbid",
        "jobTemplate": {"spec": {"template": template}}}});
    cluster.create::<CronJob>(cron).await;
    eventually("a job", || async { cluster.list::<Job>().await.len() == 1 }).await;
    eventually("the skipped run", || async {
        cluster.events("tick").await.iter().any(|event| event.starts_with("JobAlreadyActive "))
    })
    .await;
    eventually("the status", || async {
        let status = cluster.api::<CronJob>().get("tick").await.unwrap().status.unwrap_or_default();
        status.active.is_some_and(|active| active.len() == 1) && status.last_schedule_time.is_some()
    })
    .await;
    assert_eq!(cluster.list::<Job>().await.len(), 1);
}
