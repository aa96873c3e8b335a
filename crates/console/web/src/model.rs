//! What the page says of each app, taken from Applications and pods.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

/// How many revisions of an app's history are shown.
const SHOWN_HISTORY: usize = 5;
const SHORT_COMMIT: usize = 8;

/// One environment of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub name: String,
    pub namespace: String,
    pub revision: String,
    pub sync: String,
    pub health: String,
    /// Why it is not as it should be, if somebody knows.
    pub message: String,
    pub urls: Vec<String>,
    pub pods: Vec<PodView>,
    pub history: Vec<Deployed>,
}

/// One pod, as a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub state: PodState,
    /// Phase or reason, as kubectl shows it.
    pub status: String,
    pub restarts: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    Ready,
    Starting,
    Failing,
    Ending,
}

/// One entry of an app's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub revision: String,
    pub at: String,
}

/// The apps by name, each with the pods of its namespace.
pub fn apps(applications: &[Arc<DynamicObject>], pods: &[Arc<Pod>]) -> Vec<App> {
    let mut by_namespace: BTreeMap<String, Vec<PodView>> = BTreeMap::new();
    for pod in pods {
        by_namespace.entry(pod.namespace().unwrap_or_default()).or_default().push(pod_view(pod));
    }
    for pods in by_namespace.values_mut() {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let mut apps: Vec<App> = applications.iter().map(|application| app(application, &by_namespace)).collect();
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    apps
}

fn app(application: &DynamicObject, pods: &BTreeMap<String, Vec<PodView>>) -> App {
    let (spec, status) = (&application.data["spec"], &application.data["status"]);
    let namespace = text(&spec["destination"]["namespace"]);
    let (health, sync) = (text(&status["health"]["status"]), text(&status["sync"]["status"]));
    let message =
        [&status["conditions"][0]["message"], &status["health"]["message"], &status["operationState"]["message"]]
            .into_iter()
            .map(text)
            .find(|message| !message.is_empty())
            .filter(|_| health != "Healthy" || sync != "Synced")
            .unwrap_or_default();
    let strings = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    let history = status["history"].as_array().into_iter().flatten().rev().take(SHOWN_HISTORY);
    App {
        name: application.name_any(),
        revision: short(&text(&status["sync"]["revision"])),
        sync: or_unknown(sync),
        health: or_unknown(health),
        message,
        urls: strings(&status["summary"]["externalURLs"]),
        pods: pods.get(&namespace).cloned().unwrap_or_default(),
        history: history
            .map(|entry| Deployed { revision: short(&text(&entry["revision"])), at: text(&entry["deployedAt"]) })
            .collect(),
        namespace,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn short(revision: &str) -> String {
    revision.chars().take(SHORT_COMMIT).collect()
}

fn or_unknown(text: String) -> String {
    if text.is_empty() { "Unknown".to_owned() } else { text }
}

fn pod_view(pod: &Pod) -> PodView {
    let status = pod.status.as_ref();
    let containers = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let waiting = containers
        .iter()
        .filter_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
        .find(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"));
    let is_ready = status
        .and_then(|s| s.conditions.as_deref())
        .is_some_and(|conditions| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
    let state = match (pod.metadata.deletion_timestamp.is_some(), waiting, phase) {
        (true, _, _) => PodState::Ending,
        (false, Some(_), _) | (false, None, "Failed") => PodState::Failing,
        _ if is_ready || phase == "Succeeded" => PodState::Ready,
        _ => PodState::Starting,
    };
    PodView {
        name: pod.name_any(),
        state,
        status: if state == PodState::Ending { "Terminating" } else { waiting.unwrap_or(phase) }.to_owned(),
        restarts: containers.iter().map(|c| c.restart_count).sum(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_is_shown_with_the_pods_of_its_namespace() {
        let application: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "shop", "namespace": "coracle"},
            "spec": {"destination": {"namespace": "shop"}},
            "status": {
                "sync": {"status": "Synced", "revision": "0123456789abcdef"},
                "health": {"status": "Degraded", "message": "back-off restarting"},
                "summary": {"externalURLs": ["http://shop.localhost:8080"]},
                "history": [{"revision": "aaaaaaaaaaaa", "deployedAt": "2026-01-01T00:00:00Z"}, {"revision": "0123456789abcdef", "deployedAt": "2026-01-02T00:00:00Z"}],
            },
        }))
        .unwrap();
        let pod = |name: &str, namespace: &str, status: Value| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}, "status": status}))
                    .unwrap(),
            )
        };
        let pods = [
            pod(
                "shop-b",
                "shop",
                json!({"phase": "Running", "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            ),
            pod("shop-a", "shop", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
            pod("other", "bank", json!({"phase": "Running"})),
        ];
        let shown = &apps(&[Arc::new(application)], &pods)[0];
        let dots: Vec<String> =
            shown.pods.iter().map(|p| format!("{} {:?} {} {}", p.name, p.state, p.status, p.restarts)).collect();
        expect!["shop 01234567 Synced Degraded back-off restarting | shop-a Ready Running 0, shop-b Failing CrashLoopBackOff 3 | 01234567 aaaaaaaa"]
            .assert_eq(&format!(
                "{} {} {} {} {} | {} | {}",
                shown.name,
                shown.revision,
                shown.sync,
                shown.health,
                shown.message,
                dots.join(", "),
                shown.history.iter().map(|d| d.revision.clone()).collect::<Vec<_>>().join(" ")
            ));
    }
}
