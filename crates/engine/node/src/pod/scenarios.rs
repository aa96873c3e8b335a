//! The life of pods, told line by line: what happens on the left, what is decided and shown below it.

mod ending;

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::{
    decide::{self, Action, ProbeKind, decide, end_reason, mark, probes},
    observe::{Observation, observe},
    state::{Ended, PodState, Run},
    status::{self, phase},
};

struct Story {
    state: PodState,
    now: Timestamp,
    told: String,
}

impl Story {
    fn new(spec: &Value) -> Self {
        let pod: core::Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": spec,
        }))
        .expect("a pod");
        let now = Timestamp::UNIX_EPOCH;
        let mut story = Self { state: PodState::new(Arc::new(pod), now), now, told: String::new() };
        story.settle();
        story
    }

    /// Decides until there is nothing left to decide.
    fn settle(&mut self) {
        for _ in 0..50 {
            let decision = decide(&self.state, self.now);
            if decision.actions.is_empty() {
                let wake = decision.wake_at.map(|at| format!(", wakes in {}s", at.duration_since(self.now).as_secs()));
                self.told += &format!("  = {}{}\n", self.shown(), wake.unwrap_or_default());
                return;
            }
            for action in decision.actions {
                self.told += &format!("  -> {}\n", line(&action));
                mark(&mut self.state, &action, self.now);
            }
        }
        panic!("never settles:\n{}", self.told);
    }

    fn shown(&self) -> String {
        let mut shown = phase(&self.state).to_owned();
        let status = status::status(&self.state, &[], &core::PodStatus::default(), self.now);
        let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        for (container, status) in self.state.containers.iter().zip(statuses) {
            let run = match &container.run {
                Run::Running(_) if status.ready => "ready".to_owned(),
                Run::Running(_) => "running".to_owned(),
                Run::Ended(ended) => format!("{}({})", ended.reason, ended.exit_code),
                Run::Waiting(_) => status.state.as_ref().and_then(|s| s.waiting.clone()?.reason).expect("a reason"),
            };
            shown += &format!(" {}:{run}", container.name);
            if container.restarts > 0 {
                shown += &format!("#{}", container.restarts);
            }
        }
        shown
    }

    fn id(&self, container: &str) -> String {
        self.state.container(container).and_then(|c| c.instance()).expect("running").id.clone()
    }

    fn happens(&mut self, text: &str) {
        let words: Vec<_> = text.split_whitespace().collect();
        let container = words.get(1).map(|name| (*name).to_owned()).unwrap_or_default();
        let observation = match words[..] {
            ["prepared"] => {
                observe(&mut self.state, Observation::VolumesReady, self.now);
                Observation::SandboxReady(vec!["10.42.0.5".parse().expect("an address")])
            }
            ["volumes", "fail"] => Observation::VolumesFailed,
            ["started", _] => {
                let attempt = self.state.container(&container).expect("known").next_attempt;
                let image = self.state.container_spec(&container).and_then(|spec| spec.image).unwrap_or_default();
                let id = format!("{container}-{attempt}");
                Observation::Started { container, attempt, id, started_at: self.now, image }
            }
            ["start-fails", _] => {
                let attempt = self.state.container(&container).expect("known").next_attempt;
                let id = format!("{container}-{attempt}");
                Observation::StartFailed { container, attempt, id, message: "no such file".into() }
            }
            ["start-aborted", _] => Observation::StartAborted { container },
            ["exited", _, code] => {
                let exit_code = code.parse().expect("a code");
                let ended = Ended {
                    id: self.id(&container),
                    exit_code,
                    signal: None,
                    reason: end_reason(exit_code, false).into(),
                    message: None,
                    started_at: None,
                    finished_at: self.now,
                };
                Observation::Exited { container, ended }
            }
            ["image-fails", _] => {
                Observation::ImageFailed { container, reason: "ErrImagePull", message: "not found".into() }
            }
            ["config-fails", _] => Observation::ConfigFailed {
                container,
                reason: "CreateContainerConfigError",
                message: "configmap \"c\" not found".into(),
            },
            ["dependency-changed"] => Observation::DependencyChanged,
            ["probe", _, probe, verdict] => {
                let probe = match probe {
                    "startup" => ProbeKind::Startup,
                    "liveness" => ProbeKind::Liveness,
                    _ => ProbeKind::Readiness,
                };
                let id = self.id(&container);
                Observation::Probed { container, id, probe, healthy: verdict == "ok" }
            }
            ["post-start", _, verdict] => {
                let id = self.id(&container);
                Observation::PostStartDone { container, id, failed: verdict != "ok" }
            }
            ["pre-stop-done", _] => {
                let id = self.id(&container);
                Observation::PreStopDone { container, id }
            }
            ["deleted", grace] => {
                let mut pod = (*self.state.pod).clone();
                pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
                pod.metadata.deletion_grace_period_seconds = Some(grace.parse().expect("seconds"));
                Observation::Spec(Arc::new(pod))
            }
            ["image", _, image] => {
                let mut pod = (*self.state.pod).clone();
                pod.spec.as_mut().expect("a spec").containers[0].image = Some(image.to_owned());
                Observation::Spec(Arc::new(pod))
            }
            ["vanished"] => Observation::Vanished,
            ["released"] => {
                observe(&mut self.state, Observation::SandboxRemoved, self.now);
                Observation::VolumesRemoved
            }
            ["data-removed"] => Observation::DataRemoved,
            ["final-status"] => Observation::FinalStatusWritten,
            ["after", seconds] => {
                self.now += SignedDuration::from_secs(seconds.trim_end_matches('s').parse().expect("seconds"));
                return;
            }
            ref other => panic!("unknown line {other:?}"),
        };
        observe(&mut self.state, observation, self.now);
    }
}

