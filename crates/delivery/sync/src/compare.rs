//! The live objects beside what the deployed commit says: status, drift, and putting it right.

use serde_json::Value;

use crate::application::{Application, Automated, Drift, HealthCode, HealthStatus, ResourceStatus, Summary, SyncCode};
use crate::attempt::key_of;
use crate::cluster::ClusterError;
use crate::deploy::{DeployError, may_prune};
use crate::diff;
use crate::health;
use crate::manifest::{Key, Kind, Manifest, text};
use crate::render;
use crate::source::Commit;
use crate::worker::{Round, WorkError, Worker};

/// Putting drift right this often within a minute means that somebody else insists.
const HEALS_A_MINUTE: usize = 10;

impl Worker {
    /// Compares with the deployed commit and puts right what drifted, where the policy says so.
    pub async fn compare_and_heal(&mut self, round: &mut Round, head: &Commit) -> Result<(), WorkError> {
        let deployed = round.status.deployed().cloned();
        let Some(deployed) = deployed else {
            round.status.sync.revision = head.id.clone();
            round.status.sync.status = SyncCode::OutOfSync;
            round.status.health =
                HealthStatus { status: HealthCode::Missing, message: "nothing is deployed yet".to_owned() };
            return Ok(());
        };
        if self.rendered.as_ref().is_none_or(|rendered| rendered.commit.id != deployed.revision) {
            let commit = Commit { id: deployed.revision, subject: deployed.subject, author: String::new() };
            match self.render(round, &commit, false).await {
                Ok(rendered) => {
                    self.watch_over(&rendered).await;
                    self.rendered = Some(rendered);
                }
                Err(DeployError::Work(error)) => return Err(error),
                Err(DeployError::Trouble(trouble)) => {
                    self.condition(round, "ComparisonError", Some(trouble.to_string()));
                    round.status.sync.status = SyncCode::Unknown;
                    return Ok(());
                }
            }
        }
        self.compare(round).await?;
        let drifted: Vec<ResourceStatus> = round
            .status
            .resources
            .iter()
            .filter(|resource| resource.status == SyncCode::OutOfSync && !resource.requires_pruning)
            .cloned()
            .collect();
        if !drifted.is_empty() && self.still(round, |policy| policy.self_heal).await? {
            self.heal(round, &drifted).await?;
            self.compare(round).await?;
        }
        let leftover = round.status.resources.iter().any(|resource| resource.requires_pruning);
        if leftover && self.still(round, |policy| policy.prune && policy.self_heal).await? {
            self.prune_leftovers(round).await?;
            self.compare(round).await?;
        }
        let message = drift_message(&round.status.resources);
        self.condition(round, "DriftDetected", message);
        round.status.sync.revision = head.id.clone();
        let is_head = self.rendered.as_ref().is_some_and(|rendered| rendered.commit.id == head.id);
        if !is_head {
            round.status.sync.status = SyncCode::OutOfSync;
        }
        Ok(())
    }

    /// Whether the policy lets something be put right, also now that it has been seen. Whoever turned that off before they
    /// changed something is not to be overruled by a round that had read the Application before.
    async fn still(&self, round: &Round, allows: fn(&Automated) -> bool) -> Result<bool, WorkError> {
        let allowed = |application: &Application| application.spec.automated().is_some_and(allows);
        if !allowed(&round.application) {
            return Ok(false);
        }
        let now = self.shared.applications().get_opt(&self.name).await?;
        Ok(now.is_some_and(|application| allowed(&application)))
    }

    /// Fills in resources, sync status, health and summary from the live objects.
    pub async fn compare(&mut self, round: &mut Round) -> Result<(), ClusterError> {
        let Some(rendered) = self.rendered.take() else { return Ok(()) };
        let compared = self.compare_with(round, &rendered.targets).await;
        self.rendered = Some(rendered);
        compared
    }

    async fn compare_with(&mut self, round: &mut Round, targets: &[Manifest]) -> Result<(), ClusterError> {
        let mut resources = Vec::new();
        let mut healths = Vec::new();
        let mut summary = Summary::default();
        for target in targets {
            let (kind, key) = (target.kind(), target.key());
            let live = match self.shared.cluster.get(&kind, &key).await {
                Err(ClusterError::UnknownKind { .. }) => None,
                live => live?,
            };
            let resource = match &live {
                None => missing(&kind, &key),
                Some(live) => {
                    let drift = self.drift(target, &key, live).await?;
                    let status = if drift.is_empty() { SyncCode::Synced } else { SyncCode::OutOfSync };
                    ResourceStatus { status, health: health::assess(live), drift, ..entry(&kind, &key) }
                }
            };
            healths.extend(resource.health.clone());
            summarize(&target.object, self.shared.gateway_http_port, &mut summary);
            resources.push(resource);
        }
        let wanted: Vec<Key> = targets.iter().map(Manifest::key).collect();
        for live in self.tracked(&round.status.resources, targets).await? {
            let key = Key::of(&live);
            if !wanted.contains(&key) && may_prune(&live) {
                let extra = ResourceStatus {
                    status: SyncCode::OutOfSync,
                    requires_pruning: true,
                    ..entry(&Kind::of(&live), &key)
                };
                resources.push(extra);
            }
        }
        summary.images.sort();
        summary.images.dedup();
        let all_synced = resources.iter().all(|resource| resource.status == SyncCode::Synced);
        round.status.sync.status = if all_synced { SyncCode::Synced } else { SyncCode::OutOfSync };
        round.status.health = health::overall(&healths);
        round.status.resources = resources;
        round.status.summary = summary;
        Ok(())
    }

