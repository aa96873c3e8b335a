//! One deployment from its beginning to its end: healthy, or failed and back on the last good commit.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::{Value, json};

use crate::application::{History, HistoryOutcome, Initiator, Operation, OperationState, Phase, SyncResult};
use crate::cluster::ClusterError;
use crate::deploy::{DeployError, Rendered, Trouble};
use crate::follow::Update;
use crate::manifest::{Key, Kind, text};
use crate::rollout::{Failure, Scene, Verdict, judge};
use crate::source::{Commit, short};
use crate::worker::{Round, WorkError, Worker};

/// Lines of a failing container's log that are shown.
const LOG_LINES: i64 = 10;
/// Entries kept in the history.
const HISTORY_LIMIT: usize = 10;

/// A deployment whose objects are applied and whose health is awaited.
pub(crate) struct Attempt {
    pub commit: Commit,
    pub operation: Operation,
    started: Timestamp,
    shown: String,
}

impl Worker {
    /// Takes up an operation: from here on the Application says what is being done.
    pub async fn begin(&mut self, round: &mut Round, mut operation: Operation) -> Result<(), WorkError> {
        let replaced = self.attempt.take();
        let wanted = match operation.sync.revision.as_str() {
            "" => round.application.spec.target_revision().to_owned(),
            revision => revision.to_owned(),
        };
        let started = self.now();
        let commit = match self.resolve(round, &wanted).await {
            Ok(commit) => commit,
            Err(error) => {
                let commit = Commit { id: wanted, ..Commit::default() };
                self.started(round, &operation, &commit).await?;
                return self.failed(round, &commit, &operation, started, error.into()).await;
            }
        };
        if let Some(replaced) = replaced.filter(|replaced| replaced.commit.id != commit.id) {
            self.end(&replaced.commit, &Update::Failed("a newer deployment took over".to_owned()));
        }
        operation.sync.revision = commit.id.clone();
        self.started(round, &operation, &commit).await?;
        match self.deploy(round, &commit).await {
            Ok(resources) => {
                if let Some(state) = &mut round.status.operation_state {
                    state.message = "waiting for it to become healthy".to_owned();
                    state.sync_result = Some(SyncResult { revision: commit.id.clone(), resources });
                }
                self.attempt = Some(Attempt { commit, operation, started, shown: String::new() });
                Ok(())
            }
            Err(DeployError::Trouble(trouble)) => self.failed(round, &commit, &operation, started, trouble).await,
            Err(DeployError::Work(error)) => Err(error),
        }
    }

    /// Takes the request away and says that it is being worked on, in one write.
    async fn started(&self, round: &mut Round, operation: &Operation, commit: &Commit) -> Result<(), WorkError> {
        let by = match &operation.initiated_by {
            Some(Initiator { username, .. }) if !username.is_empty() => format!(", asked for by {username}"),
            _ => String::new(),
        };
        self.say(commit, format!("deploying {} {}{by}", commit.short(), commit.subject));
        round.status.operation_state = Some(OperationState {
            phase: Phase::Running,
            message: "building and applying".to_owned(),
            operation: operation.clone(),
            started_at: self.timestamp(),
            finished_at: None,
            sync_result: None,
        });
        self.patch(json!({"operation": null, "status": round.status})).await?;
        round.application.status = Some(round.status.clone());
        Ok(())
    }

    async fn deploy(
        &mut self,
        round: &mut Round,
        commit: &Commit,
    ) -> Result<Vec<crate::application::ResourceResult>, DeployError> {
        let rendered = self.render(round, commit, true).await?;
        let results = self.apply(&rendered, true).await?;
        round.status.source_type = format!("{:?}", rendered.source_type);
        self.rendered = Some(rendered);
        Ok(results)
    }

