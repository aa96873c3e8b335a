//! A pod's row: its status in one word is worked out from all of its containers.

use serde_json::{Value, json};

use super::since;

struct Summary {
    status: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container last ended, RFC 3339 (which sorts as text).
    last_restart: String,
}

pub(super) fn cells(pod: &Value, now_seconds: i64) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = if summary.restarts != 0 && !summary.last_restart.is_empty() {
        format!("{} ({} ago)", summary.restarts, since(&json!(summary.last_restart), now_seconds))
    } else {
        summary.restarts.to_string()
    };
    let or_none = |value: &Value| match value.as_str().unwrap_or_default() {
        "" => json!("<none>"),
        text => json!(text),
    };
    vec![
        pod["metadata"]["name"].clone(),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.status),
        json!(restarts),
        json!(since(&pod["metadata"]["creationTimestamp"], now_seconds)),
        or_none(&pod["status"]["podIPs"][0]["ip"]),
        or_none(&pod["spec"]["nodeName"]),
        or_none(&pod["status"]["nominatedNodeName"]),
        json!(readiness_gates(pod)),
    ]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    list(&pod["status"]["conditions"]).iter().find(|condition| condition["type"] == kind)
}

fn holds(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|gate| holds(pod, text(&gate["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

/// A sidecar is an init container that stays.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    let containers = list(&pod["spec"]["initContainers"]);
    containers.iter().any(|container| container["name"] == name && container["restartPolicy"] == "Always")
}

fn summarize(pod: &Value) -> Summary {
    let status = &pod["status"];
    let phase = text(&status["phase"]);
    let reason = text(&status["reason"]);
    let sidecars = list(&pod["spec"]["initContainers"]).iter().filter(|c| c["restartPolicy"] == "Always").count();
    let mut summary = Summary {
        status: if reason.is_empty() { phase.to_owned() } else { reason.to_owned() },
        ready: 0,
        total: list(&pod["spec"]["containers"]).len() + sidecars,
        restarts: 0,
        last_restart: String::new(),
    };
    if condition(pod, "PodScheduled").is_some_and(|condition| condition["reason"] == "SchedulingGated") {
        summary.status = "SchedulingGated".to_owned();
    }
    let mut of_sidecars = (0, String::new());
    let initializing = init_containers(pod, &mut summary, &mut of_sidecars);
    if !initializing || holds(pod, "Initialized") {
        (summary.restarts, summary.last_restart) = of_sidecars;
        containers(pod, &mut summary);
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        if reason == "NodeLost" {
            summary.status = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.status = "Terminating".to_owned();
        }
    }
    summary
}

fn count_restarts(container: &Value, count: &mut i64, last: &mut String) {
    *count += container["restartCount"].as_i64().unwrap_or(0);
    let finished = text(&container["lastState"]["terminated"]["finishedAt"]);
    if finished > last.as_str() {
        *last = finished.to_owned();
    }
}

/// Looks at init containers up to the first that is not done; says whether there is one.
fn init_containers(pod: &Value, summary: &mut Summary, of_sidecars: &mut (i64, String)) -> bool {
    let total = list(&pod["spec"]["initContainers"]).len();
    for (index, container) in list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        count_restarts(container, &mut summary.restarts, &mut summary.last_restart);
        let sidecar = is_sidecar(pod, text(&container["name"]));
        if sidecar {
            count_restarts(container, &mut of_sidecars.0, &mut of_sidecars.1);
        }
        let (terminated, waiting) = (&container["state"]["terminated"], text(&container["state"]["waiting"]["reason"]));
        if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && container["started"] == Value::Bool(true) {
            summary.ready += usize::from(container["ready"] == Value::Bool(true));
            continue;
        }
        summary.status = if terminated.is_object() {
            format!("Init:{}", how_it_ended(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{total}")
        };
        return true;
    }
    false
}

fn how_it_ended(terminated: &Value) -> String {
    let number = |key: &str| terminated[key].as_i64().unwrap_or(0);
    match text(&terminated["reason"]) {
        "" if number("signal") != 0 => format!("Signal:{}", number("signal")),
        "" => format!("ExitCode:{}", number("exitCode")),
        reason => reason.to_owned(),
    }
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut running = false;
    let mut failure = None;
    for container in list(&pod["status"]["containerStatuses"]).iter().rev() {
        count_restarts(container, &mut summary.restarts, &mut summary.last_restart);
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            summary.status = waiting.to_owned();
        } else if state["terminated"].is_object() {
            summary.status = how_it_ended(&state["terminated"]);
            if state["terminated"]["exitCode"].as_i64().unwrap_or(0) != 0 {
                failure = Some(summary.status.clone());
            }
        } else if container["ready"] == Value::Bool(true) && state["running"].is_object() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" {
        if running && holds(pod, "Ready") {
            summary.status = "Running".to_owned();
        } else if let Some(failure) = failure {
            summary.status = failure;
        } else if running {
            summary.status = "NotReady".to_owned();
        }
    }
}
