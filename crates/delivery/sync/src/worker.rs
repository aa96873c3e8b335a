//! One Application's worker: what it does each time it is woken, and what it remembers in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::application::{
    Application, ApplicationStatus, Condition, Drift, FINALIZER, HELD_AT, Initiator, MANAGER, Operation, REFRESH,
    app_of_url,
};
use crate::attempt::Attempt;
use crate::cluster::ClusterError;
use crate::controller::Shared;
use crate::deploy::Rendered;
use crate::follow::Update;
use crate::manifest::Key;
use crate::names::Environment;
use crate::source::{Commit, SourceError};

/// Even with nothing happening, everything is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(180);
/// A deployment in progress is looked at this often besides being woken by its pods.
const LOOK_AT_PROGRESS: Duration = Duration::from_millis(500);
/// Changes come in swarms: what follows within this time is looked at together.
const COALESCE: Duration = Duration::from_millis(10);
/// After an error of the API, the first and the longest wait.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Why a round could not be finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<kube::Error> for WorkError {
    fn from(error: kube::Error) -> Self {
        WorkError::Cluster(error.into())
    }
}

pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub name: String,
    wake: Arc<Notify>,
    /// The objects of the commit that is deployed, or being deployed.
    pub rendered: Option<Rendered>,
    /// What the last comparison of an object said, by the object's state at that time.
    pub compared: HashMap<Key, (String, Vec<Drift>)>,
    pub attempt: Option<Attempt>,
    /// When drift was put right lately, so that a tug-of-war with another controller is noticed.
    pub healed_at: Vec<Timestamp>,
}