    /// The fields of a live object that are not as the source says. The server is only asked when something changed.
    async fn drift(&mut self, target: &Manifest, key: &Key, live: &Value) -> Result<Vec<Drift>, ClusterError> {
        let fingerprint = diff::fingerprint(live);
        if let Some((known, drift)) = self.compared.get(key)
            && *known == fingerprint
        {
            return Ok(drift.clone());
        }
        let drift = match self.shared.cluster.dry_run(target).await {
            Ok(applied) => diff::drift(live, &applied),
            Err(ClusterError::Refused(status)) => {
                let desired = format!("it cannot be applied: {}", status.message);
                vec![Drift { field: String::new(), desired, ..Drift::default() }]
            }
            Err(error) => return Err(error),
        };
        self.compared.insert(key.clone(), (fingerprint, drift.clone()));
        Ok(drift)
    }

    async fn heal(&mut self, round: &mut Round, drifted: &[ResourceStatus]) -> Result<(), WorkError> {
        let now = self.now();
        self.healed_at.retain(|at| now.duration_since(*at).as_secs() < 60);
        if self.healed_at.len() >= HEALS_A_MINUTE {
            let message = format!(
                "put right {HEALS_A_MINUTE} times within a minute; somebody keeps changing it back: {}",
                drift_message(drifted).unwrap_or_default()
            );
            self.condition(round, "SelfHealPaused", Some(message));
            return Ok(());
        }
        self.condition(round, "SelfHealPaused", None);
        self.healed_at.push(now);
        let Some(rendered) = self.rendered.take() else { return Ok(()) };
        for target in &rendered.targets {
            let key = target.key();
            let Some(resource) = drifted.iter().find(|resource| key_of(resource) == key) else { continue };
            let message = match resource.drift.as_slice() {
                [] => format!("{key} was gone and is back"),
                drift => format!("{key}: {}", drift.iter().map(put_back).collect::<Vec<_>>().join("; ")),
            };
            match self.shared.cluster.apply(target, None).await {
                Ok(_) => {
                    tracing::info!(application = self.name, "{message}");
                    self.event(round, "Normal", "SelfHealed", &message).await;
                    let at = self.timestamp();
                    self.condition(round, "SelfHealed", Some(format!("{message} ({at})")));
                }
                Err(error) => self.condition(round, "SyncError", Some(format!("putting {key} right failed: {error}"))),
            }
            self.compared.remove(&key);
        }
        self.rendered = Some(rendered);
        Ok(())
    }

    async fn prune_leftovers(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let Some(rendered) = self.rendered.take() else { return Ok(()) };
        let pruned = self.prune(round, &rendered).await;
        self.rendered = Some(rendered);
        for key in pruned? {
            tracing::info!(application = self.name, "{key} pruned");
        }
        Ok(())
    }
}

fn entry(kind: &Kind, key: &Key) -> ResourceStatus {
    ResourceStatus {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        ..ResourceStatus::default()
    }
}

fn missing(kind: &Kind, key: &Key) -> ResourceStatus {
    let health = HealthStatus { status: HealthCode::Missing, message: format!("{key} is not there") };
    ResourceStatus { status: SyncCode::OutOfSync, health: Some(health), ..entry(kind, key) }
}

fn put_back(drift: &Drift) -> String {
    let by = if drift.manager.is_empty() { String::new() } else { format!(" by {}", drift.manager) };
    format!("{} was set to {}{by}, put back to {}", drift.field, drift.live, drift.desired)
}

/// All drift in one sentence.
fn drift_message(resources: &[ResourceStatus]) -> Option<String> {
    let mut parts = Vec::new();
    for resource in resources.iter().filter(|resource| resource.status == SyncCode::OutOfSync) {
        let key = key_of(resource);
        if resource.requires_pruning {
            parts.push(format!("{key} is not in the source any more"));
        } else if resource.drift.is_empty() {
            parts.push(format!("{key} is missing"));
        }
        for drift in &resource.drift {
            let by = if drift.manager.is_empty() { String::new() } else { format!(", set by {}", drift.manager) };
            parts.push(format!("{key}: {} is {} instead of {}{by}", drift.field, drift.live, drift.desired));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn summarize(object: &Value, port: u16, summary: &mut Summary) {
    render::images(object, &mut summary.images);
    if text(object, "/kind") != "Ingress" {
        return;
    }
    for rule in object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
        let host = text(rule, "/host");
        if host.is_empty() || host.starts_with('*') {
            continue;
        }
        let address = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        let paths = rule.pointer("/http/paths").and_then(Value::as_array);
        let path = paths.and_then(|paths| paths.first()).map_or("/", |path| text(path, "/path"));
        let url = format!("http://{address}{}", if path.is_empty() { "/" } else { path });
        if !summary.external_urls.contains(&url) {
            summary.external_urls.push(url);
        }
    }
}
