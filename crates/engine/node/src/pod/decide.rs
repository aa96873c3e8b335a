//! What to do next for a pod, from what is known of it and the time. Pure: [`decide`] looks and says, [`mark`] notes that an
//! action has begun, and nothing here touches the world.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::state::{
    Container, Ended, Ending, Instance, Kind, Part, PodState, PostStart, Run, Stop, StopReason, StopStage, Waiting,
};

/// Shown as `ErrImagePull` for this long before it becomes `ImagePullBackOff`.
const ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);
/// What a container gets after its preStop hook, however long that took.
const MINIMUM_AFTER_HOOK: SignedDuration = SignedDuration::from_secs(2);
/// Between the moment a serving pod that is deleted stops being ready and its stop signal: whoever sends it requests (rules in the
/// kernel, the gateway) hears of it first. A preStop hook has the same effect, and so it is not waited for beside one.
const DRAIN: SignedDuration = SignedDuration::from_millis(300);
/// Even a forced deletion leaves this much.
const MINIMUM_GRACE: SignedDuration = SignedDuration::from_secs(1);
const DEFAULT_GRACE_S: i64 = 30;

/// One effect on the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    PrepareVolumes,
    CreateSandbox,
    /// Pull where needed, create and start.
    Start {
        container: String,
        attempt: u32,
    },
    /// Give up a start that still pulls.
    AbortStart {
        container: String,
    },
    /// Show `CrashLoopBackOff`.
    BackOff {
        container: String,
        delay: SignedDuration,
    },
    /// Show `ImagePullBackOff`.
    ImageBackOff {
        container: String,
    },
    PostStart {
        container: String,
        id: String,
    },
    /// Tell that the container is to stop.
    BeginStop {
        container: String,
        reason: StopReason,
        grace: SignedDuration,
    },
    PreStop {
        container: String,
        id: String,
        deadline: Timestamp,
    },
    /// The container's stop signal, or SIGKILL.
    Signal {
        container: String,
        id: String,
        kill: bool,
    },
    /// End the pod because it ran for too long.
    Expire,
    RemoveSandbox,
    RemoveVolumes,
    /// Remove records, logs and directories: the pod is gone for good.
    RemoveData,
    /// Remove the object from the API.
    Finish,
}

/// What to do now, and when to look again if nothing happens until then.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub actions: Vec<Action>,
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What to do next. Every action, once [`mark`]ed, is not decided again.
pub fn decide(state: &PodState, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    for container in &state.containers {
        if let Some(instance) = container.instance() {
            advance_stop(state, container, instance, now, &mut decision);
        }
    }
    if state.ending.is_some() {
        end(state, now, &mut decision);
    } else if state.is_terminal() {
        wind_down(state, now, &mut decision);
    } else {
        expire(state, now, &mut decision);
        run(state, now, &mut decision);
    }
    decision
}

fn expire(state: &PodState, now: Timestamp, decision: &mut Decision) {
    let Some(seconds) = state.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) else { return };
    let at = state.started_at + SignedDuration::from_secs(seconds);
    if at <= now {
        decision.act(Action::Expire);
    } else {
        decision.wake(at);
    }
}

// Running

fn run(state: &PodState, now: Timestamp, decision: &mut Decision) {
    prepare(&state.volumes, Action::PrepareVolumes, now, decision);
    prepare(&state.sandbox, Action::CreateSandbox, now, decision);
    for container in &state.containers {
        if let Some(instance) = container.instance() {
            tend(state, container, instance, decision);
        }
    }
    if state.volumes != Part::Ready || state.sandbox != Part::Ready {
        return;
    }
    if initialize(state, now, decision) {
        for container in state.containers.iter().filter(|c| matches!(c.kind, Kind::App | Kind::Ephemeral)) {
            start(state, container, now, decision);
            // Containers begin in order, and a postStart hook holds up those after it.
            if container.kind == Kind::App && !is_past_post_start(state, container) {
                break;
            }
        }
    }
}

/// Whether the containers after this one may begin. One that does not run, and is not about to, holds nobody up.
fn is_past_post_start(state: &PodState, container: &Container) -> bool {
    let hook = |container: &core::Container| {
        container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
    };
    match container.instance() {
        Some(instance) => instance.post_start == PostStart::Done,
        None => container.ever_ran() || !state.container_spec(&container.name).is_some_and(|spec| hook(&spec)),
    }
}

fn prepare(part: &Part, action: Action, now: Timestamp, decision: &mut Decision) {
    match part {
        Part::Absent(retry) if retry.due(now) => decision.act(action),
        Part::Absent(retry) => retry.at.into_iter().for_each(|at| decision.wake(at)),
        _ => {}
    }
}

