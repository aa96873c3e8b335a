//! How what happens changes what is known of a pod. Pure: the only writer of [`PodState`] beside the marks of `decide`.

use std::{net::IpAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::{
    decide::{ProbeKind, start_error},
    state::{
        Container, Ended, Ending, ImageTrouble, Instance, Kind, Part, PodState, PostStart, Run, StopReason, StopStage,
        Waiting,
    },
};

/// The longest pause between two tries to set up volumes or the sandbox.
const LONGEST_SETUP_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// The longest pause between two tries to make a container's configuration (a ConfigMap that comes wakes it earlier).
const LONGEST_CONFIG_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Observation {
    /// The object as the API has it now.
    Spec(Arc<core::Pod>),
    /// The object is gone from the API.
    Vanished,
    VolumesReady,
    VolumesFailed,
    VolumesRemoved,
    SandboxReady(Vec<IpAddr>),
    SandboxFailed,
    SandboxRemoved,
    DataRemoved,
    /// What the pod refers to (a ConfigMap, a Secret) has changed.
    DependencyChanged,
    ImageReady {
        container: String,
        image_id: String,
    },
    ImageFailed {
        container: String,
        reason: &'static str,
        message: String,
    },
    ConfigFailed {
        container: String,
        reason: &'static str,
        message: String,
    },
    StartFailed {
        container: String,
        attempt: u32,
        id: String,
        message: String,
    },
    StartAborted {
        container: String,
    },
    Started {
        container: String,
        attempt: u32,
        id: String,
        started_at: Timestamp,
        image: String,
    },
    Exited {
        container: String,
        ended: Ended,
    },
    PostStartDone {
        container: String,
        id: String,
        failed: bool,
    },
    PreStopDone {
        container: String,
        id: String,
    },
    Probed {
        container: String,
        id: String,
        probe: ProbeKind,
        healthy: bool,
    },
    FinalStatusWritten,
    FinishFailed,
}

/// Takes in what happened.
pub fn observe(state: &mut PodState, observation: Observation, now: Timestamp) {
    match observation {
        Observation::Spec(pod) => observe_spec(state, pod, now),
        Observation::Vanished => {
            state.vanished = true;
            begin_deletion(state, now, None);
        }
        Observation::VolumesReady => state.volumes = Part::Ready,
        Observation::VolumesFailed => fail(&mut state.volumes, now),
        Observation::VolumesRemoved => state.volumes = Part::Removed,
        Observation::SandboxReady(ips) => {
            state.sandbox = Part::Ready;
            state.ips = ips;
        }
        Observation::SandboxFailed => fail(&mut state.sandbox, now),
        Observation::SandboxRemoved => state.sandbox = Part::Removed,
        Observation::DataRemoved => state.data_removed = true,
        Observation::DependencyChanged => retry_now(state),
        Observation::FinalStatusWritten => state.final_status_written = true,
        Observation::FinishFailed => state.finishing = false,
        Observation::ImageReady { ref container, .. }
        | Observation::ImageFailed { ref container, .. }
        | Observation::ConfigFailed { ref container, .. }
        | Observation::StartFailed { ref container, .. }
        | Observation::StartAborted { ref container }
        | Observation::Started { ref container, .. }
        | Observation::Exited { ref container, .. }
        | Observation::PostStartDone { ref container, .. }
        | Observation::PreStopDone { ref container, .. }
        | Observation::Probed { ref container, .. } => {
            let spec = state.container_spec(container);
            if let Some(container) = state.container_mut(&container.clone()) {
                observe_container(container, spec.as_ref(), observation, now);
            }
        }
    }
}

fn fail(part: &mut Part, now: Timestamp) {
    if let Part::Working(retry) = part {
        let mut retry = std::mem::take(retry);
        retry.fail(now, LONGEST_SETUP_PAUSE);
        *part = Part::Absent(retry);
    }
}

/// Something that was missing may be there now.
fn retry_now(state: &mut PodState) {
    for part in [&mut state.volumes, &mut state.sandbox] {
        if let Part::Absent(retry) = part {
            retry.at = None;
        }
    }
    for container in &mut state.containers {
        container.config_retry.at = None;
    }
}

fn observe_spec(state: &mut PodState, pod: Arc<core::Pod>, now: Timestamp) {
    let grace =
        pod.metadata.deletion_timestamp.is_some().then_some(pod.metadata.deletion_grace_period_seconds).flatten();
    let deleted = pod.metadata.deletion_timestamp.is_some();
    state.pod = pod;
    state.add_containers();
    if deleted {
        begin_deletion(state, now, grace);
    }
}

fn begin_deletion(state: &mut PodState, now: Timestamp, grace_s: Option<i64>) {
    let wanted = grace_s.map_or_else(|| super::decide::pod_grace(state), SignedDuration::from_secs);
    let shortened = match &mut state.ending {
        Some(Ending::Deleted { grace, .. }) if wanted >= *grace => return,
        Some(Ending::Deleted { grace, .. }) => {
            *grace = wanted;
            true
        }
        // The node ended it first; what runs is stopping already, and a deletion may be more urgent.
        Some(Ending::Failed { .. }) | None => {
            state.ending = Some(Ending::Deleted { since: now, grace: wanted });
            true
        }
    };
    if shortened {
        let deadline = now + wanted.max(SignedDuration::from_secs(1));
        for stop in state.containers.iter_mut().filter_map(Container::instance_mut).filter_map(|i| i.stop.as_mut()) {
            stop.deadline = stop.deadline.min(deadline);
        }
    }
}

fn observe_container(
    container: &mut Container,
    spec: Option<&core::Container>,
    observation: Observation,
    now: Timestamp,
) {
    match observation {
        Observation::ImageReady { image_id, .. } => {
            container.image_id = image_id;
            container.image_trouble = None;
        }
        Observation::ImageFailed { reason, message, .. } => {
            stop_starting(container);
            set_waiting(container, reason, message.clone());
            container.image_trouble = Some(ImageTrouble { reason, message, since: now });
            container.image_backoff.next(now, now);
        }
        Observation::ConfigFailed { reason, message, .. } => {
            stop_starting(container);
            set_waiting(container, reason, message);
            container.config_retry.fail(now, LONGEST_CONFIG_PAUSE);
        }
        Observation::StartAborted { .. } => stop_starting(container),
        Observation::StartFailed { attempt, id, message, .. } => {
            begin_attempt(container, attempt);
            container.run = Run::Ended(start_error(id, message, now));
        }
        Observation::Started { attempt, id, started_at, image, .. } => {
            begin_attempt(container, attempt);
            container.config_retry = Default::default();
            container.run = Run::Running(new_instance(container.kind, spec, id, started_at, image));
        }
        Observation::Exited { ended, .. } => observe_exit(container, ended),
        other => observe_instance(container, other),
    }
}

fn stop_starting(container: &mut Container) {
    container.starting = false;
    container.aborting = false;
}

/// A reason to wait replaces a state of waiting or an end, which then is the last one.
fn set_waiting(container: &mut Container, reason: &'static str, message: String) {
    let waiting = Run::Waiting(Some(Waiting { reason, message }));
    if let Run::Ended(ended) = std::mem::replace(&mut container.run, waiting) {
        container.last = Some(ended);
    }
}

fn begin_attempt(container: &mut Container, attempt: u32) {
    stop_starting(container);
    container.next_attempt = attempt + 1;
    container.restarts = attempt;
    if let Run::Ended(ended) = std::mem::replace(&mut container.run, Run::Waiting(None)) {
        container.last = Some(ended);
    }
}

/// A run that has just begun.
pub fn new_instance(
    kind: Kind,
    spec: Option<&core::Container>,
    id: String,
    started_at: Timestamp,
    image: String,
) -> Instance {
    let has =
        |probe: fn(&core::Container) -> bool| spec.is_some_and(probe) && kind != Kind::Ephemeral && kind != Kind::Init;
    let has_hook =
        spec.and_then(|spec| spec.lifecycle.as_ref()).is_some_and(|lifecycle| lifecycle.post_start.is_some());
    Instance {
        id,
        started_at,
        post_start: if has_hook { PostStart::Due } else { PostStart::Done },
        stop: None,
        started: !has(|spec| spec.startup_probe.is_some()),
        ready: !has(|spec| spec.readiness_probe.is_some()),
        image,
        condemned: None,
    }
}

fn observe_exit(container: &mut Container, ended: Ended) {
    // News of an earlier run, told twice: once by the watch and once by the list after it.
    if container.instance().is_none_or(|instance| instance.id != ended.id) {
        return;
    }
    container.completed |= container.kind == Kind::Init && ended.exit_code == 0;
    container.run = Run::Ended(ended);
}

fn observe_instance(container: &mut Container, observation: Observation) {
    let Some(instance) = container.instance_mut() else { return };
    match observation {
        Observation::PostStartDone { id, failed, .. } if id == instance.id => {
            instance.post_start = PostStart::Done;
            if failed {
                instance.condemned = Some(StopReason::PostStartFailed);
            }
        }
        Observation::PreStopDone { id, .. } if id == instance.id => {
            if let Some(stop) = instance.stop.as_mut().filter(|stop| stop.stage == StopStage::PreStop) {
                stop.stage = StopStage::HookDone;
            }
        }
        Observation::Probed { id, probe, healthy, .. } if id == instance.id => match (probe, healthy) {
            (ProbeKind::Readiness, healthy) => instance.ready = healthy,
            (ProbeKind::Startup, true) => instance.started = true,
            (ProbeKind::Startup, false) => instance.condemned = Some(StopReason::StartupFailed),
            (ProbeKind::Liveness, false) => instance.condemned = Some(StopReason::LivenessFailed),
            (ProbeKind::Liveness, true) => {}
        },
        _ => {}
    }
}
