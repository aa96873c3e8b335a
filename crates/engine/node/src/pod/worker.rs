//! The task of one pod: takes in what happens, decides, begins effects, and keeps the API's picture of the pod true.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    adopt::{self, adopt},
    decide::{self, Action, ProbeKind, WantedProbe, decide, mark},
    observe::{Observation, observe},
    signals::{SIGKILL, SIGTERM, signal_number},
    state::{Ended, Ending, Part, PodState, StopReason},
    status,
};
use crate::{
    api::{ApiError, PodRef},
    container::assemble::label,
    context::Context,
    doors::{ExitInfo, Found},
    effects::{
        self,
        clear::{persist, remove_data, remove_volumes},
        sandbox::Surroundings,
        start::Started,
    },
    probe::{target::Question, worker as prober},
};

/// Messages waiting for a pod; effects wait where there are more.
const QUEUE: usize = 64;
/// Decisions follow from decisions only a few times; more would be a circle.
const MAX_ROUNDS: usize = 50;
/// After a status that could not be written.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// What a pod's task is told.
#[derive(Debug)]
pub enum Message {
    Observed(Observation),
    /// A container of this pod has ended.
    Exit {
        id: String,
        exit: ExitInfo,
    },
    Surroundings(Surroundings),
    Wrote(Result<Box<core::PodStatus>, ApiError>),
    /// Fill the volumes again: what they show has changed, or a token grows old.
    Refresh,
    Refreshed {
        again_at: Option<Timestamp>,
    },
}

/// A pod's task from outside.
#[derive(Clone)]
pub struct Handle {
    pub messages: mpsc::Sender<Message>,
    /// The state as of the last decision.
    pub state: watch::Receiver<Arc<PodState>>,
}

/// Starts the task of a pod. `found` is what the runtime has of it already.
pub fn spawn(context: Arc<Context>, pod: Arc<core::Pod>, found: Vec<Found>) -> (Handle, JoinHandle<()>) {
    let now = context.clock.now();
    let mut state = PodState::new(pod.clone(), now);
    adopt(&mut state, &found, last_words, now);
    if pod.metadata.deletion_timestamp.is_some() {
        observe(&mut state, Observation::Spec(pod.clone()), now);
    }
    if let Some(attached) = context.network.attached().get(state.uid()) {
        state.ips.clone_from(&attached.ips);
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (published, view) = watch::channel(Arc::new(state.clone()));
    let worker = Worker {
        written: pod.status.clone().unwrap_or_default(),
        // Until it is known again where an adopted pod lives, its status stays as it is.
        adopting: !found.is_empty(),
        writing: false,
        write_after: None,
        surroundings: None,
        probes: BTreeMap::new(),
        aborts: BTreeMap::new(),
        refresh_at: None,
        refreshing: false,
        sender: sender.clone(),
        published,
        context,
        state,
    };
    let task = coracle_tasks::spawn("pod", worker.run(receiver));
    (Handle { messages: sender, state: view }, task)
}

/// What an ended container left to be shown.
fn last_words(found: &Found, exit_code: i32) -> Option<String> {
    let path = found.labels.get(label::MESSAGE_PATH).map(PathBuf::from);
    let policy = found.labels.get(label::MESSAGE_POLICY).map(String::as_str);
    effects::message::last_words(path.as_deref(), policy, found.log.as_deref(), exit_code)
}

type ProbeKey = (String, ProbeKind);

struct Worker {
    context: Arc<Context>,
    state: PodState,
    sender: mpsc::Sender<Message>,
    published: watch::Sender<Arc<PodState>>,
    /// The status as the API has it, as far as is known.
    written: core::PodStatus,
    adopting: bool,
    writing: bool,
    write_after: Option<tokio::time::Instant>,
    surroundings: Option<Surroundings>,
    probes: BTreeMap<ProbeKey, JoinHandle<()>>,
    aborts: BTreeMap<String, CancellationToken>,
    refresh_at: Option<Timestamp>,
    refreshing: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.probes.values().for_each(JoinHandle::abort);
    }
}