/// A running container: its postStart hook, and whether it has to stop though the pod goes on.
fn tend(state: &PodState, container: &Container, instance: &Instance, decision: &mut Decision) {
    if instance.stop.is_some() {
        return;
    }
    if let Some(reason) = &instance.condemned {
        let grace = probe_grace(state, container, reason).unwrap_or_else(|| pod_grace(state));
        return decision.act(Action::BeginStop { container: container.name.clone(), reason: reason.clone(), grace });
    }
    if instance.post_start == PostStart::Due {
        decision.act(Action::PostStart { container: container.name.clone(), id: instance.id.clone() });
    }
    let image = state.container_spec(&container.name).and_then(|spec| spec.image).unwrap_or_default();
    if image != instance.image && container.kind != Kind::Ephemeral {
        let grace = pod_grace(state);
        let reason = StopReason::DefinitionChanged;
        decision.act(Action::BeginStop { container: container.name.clone(), reason, grace });
    }
}

/// Runs the init containers in order; true once the others may begin.
fn initialize(state: &PodState, now: Timestamp, decision: &mut Decision) -> bool {
    for container in state.containers.iter().filter(|c| matches!(c.kind, Kind::Init | Kind::Sidecar)) {
        if container.kind == Kind::Init && container.completed {
            continue;
        }
        start(state, container, now, decision);
        let passed = container.kind == Kind::Sidecar
            && (container.completed
                || container
                    .instance()
                    .is_some_and(|instance| instance.started && instance.post_start == PostStart::Done));
        if !passed {
            return false;
        }
    }
    true
}

/// Starts a container that is due to run, or says why it waits.
fn start(state: &PodState, container: &Container, now: Timestamp, decision: &mut Decision) {
    if !container.is_still() {
        return;
    }
    let name = || container.name.clone();
    if let Some(ended) = container.last_end() {
        if !state.restarts_after(container, ended) {
            return;
        }
        if let Some((until, delay)) = container.backoff.until(ended.finished_at, now) {
            if matches!(container.run, Run::Ended(_)) {
                decision.act(Action::BackOff { container: name(), delay });
            }
            return decision.wake(until);
        }
    }
    if let Some(trouble) = &container.image_trouble
        && let Some((until, _)) = container.image_backoff.until(trouble.since, now)
    {
        if let Run::Waiting(Some(Waiting { reason: "ErrImagePull", .. })) = container.run {
            if now >= trouble.since + ERROR_SHOWN {
                decision.act(Action::ImageBackOff { container: name() });
            } else {
                decision.wake(trouble.since + ERROR_SHOWN);
            }
        }
        return decision.wake(until);
    }
    if !container.config_retry.due(now) {
        return container.config_retry.at.into_iter().for_each(|at| decision.wake(at));
    }
    decision.act(Action::Start { container: name(), attempt: container.next_attempt });
}

// Stopping

fn advance_stop(state: &PodState, container: &Container, instance: &Instance, now: Timestamp, decision: &mut Decision) {
    let Some(stop) = &instance.stop else { return };
    let signal = |kill| Action::Signal { container: container.name.clone(), id: instance.id.clone(), kill };
    let overdue = now >= stop.deadline;
    match stop.stage {
        StopStage::Due if has_pre_stop(state, container) && !overdue => decision.act(Action::PreStop {
            container: container.name.clone(),
            id: instance.id.clone(),
            deadline: stop.deadline,
        }),
        StopStage::Due if now < drained_at(state, instance, stop) => decision.wake(drained_at(state, instance, stop)),
        StopStage::Due | StopStage::HookDone => decision.act(signal(false)),
        StopStage::PreStop if overdue => decision.act(signal(false)),
        StopStage::Signalled if overdue => decision.act(signal(true)),
        StopStage::PreStop | StopStage::Signalled => decision.wake(stop.deadline),
        StopStage::Killed => {}
    }
}

/// From when on nobody sends requests to the container any more.
fn drained_at(state: &PodState, instance: &Instance, stop: &Stop) -> Timestamp {
    let serves = instance.started && instance.ready && matches!(state.ending, Some(Ending::Deleted { .. }));
    if serves { (stop.since + DRAIN).min(stop.deadline) } else { stop.since }
}

fn has_pre_stop(state: &PodState, container: &Container) -> bool {
    let lifecycle = state.container_spec(&container.name).and_then(|spec| spec.lifecycle);
    lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
}