    /// Looks how the deployment in progress fares.
    pub async fn follow_up(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let Some(mut attempt) = self.attempt.take() else { return Ok(()) };
        let scene = self.scene(&attempt).await?;
        match judge(&scene) {
            Verdict::Progressing { ready, wanted } => {
                self.show(&mut attempt, ready, wanted);
                self.compare(round).await?;
                round.status.sync.revision = attempt.commit.id.clone();
                if let Some(state) = &mut round.status.operation_state {
                    state.message = format!("{ready}/{wanted} replicas ready");
                }
                self.attempt = Some(attempt);
                self.record(round).await
            }
            Verdict::Healthy { ready, wanted } => {
                self.show(&mut attempt, ready, wanted);
                self.succeeded(round, attempt).await
            }
            Verdict::Failed(failure) => {
                let trouble = self.explain(&failure).await;
                let Attempt { commit, operation, started, .. } = attempt;
                self.failed(round, &commit, &operation, started, trouble).await
            }
        }
    }

    fn show(&self, attempt: &mut Attempt, ready: i64, wanted: i64) {
        let line = format!("{ready}/{wanted} ready");
        if wanted > 0 && attempt.shown != line {
            self.say(&attempt.commit, &line);
            attempt.shown = line;
        }
    }

    async fn scene(&self, attempt: &Attempt) -> Result<Scene, ClusterError> {
        let cluster = &self.shared.cluster;
        let mut scene =
            Scene { elapsed_seconds: self.now().duration_since(attempt.started).as_secs(), ..Scene::default() };
        let mut namespaces = Vec::new();
        for target in self.rendered.iter().flat_map(|rendered| &rendered.targets) {
            let (kind, key) = (target.kind(), target.key());
            scene.objects.extend(cluster.get(&kind, &key).await?);
            if !key.namespace.is_empty() && !namespaces.contains(&key.namespace) {
                namespaces.push(key.namespace);
            }
        }
        let kind =
            |group: &str, kind: &str| Kind { group: group.to_owned(), version: "v1".to_owned(), kind: kind.to_owned() };
        for namespace in namespaces {
            scene.replica_sets.extend(cluster.list(&kind("apps", "ReplicaSet"), &namespace).await?);
            scene.pods.extend(cluster.list(&kind("", "Pod"), &namespace).await?);
        }
        Ok(scene)
    }

    async fn succeeded(&mut self, round: &mut Round, attempt: Attempt) -> Result<(), WorkError> {
        let Attempt { commit, operation, started, .. } = attempt;
        let prunes = operation.sync.prune || round.application.spec.automated().is_some_and(|policy| policy.prune);
        if let Some(rendered) = self.rendered.take() {
            if prunes {
                let pruned = self.prune(round, &rendered).await?;
                for key in &pruned {
                    self.say(&commit, format!("  {key} pruned"));
                }
            }
            self.rendered = Some(rendered);
        }
        let seconds = self.now().duration_since(started).as_secs_f64();
        self.say(&commit, format!("healthy after {seconds:.1} s"));
        self.remember(round, &commit, &operation, started, HistoryOutcome::Healthy, String::new());
        self.finish(round, Phase::Succeeded, "healthy".to_owned());
        for settled in ["SyncError", "SelfHealed", "SelfHealPaused", "DriftDetected"] {
            self.condition(round, settled, None);
        }
        self.compare(round).await?;
        round.status.sync.revision = commit.id.clone();
        for url in &round.status.summary.external_urls {
            self.say(&commit, format!("  {url}"));
        }
        self.record(round).await?;
        self.end(&commit, &Update::Done);
        Ok(())
    }

