//! What an engine that has just started knows of a pod: what the runtime still has, and what the last status said. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

use super::{
    decide::end_reason,
    observe::new_instance,
    state::{Container, Ended, Kind, PodState, Run},
};
use crate::{
    container::assemble::label,
    doors::{ExitInfo, Found},
};

const ID_PREFIX: &str = "coracle://";

/// Fills in a fresh state. `last_words` reads the message of a container that has ended.
pub fn adopt(
    state: &mut PodState,
    found: &[Found],
    last_words: impl Fn(&Found, i32) -> Option<String>,
    now: Timestamp,
) {
    let pod = state.pod.clone();
    let status = pod.status.clone().unwrap_or_default();
    let statuses: Vec<_> =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
    let specs: Vec<_> = state.containers.iter().map(|container| state.container_spec(&container.name)).collect();
    for (container, spec) in state.containers.iter_mut().zip(specs) {
        let told = statuses.iter().find(|status| status.name == container.name).copied();
        if let Some(told) = told {
            remember(container, told);
        }
        match newest(found, &container.name) {
            Some((found, attempt)) => take_over(container, spec.as_ref(), found, attempt, told, &last_words),
            None => miss(container, told, now),
        }
    }
    // Once an ordinary container has run, the init containers were done, whether or not a record of them is left.
    if state.of_kind(Kind::App).any(Container::ever_ran) {
        for init in state.containers.iter_mut().filter(|container| container.kind == Kind::Init) {
            init.completed = true;
        }
    }
}

/// What the status keeps and the runtime may not.
fn remember(container: &mut Container, told: &core::ContainerStatus) {
    container.restarts = u32::try_from(told.restart_count).unwrap_or_default();
    container.image_id.clone_from(&told.image_id);
    container.last = told.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(ended_of_status);
}

/// The latest run of a container among what the runtime has.
fn newest<'a>(found: &'a [Found], name: &str) -> Option<(&'a Found, u32)> {
    let of_name = found.iter().filter(|found| found.labels.get(label::CONTAINER).is_some_and(|label| label == name));
    let attempt = |found: &Found| found.labels.get(label::ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0);
    of_name.map(|found| (found, attempt(found))).max_by_key(|(_, attempt)| *attempt)
}

fn take_over(
    container: &mut Container,
    spec: Option<&core::Container>,
    found: &Found,
    attempt: u32,
    told: Option<&core::ContainerStatus>,
    last_words: impl Fn(&Found, i32) -> Option<String>,
) {
    container.restarts = attempt;
    container.next_attempt = attempt + 1;
    if let Some(image_id) = found.labels.get(label::IMAGE_ID) {
        container.image_id.clone_from(image_id);
    }
    match &found.state {
        Ok(started_at) => {
            let image = found.labels.get(label::IMAGE).cloned().unwrap_or_default();
            let mut instance = new_instance(container.kind, spec, found.id.clone(), *started_at, image);
            // Its probes have spoken before: their word stands until they speak again, and its hook has run.
            instance.post_start = super::state::PostStart::Done;
            let id = format!("{ID_PREFIX}{}", found.id);
            if let Some(told) = told.filter(|told| told.container_id.as_deref() == Some(id.as_str())) {
                instance.ready |= told.ready;
                instance.started |= told.started.unwrap_or_default();
            }
            container.run = Run::Running(instance);
        }
        Err(exit) => {
            let message = last_words(found, exit.code);
            let ended = ended(found.id.clone(), exit, message);
            container.completed |= container.kind == Kind::Init && ended.exit_code == 0;
            container.run = Run::Ended(ended);
        }
    }
}

/// An end as the runtime tells it.
pub fn ended(id: String, exit: &ExitInfo, message: Option<String>) -> Ended {
    Ended {
        id,
        exit_code: exit.code,
        signal: exit.signal,
        reason: end_reason(exit.code, exit.oom_killed).to_owned(),
        message,
        started_at: Some(exit.started_at),
        finished_at: exit.finished_at,
    }
}

/// The runtime has nothing: what the status says stands, but what was running is lost.
fn miss(container: &mut Container, told: Option<&core::ContainerStatus>, now: Timestamp) {
    let Some(told) = told else { return };
    let state = told.state.clone().unwrap_or_default();
    if let Some(terminated) = &state.terminated {
        let ended = ended_of_status(terminated);
        container.completed |= container.kind == Kind::Init && ended.exit_code == 0;
        container.run = Run::Ended(ended);
    } else if let Some(running) = &state.running {
        container.run = Run::Ended(Ended {
            id: bare_id(told.container_id.as_deref()),
            exit_code: 137,
            signal: None,
            reason: "ContainerStatusUnknown".to_owned(),
            message: Some("The container could not be located when the node started".to_owned()),
            started_at: running.started_at.as_ref().map(|time| time.0),
            finished_at: now,
        });
    }
    if container.ever_ran() {
        container.next_attempt = container.restarts + 1;
    }
}

