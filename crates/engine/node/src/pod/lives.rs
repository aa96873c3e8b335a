//! Whole lives of pods, with their real tasks and effects between fake doors.

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    observe::Observation,
    worker::{self, Handle, Message},
};
use crate::fakes::{FakeNode, condition};

fn pod(spec: Value) -> core::Pod {
    let pod = json!({ "metadata": { "name": "web", "namespace": "shop", "uid": "u1" }, "spec": spec });
    serde_json::from_value(pod).expect("a pod")
}

fn one(extra: Value) -> core::Pod {
    let mut container = json!({ "name": "a", "image": "one:1" });
    container.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    pod(json!({ "containers": [container], "terminationGracePeriodSeconds": 1 }))
}

/// A pod's task, with the ends of its containers brought to it as the agent would.
fn live(node: &FakeNode, pod: core::Pod) -> (Handle, JoinHandle<()>) {
    let found = crate::doors::PodRuntime::list(&*node.runtime);
    let (handle, task) = worker::spawn(node.context.clone(), Arc::new(pod), found);
    let (mut exits, messages) = (node.context.runtime.exits(), handle.messages.clone());
    coracle_tasks::spawn("test-exits", async move {
        while let Ok((id, exit)) = exits.recv().await {
            if messages.send(Message::Exit { id, exit }).await.is_err() {
                return;
            }
        }
    });
    (handle, task)
}

fn is_ready(status: &Value) -> bool {
    condition(status, "Ready") == "True"
}

async fn delete(handle: &Handle, mut pod: core::Pod) {
    pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    pod.metadata.deletion_grace_period_seconds = Some(1);
    handle.messages.send(Message::Observed(Observation::Spec(Arc::new(pod)))).await.expect("alive");
}

/// Waits for the API to be told, tells the task that the object is gone, and waits for its end.
async fn gone(node: &FakeNode, handle: &Handle, task: JoinHandle<()>) {
    let mut deleted = node.api.deleted.subscribe();
    let told = deleted.wait_for(|deleted| *deleted);
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the API is told").expect("it lives");
    handle.messages.send(Message::Observed(Observation::Vanished)).await.expect("alive");
    ended(task).await;
}

async fn ended(task: JoinHandle<()>) {
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").expect("it does not panic");
}

