//! The Application object: what Argo CD's API says, as far as this room uses it, and a few fields of our own in the
//! status, all of them additions a client of Argo CD passes over.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// The namespace Applications live in.
pub const NAMESPACE: &str = "coracle";
/// Kept on an Application until all it deployed is gone.
pub const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// Says which Application an object belongs to, and as which object; copied objects give themselves away by it.
pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Asks for a new look at the source.
pub const REFRESH: &str = "argocd.argoproj.io/refresh";
/// The head at which somebody went back to an earlier commit: automatic sync waits until the head is another one.
pub const HELD_AT: &str = "coracle.dev/held-at";
/// On a namespace: the Application that made it, and with which it goes.
pub const NAMESPACE_OWNER: &str = "coracle.dev/made-for";
/// The field manager of everything this room writes.
pub const MANAGER: &str = "coracle";
/// Where Applications find the repositories of the built-in Git server.
pub const REPOSITORY_HOST: &str = "git.coracle.internal";

/// The address an Application names the built-in repository `app` by.
pub fn repository_url(app: &str) -> String {
    format!("http://{REPOSITORY_HOST}/{app}.git")
}

/// The app whose built-in repository `url` means.
pub fn app_of_url(url: &str) -> Option<&str> {
    url.strip_prefix("http://")?.strip_prefix(REPOSITORY_HOST)?.strip_prefix('/')?.strip_suffix(".git")
}

#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[kube(
    group = "argoproj.io",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    shortname = "app",
    namespaced,
    schema = "disabled",
    status = "ApplicationStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSpec {
    #[serde(default)]
    pub project: String,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub destination: Destination,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_policy: Option<SyncPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Source {
    #[serde(default, rename = "repoURL")]
    pub repo_url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(default, rename = "targetRevision", skip_serializing_if = "String::is_empty")]
    pub target_revision: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSource>,
}

/// How a chart is rendered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmSource {
    /// The app's name by default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    /// From the chart's directory, or from the repository's root with a leading slash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_files: Vec<String>,
    pub ignore_missing_value_files: bool,
    /// YAML; passed over when there is a `valuesObject`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub values: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values_object: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<HelmParameter>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_parameters: Vec<HelmFileParameter>,
    pub skip_crds: bool,
    pub skip_schema_validation: bool,
    /// What templates are told of the cluster; not the version of the one deployed to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_versions: Vec<String>,
    /// The destination's by default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmParameter {
    pub name: String,
    pub value: String,
    pub force_string: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HelmFileParameter {
    pub name: String,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Directory {
    #[serde(default)]
    pub recurse: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Destination {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automated: Option<Automated>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Automated {
    #[serde(default)]
    pub prune: bool,
    #[serde(default)]
    pub self_heal: bool,
    #[serde(default)]
    pub allow_empty: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

impl ApplicationSpec {
    /// The automatic sync policy, where it is on.
    pub fn automated(&self) -> Option<&Automated> {
        let automated = self.sync_policy.as_ref()?.automated.as_ref()?;
        (automated.enabled != Some(false)).then_some(automated)
    }

    pub fn has_option(&self, option: &str) -> bool {
        self.sync_policy.as_ref().is_some_and(|policy| policy.sync_options.iter().any(|known| known == option))
    }

    pub fn target_revision(&self) -> &str {
        match self.source.target_revision.as_str() {
            "" => "HEAD",
            revision => revision,
        }
    }
}

/// A sync somebody asked for; stands beside `spec`, and is taken away when it begins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    #[serde(default)]
    pub sync: SyncOperation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<Initiator>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SyncOperation {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    #[serde(default)]
    pub prune: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Initiator {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(default)]
    pub automated: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    #[serde(default)]
    pub sync: SyncStatus,
    #[serde(default)]
    pub health: HealthStatus,
    #[serde(default)]
    pub resources: Vec<ResourceStatus>,
    #[serde(default)]
    pub summary: Summary,
    #[serde(default)]
    pub history: Vec<History>,
    #[serde(default)]
    pub operation_state: Option<OperationState>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub source_type: String,
    #[serde(default)]
    pub reconciled_at: String,
}

/// Whether the live objects are what the source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SyncCode {
    #[default]
    Unknown,
    Synced,
    OutOfSync,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SyncStatus {
    #[serde(default)]
    pub status: SyncCode,
    /// The commit the comparison was made with.
    #[serde(default)]
    pub revision: String,
}

/// How an object, or the whole app, fares. In the order of Argo CD, best first: the app is as well as its worst part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthCode {
    Healthy,
    Suspended,
    Progressing,
    Missing,
    Degraded,
    #[default]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HealthStatus {
    #[serde(default)]
    pub status: HealthCode,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub version: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    pub status: SyncCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_pruning: bool,
    /// Our own addition: which fields differ from the source, and who set them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
}

/// One field that is not as the source says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    pub field: String,
    pub desired: String,
    pub live: String,
    /// The field manager that last set it, where it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manager: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    #[serde(default, rename = "externalURLs", skip_serializing_if = "Vec::is_empty")]
    pub external_urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    pub id: u64,
    pub revision: String,
    #[serde(default)]
    pub deploy_started_at: String,
    pub deployed_at: String,
    #[serde(default)]
    pub source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<Initiator>,
    /// Our own addition: how the deployment ended.
    #[serde(default)]
    pub outcome: HistoryOutcome,
    /// Our own addition: the commit's first line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Our own addition: why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Our own addition: what was built for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HistoryOutcome {
    #[default]
    Healthy,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Running,
    Succeeded,
    Failed,
    Error,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationState {
    #[serde(default)]
    pub phase: Phase,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub operation: Operation,
    #[serde(default)]
    pub started_at: String,
    #[serde(default)]
    pub finished_at: Option<String>,
    #[serde(default)]
    pub sync_result: Option<SyncResult>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SyncResult {
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub resources: Vec<ResourceResult>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ResourceResult {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub version: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    pub status: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    pub last_transition_time: String,
}

impl ApplicationStatus {
    /// The commit that is deployed: the last one that was applied and not taken back.
    pub fn deployed(&self) -> Option<&History> {
        self.history.iter().rev().find(|entry| entry.outcome == HistoryOutcome::Healthy)
    }

    pub fn is_running(&self) -> bool {
        self.operation_state.as_ref().is_some_and(|state| state.phase == Phase::Running)
    }

    /// Whether the last attempt was at `revision`, and failed.
    pub fn has_failed_at(&self, revision: &str) -> bool {
        let last = self.operation_state.as_ref();
        last.is_some_and(|state| {
            matches!(state.phase, Phase::Failed | Phase::Error) && state.operation.sync.revision == revision
        })
    }
}