impl Worker {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let wake_at = self.settle();
            if self.state.data_removed && self.state.vanished {
                return;
            }
            let wake = self.sleep_for(wake_at);
            tokio::select! {
                message = messages.recv() => {
                    let Some(message) = message else { return };
                    self.take(message);
                    // What waits already is taken in before the next decision.
                    while let Ok(message) = messages.try_recv() {
                        self.take(message);
                    }
                }
                () = sleep(wake) => {
                    if self.write_after.is_some_and(|at| at <= tokio::time::Instant::now()) {
                        self.write_after = None;
                    }
                }
            }
        }
    }

    fn sleep_for(&self, wake_at: Option<Timestamp>) -> Option<Duration> {
        let now = self.context.clock.now();
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
        let writing = self.write_after.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        [wake_at.map(until), self.refresh_at.map(until), writing].into_iter().flatten().min()
    }

    /// Decides until nothing is left to decide, then lets everybody know.
    fn settle(&mut self) -> Option<Timestamp> {
        let now = self.context.clock.now();
        let mut wake_at = None;
        for _ in 0..MAX_ROUNDS {
            let decision = decide(&self.state, now);
            wake_at = decision.wake_at;
            if decision.actions.is_empty() {
                break;
            }
            for action in decision.actions {
                mark(&mut self.state, &action, now);
                self.begin(action);
            }
        }
        self.tend_probes();
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.refresh();
        }
        self.write_status(now);
        self.published.send_replace(Arc::new(self.state.clone()));
        wake_at
    }

    fn take(&mut self, message: Message) {
        let now = self.context.clock.now();
        match message {
            Message::Observed(observation) => self.observed(observation, now),
            Message::Exit { id, exit } => self.exited(&id, &exit, now),
            Message::Surroundings(surroundings) => {
                self.adopting = false;
                observe(&mut self.state, Observation::SandboxReady(surroundings.ips.clone()), now);
                self.surroundings = Some(surroundings);
            }
            Message::Wrote(result) => self.wrote(result, now),
            Message::Refresh => {
                observe(&mut self.state, Observation::DependencyChanged, now);
                self.refresh();
            }
            Message::Refreshed { again_at } => {
                self.refreshing = false;
                self.refresh_at = again_at;
            }
        }
    }

    fn observed(&mut self, observation: Observation, now: Timestamp) {
        if matches!(observation, Observation::SandboxFailed) {
            self.adopting = false;
        }
        if let Observation::Spec(pod) = &observation
            && pod.metadata.labels != self.state.pod.metadata.labels
        {
            // Shown by downward API volumes.
            self.refresh();
        }
        let started = match &observation {
            Observation::Started { id, .. } => Some(id.clone()),
            _ => None,
        };
        observe(&mut self.state, observation, now);
        // One that ended at once may have been told as ended before it was told as started.
        if let Some(id) = started
            && let Some(found) = self.context.runtime.list().into_iter().find(|found| found.id == id)
            && let Err(exit) = &found.state
        {
            self.exited(&id, exit, now);
        }
    }

    fn exited(&mut self, id: &str, exit: &ExitInfo, now: Timestamp) {
        let of_id = |found: &Found| found.id == id;
        let Some(found) = self.context.runtime.list().into_iter().find(of_id) else { return };
        let Some(container) = found.labels.get(label::CONTAINER).cloned() else { return };
        let ended = adopt::ended(id.to_owned(), exit, last_words(&found, exit.code));
        observe(&mut self.state, Observation::Exited { container, ended }, now);
    }

    // Effects

    /// Runs an effect of its own; what it comes to is told to this task.
    fn effect(&self, effect: impl Future<Output = Message> + Send + 'static) {
        let sender = self.sender.clone();
        coracle_tasks::spawn("pod-effect", async move {
            // The task may have ended: then nobody needs to know.
            let _ = sender.send(effect.await).await;
        });
    }

    fn begin(&mut self, action: Action) {
        let (context, pod) = (self.context.clone(), self.state.pod.clone());
        let uid = self.state.uid().to_owned();
        match action {
            Action::PrepareVolumes => self.prepare_volumes(),
            Action::CreateSandbox => self.effect(async move {
                match effects::sandbox::create(&context, &pod).await {
                    Ok(surroundings) => Message::Surroundings(surroundings),
                    Err(error) => {
                        context.warn(
                            &pod,
                            None,
                            "FailedCreatePodSandBox",
                            format!("Failed to create pod sandbox: {error}"),
                        );
                        Message::Observed(Observation::SandboxFailed)
                    }
                }
            }),
            Action::Start { container, attempt } => self.start(container, attempt),
            Action::AbortStart { container } => {
                if let Some(abort) = self.aborts.get(&container) {
                    abort.cancel();
                }
            }
            Action::BackOff { container, .. } => self.tell_back_off(&container),
            Action::ImageBackOff { container } => self.tell_image_back_off(&container),
            Action::PostStart { container, id } => self.post_start(container, id),
            Action::BeginStop { container, reason, .. } => {
                context.inform(&pod, Some(&container), "Killing", stop_text(&container, &reason));
            }
            Action::PreStop { container, id, deadline } => self.pre_stop(container, id, deadline),
            Action::Signal { container, id, kill } => self.signal(&container, &id, kill),
            Action::Expire => {
                let message = "Pod was active on the node longer than the specified deadline";
                context.inform(&pod, None, "DeadlineExceeded", message.to_owned());
            }
            Action::RemoveSandbox => {
                self.surroundings = None;
                self.effect(async move {
                    persist("removing the sandbox", || effects::sandbox::remove(&context, &uid)).await;
                    Message::Observed(Observation::SandboxRemoved)
                });
            }
            Action::RemoveVolumes => {
                self.refresh_at = None;
                self.effect(async move {
                    let directory = context.pod_dir(&uid);
                    persist("removing the volumes", || remove_volumes(directory.clone())).await;
                    Message::Observed(Observation::VolumesRemoved)
                });
            }
            Action::RemoveData => self.effect(async move {
                persist("removing what is left of the pod", || remove_data(&context, &uid)).await;
                Message::Observed(Observation::DataRemoved)
            }),
            Action::Finish => self.finish(),
        }
    }

    /// Lets the API forget the pod. That it has is told by the watch: finalizers may hold it for as long as they like.
    fn finish(&self) {
        let (context, pod, sender) = (self.context.clone(), PodRef::of(&self.state.pod), self.sender.clone());
        coracle_tasks::spawn("pod-effect", async move {
            let observation = match context.api.delete(pod.clone()).await {
                Ok(()) => return,
                Err(ApiError::Gone) => Observation::Vanished,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name, "the pod is not removed from the API");
                    tokio::time::sleep(WRITE_PAUSE).await;
                    Observation::FinishFailed
                }
            };
            // The task may have ended: then nobody needs to know.
            let _ = sender.send(Message::Observed(observation)).await;
        });
    }

    fn prepare_volumes(&mut self) {
        let (context, pod, sender) = (self.context.clone(), self.state.pod.clone(), self.sender.clone());
        self.effect(async move {
            match effects::volumes::prepare(&context, &pod).await {
                Ok(again_at) => {
                    // The task may have ended: then nobody needs to know.
                    let _ = sender.send(Message::Refreshed { again_at }).await;
                    Message::Observed(Observation::VolumesReady)
                }
                Err((volume, error)) => {
                    let message = format!("MountVolume.SetUp failed for volume {volume:?} : {error}");
                    context.warn(&pod, None, "FailedMount", message);
                    Message::Observed(Observation::VolumesFailed)
                }
            }
        });
    }

    /// Fills the volumes of a pod that runs once more.
    fn refresh(&mut self) {
        if self.refreshing || self.state.volumes != Part::Ready || self.state.ending.is_some() {
            return;
        }
        self.refreshing = true;
        let (context, pod) = (self.context.clone(), self.state.pod.clone());
        self.effect(async move {
            match effects::volumes::prepare(&context, &pod).await {
                Ok(again_at) => Message::Refreshed { again_at },
                Err((volume, error)) => {
                    let message = format!("MountVolume.SetUp failed for volume {volume:?} : {error}");
                    context.warn(&pod, None, "FailedMount", message);
                    let again_at = context.clock.now() + SignedDuration::from_secs(60);
                    Message::Refreshed { again_at: Some(again_at) }
                }
            }
        });
    }

    fn start(&mut self, name: String, attempt: u32) {
        let (context, pod, sender) = (self.context.clone(), self.state.pod.clone(), self.sender.clone());
        let (Some(container), Some(surroundings)) = (self.state.container_spec(&name), self.surroundings.clone())
        else {
            return self.effect(async { Message::Observed(Observation::StartAborted { container: name }) });
        };
        let abort = CancellationToken::new();
        self.aborts.insert(name.clone(), abort.clone());
        self.effect(async move {
            let told = name.clone();
            let on_image = async move |image_id| {
                let observation = Observation::ImageReady { container: told, image_id };
                // The task may have ended: then nobody needs to know.
                let _ = sender.send(Message::Observed(observation)).await;
            };
            let started =
                effects::start::start(&context, &pod, &container, attempt, &surroundings, &abort, on_image).await;
            let container_name = name;
            Message::Observed(match started {
                Started::Running { id, started_at } => Observation::Started {
                    container: container_name,
                    attempt,
                    id,
                    started_at,
                    image: container.image.unwrap_or_default(),
                },
                Started::Aborted => Observation::StartAborted { container: container_name },
                Started::NoImage { reason, message } => {
                    Observation::ImageFailed { container: container_name, reason, message }
                }
                Started::NotCreated { reason, message } => {
                    Observation::ConfigFailed { container: container_name, reason, message }
                }
                Started::NotStarted { id, message } => {
                    Observation::StartFailed { container: container_name, attempt, id, message }
                }
            })
        });
    }

    fn post_start(&self, container: String, id: String) {
        let (context, pod, ips) = (self.context.clone(), self.state.pod.clone(), self.state.ips.clone());
        let Some(spec) = self.state.container_spec(&container) else { return };
        self.effect(async move {
            let handler =
                spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone()).unwrap_or_default();
            let limit = effects::hooks::POST_START_LIMIT;
            let result = effects::hooks::run(&context, &handler, &spec, &id, &ips, limit).await;
            if let Err(error) = &result {
                tracing::debug!(%error, container, "postStart failed");
                context.warn(&pod, Some(&container), "FailedPostStartHook", "PostStartHook failed".to_owned());
            }
            Message::Observed(Observation::PostStartDone { container, id, failed: result.is_err() })
        });
    }

    fn pre_stop(&self, container: String, id: String, deadline: Timestamp) {
        let (context, pod, ips) = (self.context.clone(), self.state.pod.clone(), self.state.ips.clone());
        let Some(spec) = self.state.container_spec(&container) else { return };
        self.effect(async move {
            let handler = spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone()).unwrap_or_default();
            let limit = Duration::try_from(deadline.duration_since(context.clock.now())).unwrap_or(Duration::ZERO);
            if let Err(error) = effects::hooks::run(&context, &handler, &spec, &id, &ips, limit).await {
                tracing::debug!(%error, container, "preStop failed");
                context.warn(&pod, Some(&container), "FailedPreStopHook", "PreStopHook failed".to_owned());
            }
            Message::Observed(Observation::PreStopDone { container, id })
        });
    }

    fn signal(&self, container: &str, id: &str, kill: bool) {
        let named = || {
            let found = self.context.runtime.list().into_iter().find(|found| found.id == id)?;
            found.labels.get(label::STOP_SIGNAL).and_then(|name| signal_number(name))
        };
        let number = if kill { SIGKILL } else { named().unwrap_or(SIGTERM) };
        if let Err(error) = self.context.runtime.signal(id, number) {
            tracing::debug!(%error, container, number, "the signal does not reach the container");
            self.find_end(container, id);
        }
    }

    /// A container that takes no signal has ended, and perhaps nobody was told.
    fn find_end(&self, container: &str, id: &str) {
        let now = self.context.clock.now();
        let message =
            match self.context.runtime.list().into_iter().find(|found| found.id == id).map(|found| found.state) {
                Some(Ok(_)) => return,
                Some(Err(exit)) => Message::Exit { id: id.to_owned(), exit },
                None => {
                    let lost = "The container could not be located when the pod was terminated".to_owned();
                    let reason = "ContainerStatusUnknown".to_owned();
                    let ended = Ended {
                        id: id.to_owned(),
                        exit_code: 137,
                        signal: None,
                        reason,
                        message: Some(lost),
                        started_at: None,
                        finished_at: now,
                    };
                    Message::Observed(Observation::Exited { container: container.to_owned(), ended })
                }
            };
        self.effect(async move { message });
    }

    fn tell_back_off(&self, container: &str) {
        let state = &self.state;
        let pod = format!("{}_{}({})", state.name(), state.namespace(), state.uid());
        // Without the delay, which the status tells, so that the same event counts up.
        let message = format!("Back-off restarting failed container {container} in pod {pod}");
        self.context.warn(&state.pod, Some(container), "BackOff", message);
    }

    fn tell_image_back_off(&self, container: &str) {
        let image = self.state.container_spec(container).and_then(|spec| spec.image).unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}");
        self.context.inform(&self.state.pod, Some(container), "BackOff", message);
        self.context.warn(&self.state.pod, Some(container), "Failed", "Error: ImagePullBackOff".to_owned());
    }

    // Probes

    /// Lets exactly the wanted probes run.
    fn tend_probes(&mut self) {
        let wanted: BTreeMap<ProbeKey, WantedProbe> =
            decide::probes(&self.state).into_iter().map(|probe| ((probe.id.clone(), probe.kind), probe)).collect();
        self.probes.retain(|key, task| {
            let keep = wanted.contains_key(key);
            if !keep {
                task.abort();
            }
            keep
        });
        for (key, probe) in wanted {
            if !self.probes.contains_key(&key) {
                let task = self.probe(probe);
                self.probes.insert(key, task);
            }
        }
    }

    fn probe(&self, wanted: WantedProbe) -> JoinHandle<()> {
        let (context, pod, sender) = (self.context.clone(), self.state.pod.clone(), self.sender.clone());
        let spec = self.state.container_spec(&wanted.container).unwrap_or_default();
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let ips = if host_network { context.network.node_ips() } else { self.state.ips.clone() };
        let ip = ips.first().map(ToString::to_string).unwrap_or_default();
        let question = Question::of_probe(&wanted.probe, &spec, &ip);
        let (container, id, kind) = (wanted.container.clone(), wanted.id.clone(), wanted.kind);
        let (runtime, clock) = (context.runtime.clone(), context.clock.clone());
        let tell = move |word| {
            let (container, id) = (container.clone(), id.clone());
            let message = match word {
                prober::Word::Event { reason, message } => {
                    context.warn(&pod, Some(&container), reason, message);
                    None
                }
                prober::Word::Verdict(healthy) => {
                    Some(Message::Observed(Observation::Probed { container, id, probe: kind, healthy }))
                }
            };
            let sender = sender.clone();
            async move {
                if let Some(message) = message {
                    // The task may have ended: then nobody needs to know.
                    let _ = sender.send(message).await;
                }
            }
        };
        coracle_tasks::spawn("probe", prober::run(wanted, question, runtime, clock, tell))
    }

    // Status

    fn write_status(&mut self, now: Timestamp) {
        if self.writing || self.is_finding_its_way() || self.state.vanished || self.write_after.is_some() {
            return;
        }
        let previous = self.with_conditions_of_others();
        let status = status::status(&self.state, &self.context.network.node_ips(), &previous, now);
        let final_one = matches!(self.state.ending, Some(Ending::Deleted { .. })) && self.state.is_still();
        let Some(patch) = status::patch(self.state.uid(), &self.written, &status) else {
            if final_one && !self.state.final_status_written {
                self.state.final_status_written = true;
                // One more decision follows from that.
                let message = Message::Observed(Observation::FinalStatusWritten);
                self.effect(async move { message });
            }
            return;
        };
        self.writing = true;
        let (context, pod) = (self.context.clone(), PodRef::of(&self.state.pod));
        self.effect(async move {
            let result = context.api.patch_status(pod, patch).await;
            Message::Wrote(result.map(|()| Box::new(status)))
        });
    }

    /// An adopted pod whose surroundings are not known again yet: what its status says of them still holds.
    fn is_finding_its_way(&self) -> bool {
        let unknown = matches!(self.state.sandbox, Part::Absent(_) | Part::Working(_));
        self.adopting && unknown && self.state.ending.is_none() && !self.state.is_terminal()
    }

    /// The last status written, with the conditions other writers have set since.
    fn with_conditions_of_others(&self) -> core::PodStatus {
        let mut previous = self.written.clone();
        let seen = self.state.pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut conditions = previous.conditions.take().unwrap_or_default();
        conditions.retain(|condition| status::is_ours(&condition.type_));
        conditions.extend(seen.into_iter().filter(|condition| !status::is_ours(&condition.type_)));
        previous.conditions = Some(conditions);
        previous
    }

    fn wrote(&mut self, result: Result<Box<core::PodStatus>, ApiError>, now: Timestamp) {
        self.writing = false;
        match result {
            Ok(status) => self.written = *status,
            Err(ApiError::Gone) => observe(&mut self.state, Observation::Vanished, now),
            Err(error) => {
                tracing::warn!(%error, pod = self.state.name(), "the status is not written");
                self.write_after = Some(tokio::time::Instant::now() + WRITE_PAUSE);
            }
        }
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn stop_text(container: &str, reason: &StopReason) -> String {
    match reason {
        StopReason::PodEnds => format!("Stopping container {container}"),
        StopReason::LivenessFailed => format!("Container {container} failed liveness probe, will be restarted"),
        StopReason::StartupFailed => format!("Container {container} failed startup probe, will be restarted"),
        StopReason::DefinitionChanged => format!("Container {container} definition changed, will be restarted"),
        StopReason::PostStartFailed => "FailedPostStartHook".to_owned(),
    }
}
