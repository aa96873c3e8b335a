//! The status of a pod, computed from what is known of it. Pure, and the only place that knows how a status looks.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::{Map, Value, json};

use super::{
    qos,
    state::{Container, Ended, Ending, Kind, Part, PodState, Run},
};

/// The condition types this room writes; all others belong to somebody else and stay.
const OURS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Whether this room writes conditions of that type.
pub fn is_ours(kind: &str) -> bool {
    OURS.contains(&kind)
}

/// What `state` and `lastState` of containers are called in ids.
const ID_PREFIX: &str = "coracle://";

/// The status as it is now. `previous` is the last one known, for the times of transitions and the conditions of others.
pub fn status(state: &PodState, host_ips: &[IpAddr], previous: &core::PodStatus, now: Timestamp) -> core::PodStatus {
    let phase = phase(state);
    let pod_ips = pod_ips(state, host_ips);
    let (reason, message) = match &state.ending {
        Some(Ending::Failed { reason, message, .. }) => (Some((*reason).to_owned()), Some(message.clone())),
        _ => (previous.reason.clone(), previous.message.clone()),
    };
    let list = |kinds: &[Kind]| -> Option<Vec<core::ContainerStatus>> {
        let statuses: Vec<_> =
            state.containers.iter().filter(|c| kinds.contains(&c.kind)).map(|c| container_status(state, c)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    core::PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(state, phase, previous, now)),
        reason,
        message,
        host_ip: host_ips.first().map(ToString::to_string),
        host_ips: Some(host_ips.iter().map(|ip| core::HostIP { ip: ip.to_string() }).collect()),
        pod_ip: pod_ips.first().map(ToString::to_string),
        pod_ips: (!pod_ips.is_empty()).then(|| pod_ips.iter().map(|ip| core::PodIP { ip: ip.to_string() }).collect()),
        start_time: Some(seconds(state.started_at)),
        init_container_statuses: list(&[Kind::Init, Kind::Sidecar]),
        container_statuses: list(&[Kind::App]),
        ephemeral_container_statuses: list(&[Kind::Ephemeral]),
        qos_class: state.pod.spec.as_ref().map(|spec| qos::qos(spec).as_str().to_owned()),
        observed_generation: state.pod.metadata.generation,
        ..previous.clone()
    }
}

fn pod_ips(state: &PodState, host_ips: &[IpAddr]) -> Vec<IpAddr> {
    let host_network = state.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    if host_network { host_ips.to_vec() } else { state.ips.clone() }
}

/// Kubernetes keeps whole seconds.
fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).expect("a second of a valid time is valid"))
}

// Phase

/// The phase, by the kubelet's table.
pub fn phase(state: &PodState) -> &'static str {
    if matches!(state.ending, Some(Ending::Failed { .. })) {
        return "Failed";
    }
    let ends_for_good = state.ending.is_some() && state.is_still();
    let init_failed = state.of_kind(Kind::Init).any(|c| !c.completed && c.last_end().is_some_and(|e| e.exit_code != 0));
    if init_failed && state.restart_policy() == "Never" {
        return "Failed";
    }
    let tally = Tally::of(state);
    let all_succeeded = tally.stopped == tally.succeeded;
    if !has_initialized(state) || tally.waiting > 0 {
        return "Pending";
    }
    if tally.running > 0 || tally.stopped == 0 {
        return if tally.running > 0 { "Running" } else { "Pending" };
    }
    match state.restart_policy() {
        _ if ends_for_good => {
            if all_succeeded {
                "Succeeded"
            } else {
                "Failed"
            }
        }
        "Always" => "Running",
        // While a sidecar still runs the pod has not ended.
        _ if state.of_kind(Kind::Sidecar).any(|sidecar| !sidecar.is_still()) && state.is_terminal() => "Running",
        _ if all_succeeded => "Succeeded",
        "Never" => "Failed",
        _ => "Running",
    }
}

#[derive(Default)]
struct Tally {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

impl Tally {
    fn of(state: &PodState) -> Self {
        let mut tally = Self::default();
        for container in state.of_kind(Kind::App) {
            match (&container.run, &container.last) {
                (Run::Running(_), _) => tally.running += 1,
                (Run::Ended(ended), _) => {
                    tally.stopped += 1;
                    tally.succeeded += usize::from(ended.exit_code == 0);
                }
                (Run::Waiting(_), Some(_)) => tally.stopped += 1,
                (Run::Waiting(_), None) => tally.waiting += 1,
            }
        }
        tally
    }
}

/// The containers have begun, or the init containers are done.
fn has_initialized(state: &PodState) -> bool {
    state.initialized() || state.of_kind(Kind::App).any(Container::ever_ran)
}

// Conditions

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes(kind: &'static str) -> Self {
        Self { kind, holds: true, reason: None, message: None }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, holds: false, reason: Some(reason), message }
    }
}