fn line(action: &Action) -> String {
    match action {
        Action::Start { container, attempt } => format!("start {container} #{attempt}"),
        Action::BackOff { container, delay } => format!("back off {container} {}", super::backoff::go_duration(*delay)),
        Action::BeginStop { container, reason, grace } => {
            format!("stop {container}: {reason:?} in {}s", grace.as_secs())
        }
        Action::PreStop { container, .. } => format!("preStop {container}"),
        Action::PostStart { container, .. } => format!("postStart {container}"),
        Action::Signal { container, kill: true, .. } => format!("kill {container}"),
        Action::Signal { container, kill: false, .. } => format!("terminate {container}"),
        other => format!("{other:?}"),
    }
}

fn check(spec: Value, script: &str, expected: Expect) {
    let mut story = Story::new(&spec);
    for text in script.lines().map(str::trim).filter(|text| !text.is_empty()) {
        story.told += &format!("{text}\n");
        story.happens(text);
        story.settle();
    }
    expected.assert_eq(&story.told);
}

fn app(extra: Value) -> Value {
    let mut container = json!({ "name": "a", "image": "one" });
    if let (Some(container), Value::Object(extra)) = (container.as_object_mut(), extra) {
        container.extend(extra);
    }
    container
}

#[test]
fn a_crash_restarts_at_once_and_then_backs_off() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "prepared
         started a
         exited a 1
         started a
         exited a 1
         after 10s
         started a
         after 700s
         exited a 0",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:ready
            exited a 1
              -> start a #1
              = Running a:Error(1)
            started a
              = Running a:ready#1
            exited a 1
              -> back off a 10s
              = Running a:CrashLoopBackOff#1, wakes in 10s
            after 10s
              -> start a #2
              = Running a:CrashLoopBackOff#1
            started a
              = Running a:ready#2
            after 700s
              = Running a:ready#2
            exited a 0
              -> start a #3
              = Running a:Completed(0)#2
        "#]],
    );
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    check(
        json!({
            "initContainers": [
                { "name": "i", "image": "x" },
                { "name": "s", "image": "x", "restartPolicy": "Always", "startupProbe": {} },
                { "name": "j", "image": "x" },
            ],
            "containers": [app(json!({}))],
        }),
        "prepared
         started i
         exited i 1
         started i
         exited i 0
         started s
         probe s startup ok
         started j
         exited j 0
         started a
         exited s 0
         started s",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending i:PodInitializing s:PodInitializing j:PodInitializing a:PodInitializing
            prepared
              -> start i #0
              = Pending i:PodInitializing s:PodInitializing j:PodInitializing a:PodInitializing
            started i
              = Pending i:running s:PodInitializing j:PodInitializing a:PodInitializing
            exited i 1
              -> start i #1
              = Pending i:Error(1) s:PodInitializing j:PodInitializing a:PodInitializing
            started i
              = Pending i:running#1 s:PodInitializing j:PodInitializing a:PodInitializing
            exited i 0
              -> start s #0
              = Pending i:Completed(0)#1 s:PodInitializing j:PodInitializing a:PodInitializing
            started s
              = Pending i:Completed(0)#1 s:running j:PodInitializing a:PodInitializing
            probe s startup ok
              -> start j #0
              = Pending i:Completed(0)#1 s:ready j:PodInitializing a:PodInitializing
            started j
              = Pending i:Completed(0)#1 s:ready j:running a:PodInitializing
            exited j 0
              -> start a #0
              = Pending i:Completed(0)#1 s:ready j:Completed(0) a:PodInitializing
            started a
              = Running i:Completed(0)#1 s:ready j:Completed(0) a:ready
            exited s 0
              -> start s #1
              = Running i:Completed(0)#1 s:Completed(0) j:Completed(0) a:ready
            started s
              = Running i:Completed(0)#1 s:running#1 j:Completed(0) a:ready
        "#]],
    );
}

