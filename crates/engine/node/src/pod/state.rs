//! What is known of one pod: the spec as last seen, and what became of it here. Plain data, changed only by
//! [`super::observe`] and [`super::decide`]'s marks.

use std::{net::IpAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use super::backoff::Backoff;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Runs to its end before the next begins.
    Init,
    /// An init container with `restartPolicy: Always`: the next begins once it has started.
    Sidecar,
    /// An ordinary container.
    App,
    /// Added to a running pod for debugging; never restarted.
    Ephemeral,
}

/// The end of one run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The runtime's id.
    pub id: String,
    pub exit_code: i32,
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// From the termination log, or why it could not start.
    pub message: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

/// Why a container that runs is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The pod ends.
    PodEnds,
    LivenessFailed,
    StartupFailed,
    PostStartFailed,
    /// The spec names another image now.
    DefinitionChanged,
}

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStage {
    /// Decided; nothing done yet.
    Due,
    /// The preStop hook runs.
    PreStop,
    /// The hook is over, the signal is next.
    HookDone,
    /// The stop signal is sent.
    Signalled,
    /// SIGKILL is sent.
    Killed,
}

/// A stop under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub reason: StopReason,
    pub stage: StopStage,
    pub since: Timestamp,
    /// When SIGKILL follows.
    pub deadline: Timestamp,
}

/// The postStart hook of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostStart {
    Due,
    Running,
    Done,
}

/// One run of a container that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub started_at: Timestamp,
    pub post_start: PostStart,
    pub stop: Option<Stop>,
    /// The startup probe passed, or there is none.
    pub started: bool,
    /// The readiness probe's verdict; true where there is none.
    pub ready: bool,
    /// The image the spec named when it was started.
    pub image: String,
    /// A probe or hook has decided against it.
    pub condemned: Option<StopReason>,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Not yet, or not now; `None` stands for the reason the pod gives (ContainerCreating, PodInitializing).
    Waiting(Option<Waiting>),
    Running(Instance),
    Ended(Ended),
}

/// A reason to wait that belongs to this container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: &'static str,
    pub message: String,
}

/// Something that failed and is tried again later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retry {
    pub failures: u32,
    pub at: Option<Timestamp>,
}

impl Retry {
    /// Counts a failure: 1 s, doubled to `longest`.
    pub fn fail(&mut self, now: Timestamp, longest: SignedDuration) {
        let delay = SignedDuration::from_secs(1 << self.failures.min(10));
        self.failures += 1;
        self.at = Some(now + delay.min(longest));
    }

    /// Whether it may be tried now.
    pub fn due(&self, now: Timestamp) -> bool {
        self.at.is_none_or(|at| at <= now)
    }
}

/// A container's image could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTrouble {
    /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
    pub reason: &'static str,
    pub message: String,
    pub since: Timestamp,
}

/// One container of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub kind: Kind,
    pub run: Run,
    /// The end before the present run: `lastState`.
    pub last: Option<Ended>,
    pub restarts: u32,
    /// The number of the next run, which names its id and its log file.
    pub next_attempt: u32,
    /// A start is under way: pulling, creating, starting.
    pub starting: bool,
    /// The start is asked to give up.
    pub aborting: bool,
    /// As the runtime resolved it: `repository@sha256:…`, and its id.
    pub image_id: String,
    pub image_trouble: Option<ImageTrouble>,
    pub image_backoff: Backoff,
    pub config_retry: Retry,
    pub backoff: Backoff,
    /// A regular init container that has done its work.
    pub completed: bool,
}

impl Container {
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            run: Run::Waiting(None),
            last: None,
            restarts: 0,
            next_attempt: 0,
            starting: false,
            aborting: false,
            image_id: String::new(),
            image_trouble: None,
            image_backoff: Backoff::default(),
            config_retry: Retry::default(),
            backoff: Backoff::default(),
            completed: false,
        }
    }

    /// The run under way.
    pub fn instance(&self) -> Option<&Instance> {
        match &self.run {
            Run::Running(instance) => Some(instance),
            _ => None,
        }
    }

    pub(super) fn instance_mut(&mut self) -> Option<&mut Instance> {
        match &mut self.run {
            Run::Running(instance) => Some(instance),
            _ => None,
        }
    }

    /// The last end, whether it is shown as the state or as the last state.
    pub fn last_end(&self) -> Option<&Ended> {
        match &self.run {
            Run::Ended(ended) => Some(ended),
            _ => self.last.as_ref(),
        }
    }

    /// Neither running nor about to.
    pub fn is_still(&self) -> bool {
        !self.starting && !matches!(self.run, Run::Running(_))
    }

    /// It ran at least once.
    pub fn ever_ran(&self) -> bool {
        self.last_end().is_some() || self.instance().is_some()
    }
}

/// A part of the pod's surroundings: its sandbox with the network, or its volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Absent(Retry),
    /// Under way; how often it failed before.
    Working(Retry),
    Ready,
    Removing,
    Removed,
}

impl Part {
    /// Nothing of it is left, or never was.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Removed)
    }
}