fn conditions(state: &PodState, phase: &str, previous: &core::PodStatus, now: Timestamp) -> Vec<core::PodCondition> {
    let before = previous.conditions.as_deref().unwrap_or_default();
    let sandbox = Verdict { holds: matches!(state.sandbox, Part::Ready), ..Verdict::yes("PodReadyToStartContainers") };
    let containers_ready = containers_ready(state, phase);
    let ready = ready(state, &containers_ready, before);
    let verdicts = [sandbox, initialized(state, phase), ready, containers_ready, Verdict::yes("PodScheduled")];
    let ours = verdicts.into_iter().map(|verdict| condition(state, verdict, before, now));
    let others = before.iter().filter(|condition| !OURS.contains(&condition.type_.as_str())).cloned();
    ours.chain(others).collect()
}

fn condition(state: &PodState, verdict: Verdict, before: &[core::PodCondition], now: Timestamp) -> core::PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let unchanged = before.iter().find(|old| old.type_ == verdict.kind && old.status == status);
    core::PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: unchanged.and_then(|old| old.last_transition_time.clone()).or_else(|| Some(seconds(now))),
        last_probe_time: None,
        observed_generation: state.pod.metadata.generation,
    }
}

/// Names in brackets, as Go prints a list.
fn names<'a>(containers: impl Iterator<Item = &'a Container>) -> String {
    let names: Vec<_> = containers.map(|container| container.name.as_str()).collect();
    format!("[{}]", names.join(" "))
}

fn initialized(state: &PodState, phase: &str) -> Verdict {
    const KIND: &str = "Initialized";
    if phase == "Succeeded" {
        return Verdict { reason: Some("PodCompleted"), ..Verdict::yes(KIND) };
    }
    if has_initialized(state) {
        return Verdict::yes(KIND);
    }
    let incomplete = state.containers.iter().filter(|container| match container.kind {
        Kind::Init => !container.completed,
        Kind::Sidecar => !container.instance().is_some_and(|instance| instance.started),
        Kind::App | Kind::Ephemeral => false,
    });
    let message = format!("containers with incomplete status: {}", names(incomplete));
    Verdict::no(KIND, "ContainersNotInitialized", Some(message))
}

fn containers_ready(state: &PodState, phase: &str) -> Verdict {
    const KIND: &str = "ContainersReady";
    match phase {
        "Succeeded" => return Verdict::no(KIND, "PodCompleted", None),
        "Failed" => return Verdict::no(KIND, "PodFailed", None),
        _ => {}
    }
    let counted = |container: &&Container| matches!(container.kind, Kind::App | Kind::Sidecar);
    let unready: Vec<_> =
        state.containers.iter().filter(counted).filter(|container| !is_ready(state, container)).collect();
    if unready.is_empty() {
        return Verdict::yes(KIND);
    }
    let message = format!("containers with unready status: {}", names(unready.into_iter()));
    Verdict::no(KIND, "ContainersNotReady", Some(message))
}

fn ready(state: &PodState, containers: &Verdict, before: &[core::PodCondition]) -> Verdict {
    const KIND: &str = "Ready";
    if !containers.holds {
        return Verdict { kind: KIND, holds: false, reason: containers.reason, message: containers.message.clone() };
    }
    let gates = state.pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let trouble: Vec<_> = gates.filter_map(|gate| gate_trouble(&gate.condition_type, before)).collect();
    if trouble.is_empty() {
        return Verdict::yes(KIND);
    }
    Verdict::no(KIND, "ReadinessGatesNotReady", Some(trouble.join(", ")))
}

fn gate_trouble(gate: &str, before: &[core::PodCondition]) -> Option<String> {
    match before.iter().find(|condition| condition.type_ == gate) {
        None => Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.")),
        Some(condition) if condition.status != "True" => {
            Some(format!("the status of pod readiness gate \"{gate}\" is not \"True\", but {}", condition.status))
        }
        Some(_) => None,
    }
}

// Containers

/// Whether a container is ready to serve. A pod that is being deleted is ready no more, at once.
fn is_ready(state: &PodState, container: &Container) -> bool {
    match (&container.run, container.kind) {
        (_, Kind::Init) => container.completed,
        (Run::Running(instance), _) => {
            instance.started && instance.ready && instance.stop.is_none() && state.ending.is_none()
        }
        _ => false,
    }
}