#[tokio::test]
async fn from_first_sight_to_the_last() {
    let node = FakeNode::new();
    let pod = one(json!({}));
    let (handle, task) = live(&node, pod.clone());
    let status = node.api.until(is_ready).await;
    assert_eq!((status["phase"].as_str(), status["podIP"].as_str()), (Some("Running"), Some("127.0.0.1")));
    assert!(node.context.pod_dir("u1").join("etc/hosts").exists());

    delete(&handle, pod).await;
    node.api.until(|status| status["phase"] == "Failed").await;
    gone(&node, &handle, task).await;
    assert!(!node.context.pod_dir("u1").exists());
    assert!(node.network.attached.lock().is_empty());
    expect![[r#"
        create_sandbox u1
        start u1_a_0
        signal u1_a_0 15
        remove_sandbox u1
        remove u1_a_0"#]]
    .assert_eq(&node.runtime.calls().join("\n"));
    expect![[r#"
        Pulled: Container image "one:1" already present on machine and can be accessed by the pod
        Created: Container created
        Started: Container started
        Killing: Stopping container a"#]]
    .assert_eq(&node.events().join("\n"));
}

#[tokio::test]
async fn a_crash_is_restarted_at_once_and_its_end_is_kept() {
    let node = FakeNode::new();
    let (_handle, _task) = live(&node, one(json!({})));
    node.api.until(is_ready).await;
    node.runtime.exit("u1_a_0", 3);
    let status = node.api.until(|status| status["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    node.api.until(is_ready).await;
    node.runtime.exit("u1_a_1", 3);
    let waiting = |status: &Value| status["containerStatuses"][0]["state"]["waiting"].clone();
    let status = node.api.until(|status| !waiting(status).is_null()).await;
    expect![[
        r#"{"message":"back-off 10s restarting failed container=a pod=web_shop(u1)","reason":"CrashLoopBackOff"}"#
    ]]
    .assert_eq(&waiting(&status).to_string());
    assert!(node.events().contains(&"BackOff: Back-off restarting failed container a in pod web_shop(u1)".to_owned()));
}

#[tokio::test]
async fn a_stubborn_container_is_killed() {
    let node = FakeNode::new();
    node.runtime.world.lock().stubborn = true;
    let pod = one(json!({}));
    let (handle, task) = live(&node, pod.clone());
    node.api.until(is_ready).await;
    delete(&handle, pod).await;
    // Ready no more, long before it is gone.
    node.api.until(|status| condition(status, "Ready") == "False").await;
    gone(&node, &handle, task).await;
    let signals: Vec<_> = node.runtime.calls().into_iter().filter(|call| call.starts_with("signal")).collect();
    assert_eq!(signals, ["signal u1_a_0 15", "signal u1_a_0 9"]);
    assert_eq!(node.api.status()["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
}

#[tokio::test]
async fn a_config_map_that_comes_late_lets_the_pod_go_on() {
    let node = FakeNode::new();
    let pod = pod(json!({
        "containers": [{ "name": "a", "image": "one:1", "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
            "env": [{ "name": "X", "valueFrom": { "configMapKeyRef": { "name": "late", "key": "k" } } }] }],
        "volumes": [{ "name": "v", "configMap": { "name": "late" } }],
    }));
    let (handle, _task) = live(&node, pod);
    let mut states = handle.state.clone();
    let failed = |state: &Arc<super::state::PodState>| matches!(&state.volumes, super::state::Part::Absent(retry) if retry.failures > 0);
    states.wait_for(failed).await.expect("alive");
    assert_eq!(
        node.events(),
        ["FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found"]
    );

    let late: core::ConfigMap = serde_json::from_value(json!({ "data": { "k": "1" } })).expect("a ConfigMap");
    node.api.config_maps.lock().insert("late".into(), Arc::new(late));
    handle.messages.send(Message::Refresh).await.expect("alive");
    node.api.until(is_ready).await;
    let file = node.context.pod_dir("u1").join("volumes/v/k");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), "1");
    assert!(node.runtime.world.lock().specs["u1_a_0"].process.env.contains(&"X=1".to_owned()));

    let later: core::ConfigMap = serde_json::from_value(json!({ "data": { "k": "2" } })).expect("a ConfigMap");
    node.api.config_maps.lock().insert("late".into(), Arc::new(later));
    handle.messages.send(Message::Refresh).await.expect("alive");
    let changed = async {
        while std::fs::read_to_string(&file).expect("never absent") != "2" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("the volume follows");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let node = FakeNode::new();
    node.runtime.world.lock().failures.insert("start", "executable file not found in $PATH".into());
    let (_handle, _task) = live(&node, one(json!({})));
    let terminated = |status: &Value| status["containerStatuses"][0]["lastState"]["terminated"].clone();
    let status = node.api.until(|status| terminated(status)["reason"] == "StartError").await;
    assert_eq!(terminated(&status)["exitCode"], 128);
    assert_eq!(terminated(&status)["message"], "executable file not found in $PATH");

    let node = FakeNode::new();
    node.runtime.world.lock().failures.insert("pull", "no such host".into());
    let (_handle, _task) = live(&node, one(json!({ "image": "absent:1" })));
    let waiting = |status: &Value| status["containerStatuses"][0]["state"]["waiting"].clone();
    let status = node.api.until(|status| waiting(status)["reason"] == "ErrImagePull").await;
    assert_eq!(waiting(&status)["message"], "no such host");
    assert_eq!(
        node.events(),
        [
            "Pulling: Pulling image \"absent:1\"",
            "Failed: Failed to pull image \"absent:1\": no such host",
            "Failed: Error: ErrImagePull"
        ]
    );
}

#[tokio::test]
async fn readiness_follows_its_probe_within_moments() {
    let node = FakeNode::new();
    node.runtime.world.lock().capture_code = 1;
    let probe = json!({ "exec": { "command": ["check"] }, "periodSeconds": 3600 });
    let (_handle, _task) = live(&node, one(json!({ "readinessProbe": probe })));
    let status = node.api.until(|status| status["phase"] == "Running").await;
    assert!(!is_ready(&status));
    let asked = async {
        while !node.runtime.calls().iter().any(|call| call.starts_with("capture")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("it is probed");
    node.runtime.world.lock().capture_code = 0;
    // Long before the second regular probe.
    node.api.until(is_ready).await;
    assert!(node.events().contains(&"Unhealthy: Readiness probe failed: no".to_owned()));
}

#[tokio::test]
async fn another_engine_takes_over_without_a_word() {
    let node = FakeNode::new();
    let mut pod = one(json!({}));
    let (handle, task) = live(&node, pod.clone());
    node.api.until(is_ready).await;
    task.abort();
    drop(handle);
    let (calls, patches) = (node.runtime.calls().len(), node.api.patches.borrow().len());

    pod.status = serde_json::from_value(node.api.status()).expect("a status");
    let (handle, _task) = live(&node, pod);
    let mut states = handle.state.clone();
    states
        .wait_for(|state| state.sandbox == super::state::Part::Ready && state.volumes == super::state::Part::Ready)
        .await
        .expect("alive");
    node.runtime.exit("u1_a_0", 0);
    let status = node.api.until(|status| status["containerStatuses"][0]["restartCount"] == 1).await;
    // Between the two engines nothing was started, and nothing was written that was not true.
    expect![[r#"
        create_sandbox u1
        start u1_a_1"#]]
    .assert_eq(&node.runtime.calls()[calls..calls + 2].join("\n"));
    let first_after = node.api.patches.borrow()[patches]["status"]["containerStatuses"][0].clone();
    assert_ne!(first_after["state"]["running"].is_null(), first_after["state"]["terminated"].is_null());
    assert_eq!(status["podIP"], "127.0.0.1");
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_written_later() {
    let node = FakeNode::new();
    *node.api.failure.lock() = Some(crate::api::ApiError::Other("the server is busy".into()));
    let (_handle, _task) = live(&node, one(json!({})));
    node.api.until(is_ready).await;
}