#[test]
fn a_failed_init_container_of_a_pod_that_never_restarts_fails_it() {
    check(
        json!({
            "restartPolicy": "Never",
            "initContainers": [{ "name": "i", "image": "x" }],
            "containers": [app(json!({}))],
        }),
        "prepared
         started i
         exited i 3
         released",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending i:PodInitializing a:PodInitializing
            prepared
              -> start i #0
              = Pending i:PodInitializing a:PodInitializing
            started i
              = Pending i:running a:PodInitializing
            exited i 3
              -> RemoveSandbox
              -> RemoveVolumes
              = Failed i:Error(3) a:PodInitializing
            released
              = Failed i:Error(3) a:PodInitializing
        "#]],
    );
}

#[test]
fn a_job_ends_and_takes_its_sidecar_along() {
    check(
        json!({
            "restartPolicy": "OnFailure",
            "initContainers": [{ "name": "s", "image": "x", "restartPolicy": "Always" }],
            "containers": [app(json!({}))],
        }),
        "prepared
         started s
         started a
         exited a 1
         started a
         exited a 0
         exited s 143
         released",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending s:PodInitializing a:PodInitializing
            prepared
              -> start s #0
              = Pending s:PodInitializing a:PodInitializing
            started s
              -> start a #0
              = Pending s:ready a:PodInitializing
            started a
              = Running s:ready a:ready
            exited a 1
              -> start a #1
              = Running s:ready a:Error(1)
            started a
              = Running s:ready a:ready#1
            exited a 0
              -> stop s: PodEnds in 30s
              -> terminate s
              = Running s:running a:Completed(0)#1, wakes in 30s
            exited s 143
              -> RemoveSandbox
              -> RemoveVolumes
              = Succeeded s:Error(143) a:Completed(0)#1
            released
              = Succeeded s:Error(143) a:Completed(0)#1
        "#]],
    );
}

#[test]
fn probes_decide_about_readiness_and_life() {
    check(
        json!({ "containers": [app(json!({ "startupProbe": {}, "livenessProbe": {}, "readinessProbe": {} }))] }),
        "prepared
         started a
         probe a startup ok
         probe a readiness ok
         probe a readiness fail
         probe a liveness fail
         exited a 143",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:running
            probe a startup ok
              = Running a:running
            probe a readiness ok
              = Running a:ready
            probe a readiness fail
              = Running a:running
            probe a liveness fail
              -> stop a: LivenessFailed in 30s
              -> terminate a
              = Running a:running, wakes in 30s
            exited a 143
              -> start a #1
              = Running a:Error(143)
        "#]],
    );
}

#[test]
fn images_that_cannot_be_pulled() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "prepared
         image-fails a
         after 2s
         after 8s
         image-fails a
         after 2s
         after 18s
         started a",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            image-fails a
              = Pending a:ErrImagePull, wakes in 2s
            after 2s
              -> ImageBackOff { container: "a" }
              = Pending a:ImagePullBackOff, wakes in 8s
            after 8s
              -> start a #0
              = Pending a:ImagePullBackOff
            image-fails a
              = Pending a:ErrImagePull, wakes in 2s
            after 2s
              -> ImageBackOff { container: "a" }
              = Pending a:ImagePullBackOff, wakes in 18s
            after 18s
              -> start a #0
              = Pending a:ImagePullBackOff
            started a
              = Running a:ready
        "#]],
    );
}