/// Why a pod ends before its containers have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Deleted through the API.
    Deleted { since: Timestamp, grace: SignedDuration },
    /// By the node: `DeadlineExceeded`, `Evicted`, or refused at admission.
    Failed { reason: &'static str, message: String, since: Timestamp },
}

/// One pod on this node.
#[derive(Debug, Clone)]
pub struct PodState {
    pub pod: Arc<core::Pod>,
    /// `status.startTime`: when this node first saw it.
    pub started_at: Timestamp,
    pub sandbox: Part,
    pub ips: Vec<IpAddr>,
    pub volumes: Part,
    pub containers: Vec<Container>,
    pub ending: Option<Ending>,
    /// Gone from the API, by us or by force: nothing is to be written any more.
    pub vanished: bool,
    /// The last status that was written is the final one.
    pub final_status_written: bool,
    /// The deletion from the API is under way.
    pub finishing: bool,
    pub removing_data: bool,
    pub data_removed: bool,
}

impl PodState {
    /// A pod of which nothing runs yet.
    pub fn new(pod: Arc<core::Pod>, now: Timestamp) -> Self {
        let started_at = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0);
        let mut state = Self {
            pod,
            started_at,
            sandbox: Part::Absent(Retry::default()),
            ips: Vec::new(),
            volumes: Part::Absent(Retry::default()),
            containers: Vec::new(),
            ending: None,
            vanished: false,
            final_status_written: false,
            finishing: false,
            removing_data: false,
            data_removed: false,
        };
        state.add_containers();
        state
    }

    /// Takes up the containers of the spec that are not known yet (ephemeral ones come later than the pod).
    pub(super) fn add_containers(&mut self) {
        let pod = self.pod.clone();
        let Some(spec) = &pod.spec else { return };
        let inits = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            (&container.name, if sidecar { Kind::Sidecar } else { Kind::Init })
        });
        let apps = spec.containers.iter().map(|container| (&container.name, Kind::App));
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| (&container.name, Kind::Ephemeral));
        for (name, kind) in inits.chain(apps).chain(ephemeral) {
            if self.container(name).is_none() {
                self.containers.push(Container::new(name, kind));
            }
        }
    }

    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub(super) fn container_mut(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.name == name)
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(move |container| container.kind == kind)
    }

    /// The spec of a container, whatever its kind; an ephemeral one in an ordinary one's shape.
    pub fn container_spec(&self, name: &str) -> Option<core::Container> {
        let spec = self.pod.spec.as_ref()?;
        let ordinary =
            spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name);
        ordinary.cloned().or_else(|| {
            let ephemeral = spec.ephemeral_containers.iter().flatten().find(|container| container.name == name)?;
            Some(ephemeral_as_container(ephemeral))
        })
    }

    pub fn restart_policy(&self) -> &str {
        self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    /// All init containers are done, all sidecars have started.
    pub fn initialized(&self) -> bool {
        self.containers.iter().all(|container| match container.kind {
            Kind::Init => container.completed,
            Kind::Sidecar => container.instance().is_some_and(|instance| instance.started) || container.completed,
            Kind::App | Kind::Ephemeral => true,
        })
    }

    /// Whether a container that has ended is to be run again.
    pub fn restarts_after(&self, container: &Container, ended: &Ended) -> bool {
        match container.kind {
            Kind::Ephemeral => false,
            Kind::Sidecar => true,
            // An init container that succeeded is done; one that failed is tried again unless nothing ever is.
            Kind::Init => ended.exit_code != 0 && self.restart_policy() != "Never",
            Kind::App => match self.restart_policy() {
                "Never" => false,
                "OnFailure" => ended.exit_code != 0,
                _ => true,
            },
        }
    }

    /// Nothing of it will run again: every app container has ended for good, or an init container has failed for good.
    pub fn is_terminal(&self) -> bool {
        let over = |container: &Container| match &container.run {
            Run::Ended(ended) => !container.starting && !self.restarts_after(container, ended),
            _ => false,
        };
        let init_failed = self.of_kind(Kind::Init).any(|container| over(container) && !container.completed);
        let mut apps = self.of_kind(Kind::App).peekable();
        init_failed || (apps.peek().is_some() && apps.all(over))
    }

    /// Nothing runs and nothing is about to.
    pub fn is_still(&self) -> bool {
        self.containers.iter().all(Container::is_still)
    }
}

fn ephemeral_as_container(ephemeral: &core::EphemeralContainer) -> core::Container {
    core::Container {
        name: ephemeral.name.clone(),
        image: ephemeral.image.clone(),
        command: ephemeral.command.clone(),
        args: ephemeral.args.clone(),
        env: ephemeral.env.clone(),
        env_from: ephemeral.env_from.clone(),
        image_pull_policy: ephemeral.image_pull_policy.clone(),
        security_context: ephemeral.security_context.clone(),
        stdin: ephemeral.stdin,
        stdin_once: ephemeral.stdin_once,
        tty: ephemeral.tty,
        volume_mounts: ephemeral.volume_mounts.clone(),
        working_dir: ephemeral.working_dir.clone(),
        termination_message_path: ephemeral.termination_message_path.clone(),
        termination_message_policy: ephemeral.termination_message_policy.clone(),
        ..core::Container::default()
    }
}