    /// Ends a deployment that came to nothing, and puts the last good commit back.
    async fn failed(
        &mut self,
        round: &mut Round,
        commit: &Commit,
        operation: &Operation,
        started: Timestamp,
        trouble: Trouble,
    ) -> Result<(), WorkError> {
        let message = trouble.to_string();
        self.say(commit, format!("failed: {message}"));
        for line in trouble.0.iter().skip(1) {
            self.say(commit, line);
        }
        let good = round.status.deployed().cloned();
        self.remember(round, commit, operation, started, HistoryOutcome::Failed, message.clone());
        self.finish(round, Phase::Failed, message.clone());
        let consequence = match &good {
            Some(good) => self.restore(round, good).await?,
            None => "nothing else was deployed before, so there is nothing to go back to".to_owned(),
        };
        self.say(commit, &consequence);
        let name = format!("{} {}", commit.short(), commit.subject);
        self.condition(round, "SyncError", Some(format!("{} failed: {message}; {consequence}", name.trim_end())));
        self.compare(round).await?;
        round.status.sync.revision = commit.id.clone();
        self.record(round).await?;
        self.event(round, "Warning", "DeploymentFailed", &format!("{}: {message}", commit.short())).await;
        self.end(commit, &Update::Failed(message));
        Ok(())
    }

    /// Applies the last good commit again; what that came to, in words.
    async fn restore(&mut self, round: &mut Round, good: &History) -> Result<String, WorkError> {
        let commit = Commit { id: good.revision.clone(), subject: good.subject.clone(), author: String::new() };
        let name = format!("{} {}", commit.short(), commit.subject);
        let name = name.trim_end();
        let touched = self.rendered.as_ref().is_some_and(|rendered| rendered.commit.id != commit.id);
        if !touched && self.rendered.is_some() {
            return Ok(format!("nothing was changed: {name} is still deployed"));
        }
        let kept_serving = self.keeps_serving().await?;
        let back = async {
            let rendered = self.render(round, &commit, false).await?;
            self.apply(&rendered, false).await?;
            self.prune(round, &rendered).await?;
            Ok::<Rendered, DeployError>(rendered)
        };
        match back.await {
            Ok(rendered) => {
                self.rendered = Some(rendered);
                let serving = if kept_serving { ": its replicas never stopped serving" } else { "" };
                Ok(format!("{} {name}{serving}", if kept_serving { "still on" } else { "back on" }))
            }
            Err(DeployError::Work(error)) => Err(error),
            Err(DeployError::Trouble(trouble)) => Ok(format!("and going back to {name} failed: {trouble}")),
        }
    }