/// The grace period a failed probe names for itself.
fn probe_grace(state: &PodState, container: &Container, reason: &StopReason) -> Option<SignedDuration> {
    let spec = state.container_spec(&container.name)?;
    let probe = match reason {
        StopReason::LivenessFailed => spec.liveness_probe,
        StopReason::StartupFailed => spec.startup_probe,
        _ => None,
    };
    probe?.termination_grace_period_seconds.map(SignedDuration::from_secs)
}

/// The pod's own grace period.
pub fn pod_grace(state: &PodState) -> SignedDuration {
    let seconds = state.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    SignedDuration::from_secs(seconds.unwrap_or(DEFAULT_GRACE_S)).max(MINIMUM_GRACE)
}

/// What is left of the time the pod has to end.
fn remaining(state: &PodState, now: Timestamp) -> SignedDuration {
    let (since, grace) = match &state.ending {
        Some(Ending::Deleted { since, grace }) => (*since, *grace),
        Some(Ending::Failed { since, .. }) => (*since, pod_grace(state)),
        None => (now, pod_grace(state)),
    };
    (since + grace.max(MINIMUM_GRACE)).duration_since(now).max(MINIMUM_GRACE)
}

/// Stops what runs, sidecars last and in reverse; true once nothing does.
fn stop_all(state: &PodState, now: Timestamp, decision: &mut Decision) -> bool {
    let mut later_sidecar_lives = false;
    let others_live = state.containers.iter().any(|c| c.kind != Kind::Sidecar && !c.is_still());
    for container in state.containers.iter().rev() {
        if container.starting && !container.aborting {
            decision.act(Action::AbortStart { container: container.name.clone() });
        }
        let Some(instance) = container.instance() else { continue };
        let may_stop = container.kind != Kind::Sidecar || (!others_live && !later_sidecar_lives);
        later_sidecar_lives |= container.kind == Kind::Sidecar;
        if may_stop && instance.stop.is_none() {
            let grace = remaining(state, now);
            let reason = StopReason::PodEnds;
            decision.act(Action::BeginStop { container: container.name.clone(), reason, grace });
        }
    }
    state.is_still()
}

/// A pod whose containers have all done what they were for.
fn wind_down(state: &PodState, now: Timestamp, decision: &mut Decision) {
    if stop_all(state, now, decision) {
        release(state, decision);
    }
}

/// Gives back network and volumes; true once they are gone.
fn release(state: &PodState, decision: &mut Decision) -> bool {
    if matches!(state.sandbox, Part::Ready | Part::Absent(_)) {
        decision.act(Action::RemoveSandbox);
    }
    if matches!(state.volumes, Part::Ready | Part::Absent(_)) {
        decision.act(Action::RemoveVolumes);
    }
    state.sandbox.is_gone() && state.volumes.is_gone()
}

fn end(state: &PodState, now: Timestamp, decision: &mut Decision) {
    if !stop_all(state, now, decision)
        || !release(state, decision)
        || !matches!(state.ending, Some(Ending::Deleted { .. }))
    {
        return;
    }
    if !state.data_removed && !state.removing_data {
        decision.act(Action::RemoveData);
    }
    if state.data_removed && state.final_status_written && !state.finishing && !state.vanished {
        decision.act(Action::Finish);
    }
}

// Marks

/// Notes that `action` has begun.
pub fn mark(state: &mut PodState, action: &Action, now: Timestamp) {
    match action {
        Action::PrepareVolumes => begin(&mut state.volumes),
        Action::CreateSandbox => begin(&mut state.sandbox),
        Action::RemoveVolumes => state.volumes = Part::Removing,
        Action::RemoveSandbox => state.sandbox = Part::Removing,
        Action::RemoveData => state.removing_data = true,
        Action::Finish => state.finishing = true,
        Action::Expire => {
            state.ending = Some(Ending::Failed {
                reason: "DeadlineExceeded",
                message: "Pod was active on the node longer than the specified deadline".into(),
                since: now,
            });
        }
        Action::Start { container, .. }
        | Action::AbortStart { container }
        | Action::BackOff { container, .. }
        | Action::ImageBackOff { container }
        | Action::PostStart { container, .. }
        | Action::BeginStop { container, .. }
        | Action::PreStop { container, .. }
        | Action::Signal { container, .. } => {
            let back_off = back_off_message(state, container, action);
            if let Some(container) = state.container_mut(container) {
                mark_container(container, action, back_off, now);
            }
        }
    }
}