/// What is known of the Application during one round.
pub(crate) struct Round {
    pub application: Application,
    pub status: ApplicationStatus,
    pub environment: Environment,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, name: &str, wake: Arc<Notify>) -> Self {
        Worker {
            shared,
            name: name.to_owned(),
            wake,
            rendered: None,
            compared: HashMap::new(),
            attempt: None,
            healed_at: Vec::new(),
        }
    }

    pub async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.reconcile().await {
                Ok(Some(wait)) => {
                    retry = FIRST_RETRY;
                    wait
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(application = self.name, %error, "reconciling failed; trying again");
                    let wait = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    wait
                }
            };
            if tokio::time::timeout(wait, self.wake.notified()).await.is_ok() {
                tokio::time::sleep(COALESCE).await;
            }
        }
    }

    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// One look at everything; how long to sleep, or nothing when the Application is gone.
    async fn reconcile(&mut self) -> Result<Option<Duration>, WorkError> {
        let Some((mut round, operation)) = self.read().await? else { return Ok(None) };
        if round.application.metadata.deletion_timestamp.is_some() {
            return self.tear_down(&round).await;
        }
        if let Some(operation) = operation {
            self.begin(&mut round, operation).await?;
        } else if self.attempt.is_none() && round.status.is_running() {
            self.resume(&mut round).await?;
        }
        if self.attempt.is_some() {
            self.follow_up(&mut round).await?;
        }
        if self.attempt.is_none() {
            self.keep(&mut round).await?;
        }
        Ok(Some(if self.attempt.is_some() { LOOK_AT_PROGRESS } else { LOOK_AGAIN }))
    }

    async fn read(&self) -> Result<Option<(Round, Option<Operation>)>, WorkError> {
        let Some(raw) = self.shared.raw_applications().get_opt(&self.name).await? else { return Ok(None) };
        let operation = raw.data.get("operation").filter(|operation| !operation.is_null()).cloned();
        let operation = operation.and_then(|operation| serde_json::from_value(operation).ok());
        let value = serde_json::to_value(&raw).expect("an object that came as JSON goes as JSON");
        let application: Application = match serde_json::from_value(value) {
            Ok(application) => application,
            Err(error) => {
                tracing::warn!(application = self.name, %error, "the Application cannot be read");
                return Ok(None);
            }
        };
        let app = app_of_url(&application.spec.source.repo_url).unwrap_or(&self.name).to_owned();
        let preview = self.name.strip_prefix(&format!("{app}-")).unwrap_or_default().to_owned();
        let status = application.status.clone().unwrap_or_default();
        Ok(Some((Round { application, status, environment: Environment { app, preview } }, operation)))
    }

    /// Finishes what an engine that went away left half done: a deployment can simply be begun again.
    async fn resume(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let operation = round.status.operation_state.as_ref().map(|state| state.operation.clone());
        self.begin(round, operation.unwrap_or_default()).await
    }

    /// What `revision` means now.
    pub async fn resolve(&self, round: &Round, revision: &str) -> Result<Commit, SourceError> {
        let (sources, url) = (self.shared.sources.clone(), round.application.spec.source.repo_url.clone());
        let revision = revision.to_owned();
        let read = tokio::task::spawn_blocking(move || match sources.resolve(&url, &revision)? {
            Some(commit) => Ok(commit),
            None => Err(SourceError::NoRevision { repo_url: url, revision }),
        });
        read.await.unwrap_or_else(|error| Err(SourceError::Read { what: self.name.clone(), reason: error.to_string() }))
    }

    /// The steady state: new commits are deployed, drift is shown and put right.
    async fn keep(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let spec = round.application.spec.clone();
        let head = match self.resolve(round, spec.target_revision()).await {
            Ok(head) => head,
            Err(error) => {
                self.condition(round, "ComparisonError", Some(error.to_string()));
                return self.record(round).await;
            }
        };
        self.condition(round, "ComparisonError", None);
        let deployed = round.status.deployed().map(|entry| entry.revision.clone());
        let held = round.annotation(HELD_AT) == Some(head.id.as_str());
        let refreshed = round.annotation(REFRESH).is_some();
        let is_new = deployed.as_deref() != Some(&head.id);
        if spec.automated().is_some() && is_new && !held && !round.status.has_failed_at(&head.id) {
            let initiated_by = Some(Initiator { username: String::new(), automated: true });
            let mut operation = Operation { initiated_by, ..Operation::default() };
            operation.sync.revision = head.id.clone();
            self.begin(round, operation).await?;
            if self.attempt.is_some() {
                return self.follow_up(round).await;
            }
        }
        let held_message =
            held.then(|| format!("held at an earlier commit until the next push; {} is not deployed", head.short()));
        self.condition(round, "SyncHeld", held_message);
        self.compare_and_heal(round, &head).await?;
        if refreshed {
            self.patch(json!({"metadata": {"annotations": {REFRESH: null}}})).await?;
        }
        self.record(round).await
    }

    /// Sets or removes a condition of this kind.
    pub fn condition(&self, round: &mut Round, kind: &str, message: Option<String>) {
        let conditions = &mut round.status.conditions;
        let known = conditions.iter().position(|condition| condition.kind == kind);
        match (message, known) {
            (Some(message), Some(index)) if conditions[index].message == message => {}
            (Some(message), known) => {
                if let Some(index) = known {
                    conditions.remove(index);
                }
                let last_transition_time = self.timestamp();
                conditions.push(Condition { kind: kind.to_owned(), message, last_transition_time });
            }
            (None, Some(index)) => {
                conditions.remove(index);
            }
            (None, None) => {}
        }
    }

    pub fn timestamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Writes the status, if it says anything new.
    pub async fn record(&self, round: &mut Round) -> Result<(), WorkError> {
        let before = round.application.status.clone().unwrap_or_default();
        round.status.reconciled_at = before.reconciled_at.clone();
        if round.status == before && round.application.status.is_some() {
            return Ok(());
        }
        round.status.reconciled_at = self.timestamp();
        self.patch(json!({"status": round.status})).await?;
        round.application.status = Some(round.status.clone());
        Ok(())
    }

    pub async fn patch(&self, patch: Value) -> Result<(), WorkError> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.shared.raw_applications().patch(&self.name, &parameters, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Takes everything away that the Application deployed; with the last object gone it may go itself.
    async fn tear_down(&mut self, round: &Round) -> Result<Option<Duration>, WorkError> {
        self.attempt = None;
        let finalizers = round.application.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|known| known == FINALIZER) {
            return Ok(None);
        }
        let left = self.delete_all(round).await?;
        if left > 0 {
            tracing::debug!(application = self.name, left, "waiting for objects to go");
            return Ok(Some(LOOK_AT_PROGRESS));
        }
        let others: Vec<String> = finalizers.into_iter().filter(|known| known != FINALIZER).collect();
        match self.patch(json!({"metadata": {"finalizers": others}})).await {
            Err(WorkError::Cluster(error)) if error.is_not_found() => {}
            done => done?,
        }
        Ok(None)
    }

    pub fn say(&self, commit: &Commit, line: impl AsRef<str>) {
        tracing::info!(application = self.name, commit = commit.short(), "{}", line.as_ref());
        self.shared.followers.say(&self.name, &commit.id, line.as_ref());
    }

    pub fn end(&self, commit: &Commit, last: &Update) {
        self.shared.followers.end(&self.name, &commit.id, last);
    }
}

impl Round {
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.application.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}