#[test]
fn a_missing_config_map_is_waited_for() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "volumes fail
         dependency-changed
         prepared
         config-fails a
         dependency-changed
         start-fails a
         start-fails a",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            volumes fail
              = Pending a:ContainerCreating, wakes in 1s
            dependency-changed
              -> PrepareVolumes
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            config-fails a
              = Pending a:CreateContainerConfigError, wakes in 1s
            dependency-changed
              -> start a #0
              = Pending a:CreateContainerConfigError
            start-fails a
              -> start a #1
              = Running a:StartError(128)
            start-fails a
              -> back off a 10s
              = Running a:CrashLoopBackOff#1, wakes in 10s
        "#]],
    );
}

#[test]
fn a_post_start_hook_holds_up_the_next_container() {
    check(
        json!({ "containers": [
            app(json!({ "lifecycle": { "postStart": { "sleep": { "seconds": 1 } } } })),
            { "name": "b", "image": "x" },
        ] }),
        "prepared
         started a
         post-start a ok
         started b
         exited a 0
         started a
         post-start a fail",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating b:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating b:ContainerCreating
            started a
              -> postStart a
              = Pending a:ready b:ContainerCreating
            post-start a ok
              -> start b #0
              = Pending a:ready b:ContainerCreating
            started b
              = Running a:ready b:ready
            exited a 0
              -> start a #1
              = Running a:Completed(0) b:ready
            started a
              -> postStart a
              = Running a:ready#1 b:ready
            post-start a fail
              -> stop a: PostStartFailed in 30s
              -> terminate a
              = Running a:running#1 b:ready, wakes in 30s
        "#]],
    );
}

#[test]
fn another_image_replaces_the_container() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "prepared
         started a
         image a two
         exited a 143
         started a",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:ready
            image a two
              -> stop a: DefinitionChanged in 30s
              -> terminate a
              = Running a:running, wakes in 30s
            exited a 143
              -> start a #1
              = Running a:Error(143)
            started a
              = Running a:ready#1
        "#]],
    );
}

#[test]
fn a_deadline_fails_the_pod() {
    check(
        json!({ "activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 5, "containers": [app(json!({}))] }),
        "prepared
         started a
         after 60s
         exited a 143
         released",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating, wakes in 60s
            prepared
              -> start a #0
              = Pending a:ContainerCreating, wakes in 60s
            started a
              = Running a:ready, wakes in 60s
            after 60s
              -> Expire
              -> stop a: PodEnds in 5s
              -> terminate a
              = Failed a:running, wakes in 5s
            exited a 143
              -> RemoveSandbox
              -> RemoveVolumes
              = Failed a:Error(143)
            released
              = Failed a:Error(143)
        "#]],
    );
}

#[test]
fn only_the_startup_probe_runs_until_it_passes() {
    let spec = json!({ "containers": [app(json!({
        "startupProbe": {}, "livenessProbe": {}, "readinessProbe": {},
    }))] });
    let mut story = Story::new(&spec);
    let kinds = |story: &Story| probes(&story.state).into_iter().map(|probe| probe.kind).collect::<Vec<_>>();
    story.happens("prepared");
    story.settle();
    assert_eq!(kinds(&story), []);
    story.happens("started a");
    assert_eq!(kinds(&story), [ProbeKind::Startup]);
    story.happens("probe a startup ok");
    assert_eq!(kinds(&story), [ProbeKind::Liveness, ProbeKind::Readiness]);
    story.happens("deleted 30");
    assert_eq!(kinds(&story), []);
}

#[test]
fn the_waiting_message_names_container_and_pod() {
    let mut story = Story::new(&json!({ "containers": [app(json!({}))] }));
    for text in ["prepared", "started a", "exited a 1", "started a", "exited a 1"] {
        story.settle();
        story.happens(text);
    }
    story.settle();
    let Run::Waiting(Some(waiting)) = &story.state.containers[0].run else { panic!("not waiting") };
    expect!["back-off 10s restarting failed container=a pod=web_shop(u1)"].assert_eq(&waiting.message);
    assert_eq!(decide::decide(&story.state, story.now).actions, []);
}