fn container_status(state: &PodState, container: &Container) -> core::ContainerStatus {
    let spec = state.container_spec(&container.name).unwrap_or_default();
    let id = container
        .instance()
        .map(|instance| instance.id.as_str())
        .or(container.last_end().map(|ended| ended.id.as_str()));
    let resources =
        spec.resources.clone().filter(|resources| resources.limits.is_some() || resources.requests.is_some());
    core::ContainerStatus {
        name: container.name.clone(),
        image: spec.image.unwrap_or_default(),
        image_id: container.image_id.clone(),
        container_id: id.filter(|id| !id.is_empty()).map(|id| format!("{ID_PREFIX}{id}")),
        ready: is_ready(state, container),
        started: Some(container.instance().is_some_and(|instance| instance.started)),
        restart_count: i32::try_from(container.restarts).unwrap_or(i32::MAX),
        state: Some(run_state(state, container)),
        last_state: Some(container.last.as_ref().map(terminated).unwrap_or_default()),
        allocated_resources: resources.as_ref().and_then(|resources| resources.requests.clone()),
        resources,
        volume_mounts: volume_mounts(spec.volume_mounts.as_deref().unwrap_or_default()),
        ..core::ContainerStatus::default()
    }
}

fn volume_mounts(mounts: &[core::VolumeMount]) -> Option<Vec<core::VolumeMountStatus>> {
    let statuses: Vec<_> = mounts
        .iter()
        .map(|mount| core::VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| "Disabled".to_owned()),
        })
        .collect();
    (!statuses.is_empty()).then_some(statuses)
}

fn run_state(state: &PodState, container: &Container) -> core::ContainerState {
    match &container.run {
        Run::Running(instance) => core::ContainerState {
            running: Some(core::ContainerStateRunning { started_at: Some(seconds(instance.started_at)) }),
            ..core::ContainerState::default()
        },
        Run::Ended(ended) => terminated(ended),
        Run::Waiting(waiting) => {
            let with_inits = state.containers.iter().any(|other| matches!(other.kind, Kind::Init | Kind::Sidecar));
            let unnamed = if with_inits { "PodInitializing" } else { "ContainerCreating" };
            let (reason, message) = match waiting {
                Some(waiting) => (waiting.reason, Some(waiting.message.clone())),
                None => (unnamed, None),
            };
            core::ContainerState {
                waiting: Some(core::ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
                ..core::ContainerState::default()
            }
        }
    }
}

fn terminated(ended: &Ended) -> core::ContainerState {
    core::ContainerState {
        terminated: Some(core::ContainerStateTerminated {
            container_id: (!ended.id.is_empty()).then(|| format!("{ID_PREFIX}{}", ended.id)),
            exit_code: ended.exit_code,
            signal: ended.signal,
            reason: Some(ended.reason.clone()),
            message: ended.message.clone(),
            started_at: ended.started_at.map(seconds),
            finished_at: Some(seconds(ended.finished_at)),
        }),
        ..core::ContainerState::default()
    }
}

// The patch

/// The strategic merge patch that makes `new` out of `old`; `None` where nothing changed.
pub fn patch(uid: &str, old: &core::PodStatus, new: &core::PodStatus) -> Option<Value> {
    let (old, new) = (to_map(old), to_map(new));
    let mut changes = Map::new();
    for (key, value) in &new {
        if old.get(key) != Some(value) && key != "conditions" {
            changes.insert(key.clone(), replaced(key, old.get(key), value));
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    let conditions = changed_conditions(old.get("conditions"), new.get("conditions"));
    if !conditions.is_empty() {
        changes.insert("conditions".into(), Value::Array(conditions));
    }
    (!changes.is_empty()).then(|| json!({ "metadata": { "uid": uid }, "status": changes }))
}

fn to_map(status: &core::PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Addresses are merged by address, so those that go have to be named.
fn replaced(key: &str, old: Option<&Value>, new: &Value) -> Value {
    let (Some(Value::Array(old)), Value::Array(new)) = (old.filter(|_| key == "podIPs"), new) else {
        return new.clone();
    };
    let gone = old.iter().filter(|address| !new.contains(address)).map(|address| {
        let mut address = address.clone();
        address["$patch"] = "delete".into();
        address
    });
    gone.chain(new.iter().cloned()).collect()
}

fn changed_conditions(old: Option<&Value>, new: Option<&Value>) -> Vec<Value> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let old = list(old);
    let same_type = |a: &Value, b: &Value| a["type"] == b["type"];
    let mut changed = Vec::new();
    for condition in list(new) {
        let before = old.iter().find(|other| same_type(other, &condition));
        if before == Some(&condition) || !OURS.iter().any(|ours| condition["type"] == *ours) {
            continue;
        }
        changed.push(with_removed_keys(condition, before));
    }
    changed
}

/// A merge keeps keys that are not named: those that are to go are named as null.
fn with_removed_keys(mut condition: Value, before: Option<&Value>) -> Value {
    for key in before.and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        if condition.get(key).is_none() {
            condition[key] = Value::Null;
        }
    }
    condition
}