fn ended_of_status(terminated: &core::ContainerStateTerminated) -> Ended {
    Ended {
        id: bare_id(terminated.container_id.as_deref()),
        exit_code: terminated.exit_code,
        signal: terminated.signal,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone(),
        started_at: terminated.started_at.as_ref().map(|time| time.0),
        finished_at: terminated.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    }
}

fn bare_id(id: Option<&str>) -> String {
    id.map(|id| id.strip_prefix(ID_PREFIX).unwrap_or(id)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::adopt;
    use crate::{
        doors::{ExitInfo, Found},
        pod::{
            decide::decide,
            state::{Part, PodState, Run},
        },
    };

    fn found(name: &str, attempt: u32, exit: Option<i32>) -> Found {
        let labels = [
            ("io.kubernetes.container.name", name.to_owned()),
            ("io.kubernetes.container.restartCount", attempt.to_string()),
            ("coracle.container.image", "one".to_owned()),
        ];
        let epoch = Timestamp::UNIX_EPOCH;
        Found {
            id: format!("{name}-{attempt}"),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            log: None,
            state: exit.map_or(Ok(epoch), |code| {
                Err(ExitInfo { code, signal: None, oom_killed: code == 137, started_at: epoch, finished_at: epoch })
            }),
        }
    }

    fn check(status: Value, found: &[Found], expected: Expect) {
        let pod = json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": {
                "initContainers": [{ "name": "i", "image": "one" }],
                "containers": [{ "name": "a", "image": "one", "readinessProbe": {} }],
            },
            "status": status,
        });
        let now = Timestamp::UNIX_EPOCH;
        let mut state = PodState::new(Arc::new(serde_json::from_value(pod).expect("a pod")), now);
        adopt(&mut state, found, |_, _| None, now);
        (state.volumes, state.sandbox) = (Part::Ready, Part::Ready);
        let mut shown = String::new();
        for container in &state.containers {
            let run = match &container.run {
                Run::Running(instance) => format!("running {} ready={}", instance.id, instance.ready),
                Run::Ended(ended) => format!("{} {} {}", ended.reason, ended.exit_code, ended.id),
                Run::Waiting(_) => "waiting".to_owned(),
            };
            shown += &format!(
                "{}: {run}, {} restarts, next {}, last {:?}, completed {}\n",
                container.name,
                container.restarts,
                container.next_attempt,
                container.last.as_ref().map(|ended| ended.exit_code),
                container.completed
            );
        }
        shown += &format!("{:?}\n", decide(&state, now).actions);
        expected.assert_eq(&shown);
    }

    fn running(id: &str, restarts: i32) -> Value {
        json!({ "name": "a", "image": "one", "imageID": "", "ready": true, "started": true, "restartCount": restarts,
            "containerID": format!("coracle://{id}"), "state": { "running": { "startedAt": "1970-01-01T00:00:00Z" } },
            "lastState": { "terminated": { "exitCode": 3 } } })
    }

    #[test]
    fn what_runs_is_taken_over_as_it_is() {
        check(
            json!({ "containerStatuses": [running("a-2", 2)] }),
            &[found("a", 1, Some(3)), found("a", 2, None)],
            expect![[r#"
            i: waiting, 0 restarts, next 0, last None, completed true
            a: running a-2 ready=true, 2 restarts, next 3, last Some(3), completed false
            []
        "#]],
        );
    }

    #[test]
    fn what_ended_meanwhile_is_restarted() {
        check(
            json!({ "containerStatuses": [running("a-2", 2)] }),
            &[found("a", 2, Some(137))],
            expect![[r#"
            i: waiting, 0 restarts, next 0, last None, completed true
            a: OOMKilled 137 a-2, 2 restarts, next 3, last Some(3), completed false
            [Start { container: "a", attempt: 3 }]
        "#]],
        );
    }

    #[test]
    fn what_the_runtime_lost_is_restarted() {
        check(
            json!({ "containerStatuses": [running("a-2", 2)] }),
            &[],
            expect![[r#"
            i: waiting, 0 restarts, next 0, last None, completed true
            a: ContainerStatusUnknown 137 a-2, 2 restarts, next 3, last Some(3), completed false
            [Start { container: "a", attempt: 3 }]
        "#]],
        );
    }

    #[test]
    fn a_pod_in_its_init_containers_goes_on_there() {
        check(
            json!({}),
            &[found("i", 0, Some(0))],
            expect![[r#"
            i: Completed 0 i-0, 0 restarts, next 1, last None, completed true
            a: waiting, 0 restarts, next 0, last None, completed false
            [Start { container: "a", attempt: 0 }]
        "#]],
        );
        check(
            json!({}),
            &[],
            expect![[r#"
            i: waiting, 0 restarts, next 0, last None, completed false
            a: waiting, 0 restarts, next 0, last None, completed false
            [Start { container: "i", attempt: 0 }]
        "#]],
        );
    }
}