    /// Whether every Deployment has as many available replicas as it wants, be they old ones.
    async fn keeps_serving(&self) -> Result<bool, ClusterError> {
        let mut all = true;
        for target in self.rendered.iter().flat_map(|rendered| &rendered.targets) {
            let kind = target.kind();
            if kind.kind != "Deployment" {
                continue;
            }
            let live = self.shared.cluster.get(&kind, &target.key()).await?.unwrap_or_default();
            let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64);
            all &= number("/status/availableReplicas").unwrap_or(0) >= number("/spec/replicas").unwrap_or(1);
        }
        Ok(all)
    }

    fn remember(
        &self,
        round: &mut Round,
        commit: &Commit,
        operation: &Operation,
        started: Timestamp,
        outcome: HistoryOutcome,
        message: String,
    ) {
        let history = &mut round.status.history;
        let id = history.last().map_or(0, |entry| entry.id + 1);
        let image = self.rendered.as_ref().filter(|rendered| rendered.commit.id == commit.id);
        history.push(History {
            id,
            revision: commit.id.clone(),
            deploy_started_at: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            deployed_at: self.timestamp(),
            source: round.application.spec.source.clone(),
            initiated_by: operation.initiated_by.clone(),
            outcome,
            subject: commit.subject.clone(),
            message,
            image: image
                .and_then(|rendered| rendered.image.as_ref())
                .map(|image| image.reference.clone())
                .unwrap_or_default(),
        });
        let limit = round.application.spec.revision_history_limit.unwrap_or(HISTORY_LIMIT).max(1);
        // The commit to go back to must not be pushed out by failures.
        while history.len() > limit {
            let good = history.iter().rposition(|entry| entry.outcome == HistoryOutcome::Healthy);
            history.remove(usize::from(good == Some(0)));
        }
    }

    fn finish(&self, round: &mut Round, phase: Phase, message: String) {
        let finished_at = Some(self.timestamp());
        if let Some(state) = &mut round.status.operation_state {
            state.phase = phase;
            state.message = message;
            state.finished_at = finished_at;
        }
    }

    /// A failure with what the pod's events and log have to say.
    async fn explain(&self, failure: &Failure) -> Trouble {
        let mut lines = vec![failure.message.clone()];
        let Some((namespace, pod)) = &failure.pod else { return Trouble(lines) };
        if let Some(event) = self.telling_event(failure.event, namespace, pod).await {
            lines.push(format!("  event: {event}"));
        }
        if let Some(container) = failure.container.as_ref().filter(|_| failure.has_log) {
            let log = self.log(namespace, pod, container).await;
            if log.is_empty() {
                lines.push("  it wrote nothing to its log".to_owned());
            } else {
                lines.push("  the last lines of its log:".to_owned());
                lines.extend(log.into_iter().map(|line| format!("  | {line}")));
            }
        }
        Trouble(lines)
    }

    /// The newest warning about the pod: of that reason, if one comes in time, as a pod's status is told before its event.
    async fn telling_event(&self, reason: Option<&str>, namespace: &str, pod: &str) -> Option<String> {
        let mut newest = None;
        for wait in [0, 50, 100, 200, 400] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let warnings = self.warnings(namespace, pod).await;
            let telling = warnings.iter().rev().find(|event| reason.is_none_or(|reason| event["reason"] == reason));
            newest = telling.or(warnings.last()).cloned();
            if telling.is_some() || reason.is_none() {
                break;
            }
        }
        newest.map(|event| format!("{} {}", text(&event, "/reason"), text(&event, "/message")))
    }

    /// The warnings about a pod, the newest last.
    async fn warnings(&self, namespace: &str, pod: &str) -> Vec<Value> {
        let events: Api<Event> = Api::namespaced(self.shared.cluster.client.clone(), namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={pod},type=Warning"));
        let list = events.list(&about).await.map(|list| list.items).unwrap_or_default();
        let mut warnings: Vec<Value> = list.iter().filter_map(|event| serde_json::to_value(event).ok()).collect();
        warnings.sort_by_key(|event| {
            let time = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
            time.iter().map(|pointer| text(event, pointer)).find(|time| !time.is_empty()).unwrap_or_default().to_owned()
        });
        warnings
    }

    /// The end of the container's log: of the run that ended, as the present one may not have got anywhere.
    async fn log(&self, namespace: &str, pod: &str, container: &str) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.shared.cluster.client.clone(), namespace);
        for previous in [true, false] {
            let parameters = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            match pods.logs(pod, &parameters).await {
                Ok(log) if !log.trim().is_empty() => return log.lines().map(str::to_owned).collect(),
                Ok(_) => {}
                Err(error) => tracing::debug!(pod, container, previous, %error, "no log"),
            }
        }
        Vec::new()
    }

    /// Tells of something in the Application's own events. Events are for reading only: without one, nothing is lost.
    pub async fn event(&self, round: &Round, kind: &str, reason: &str, message: &str) {
        let events: Api<Event> = Api::namespaced(self.shared.cluster.client.clone(), crate::application::NAMESPACE);
        let now = self.timestamp();
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{}.", self.name), "namespace": crate::application::NAMESPACE},
            "involvedObject": {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "name": self.name,
                "namespace": crate::application::NAMESPACE,
                "uid": round.application.metadata.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "coracle"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        let created = match serde_json::from_value(event) {
            Ok(event) => events.create(&Default::default(), &event).await.map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = created {
            tracing::debug!(application = self.name, reason, error, "the event could not be recorded");
        }
    }
}

/// A commit as a history entry names it.
pub(crate) fn describe(entry: &History) -> String {
    format!("{} {}", short(&entry.revision), entry.subject).trim_end().to_owned()
}

/// The key of an object's status entry.
pub(crate) fn key_of(resource: &crate::application::ResourceStatus) -> Key {
    Key {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
    }
}