fn begin(part: &mut Part) {
    if let Part::Absent(retry) = part {
        *part = Part::Working(std::mem::take(retry));
    }
}

fn mark_container(container: &mut Container, action: &Action, back_off: String, now: Timestamp) {
    match action {
        Action::Start { .. } => {
            container.starting = true;
            let finished = container.last_end().map(|ended| ended.finished_at);
            if let Some(finished) = finished {
                container.backoff.next(finished, now);
            }
        }
        Action::AbortStart { .. } => container.aborting = true,
        Action::BackOff { .. } => {
            let waiting = Waiting { reason: "CrashLoopBackOff", message: back_off };
            if let Run::Ended(ended) = std::mem::replace(&mut container.run, Run::Waiting(Some(waiting))) {
                container.last = Some(ended);
            }
        }
        Action::ImageBackOff { .. } => {
            container.run = Run::Waiting(Some(Waiting { reason: "ImagePullBackOff", message: back_off }));
        }
        _ => {
            if let Some(instance) = container.instance_mut() {
                mark_instance(instance, action, now);
            }
        }
    }
}

fn mark_instance(instance: &mut Instance, action: &Action, now: Timestamp) {
    match (action, &mut instance.stop) {
        (Action::PostStart { .. }, _) => instance.post_start = PostStart::Running,
        (Action::BeginStop { reason, grace, .. }, _) => {
            let (reason, stage) = (reason.clone(), StopStage::Due);
            instance.stop = Some(Stop { reason, stage, since: now, deadline: now + *grace });
        }
        (Action::PreStop { .. }, Some(stop)) => stop.stage = StopStage::PreStop,
        (Action::Signal { kill: true, .. }, Some(stop)) => stop.stage = StopStage::Killed,
        (Action::Signal { kill: false, .. }, Some(stop)) => {
            if stop.stage != StopStage::Due {
                stop.deadline = stop.deadline.max(now + MINIMUM_AFTER_HOOK);
            }
            stop.stage = StopStage::Signalled;
        }
        _ => {}
    }
}

fn back_off_message(state: &PodState, name: &str, action: &Action) -> String {
    match action {
        Action::BackOff { delay, .. } => back_off_text(state, name, *delay),
        Action::ImageBackOff { .. } => {
            let image = state.container_spec(name).and_then(|spec| spec.image).unwrap_or_default();
            match state.container(name).and_then(|container| container.image_trouble.as_ref()) {
                Some(trouble) => format!("Back-off pulling image \"{image}\": {}: {}", trouble.reason, trouble.message),
                None => format!("Back-off pulling image \"{image}\""),
            }
        }
        _ => String::new(),
    }
}

/// The text of a crash back-off, in the waiting state as in the event.
fn back_off_text(state: &PodState, container: &str, delay: SignedDuration) -> String {
    format!(
        "back-off {} restarting failed container={container} pod={}_{}({})",
        super::backoff::go_duration(delay),
        state.name(),
        state.namespace(),
        state.uid()
    )
}

/// The probes that are to run now: each running container's, startup first and alone.
pub fn probes(state: &PodState) -> Vec<WantedProbe> {
    let mut wanted = Vec::new();
    if state.ending.is_some() {
        return wanted;
    }
    for container in &state.containers {
        let Some(instance) = container.instance().filter(|instance| instance.stop.is_none()) else { continue };
        let Some(spec) = state.container_spec(&container.name) else { continue };
        let mut want = |kind, probe: Option<core::Probe>| {
            wanted.extend(probe.map(|probe| WantedProbe {
                container: container.name.clone(),
                id: instance.id.clone(),
                started_at: instance.started_at,
                kind,
                probe,
            }));
        };
        if instance.started {
            want(ProbeKind::Liveness, spec.liveness_probe);
            want(ProbeKind::Readiness, spec.readiness_probe);
        } else {
            want(ProbeKind::Startup, spec.startup_probe);
        }
    }
    wanted
}

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// A probe of one run of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedProbe {
    pub container: String,
    pub id: String,
    pub started_at: Timestamp,
    pub kind: ProbeKind,
    pub probe: core::Probe,
}

/// What an end's exit code and signal are called.
pub fn end_reason(exit_code: i32, oom_killed: bool) -> &'static str {
    match (oom_killed, exit_code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        _ => "Error",
    }
}

/// The record of a container that could not even begin, as containerd leaves it.
pub fn start_error(id: String, message: String, now: Timestamp) -> Ended {
    Ended {
        id,
        exit_code: 128,
        signal: None,
        reason: "StartError".into(),
        message: Some(message),
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: now,
    }
}
