//! What the command line and the web page ask: plain functions over the API.

use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use crate::application::{
    Application, HELD_AT, HealthCode, History, HistoryOutcome, MANAGER, NAMESPACE, Phase, ResourceStatus, SyncCode,
    app_of_url,
};
use crate::attempt::describe;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("there is no application {name}{}", known(.others))]
    NoApplication { name: String, others: Vec<String> },
    #[error("{0} has no earlier healthy deployment to go back to")]
    NothingEarlier(String),
    #[error("the history of {name} has no {wanted}; it has {known}")]
    NotInHistory { name: String, wanted: String, known: String },
    #[error("the Kubernetes API: {0}")]
    Api(#[from] kube::Error),
}

fn known(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!("; there is {}", others.join(", ")) }
}

/// One environment of an app, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub name: String,
    pub app: String,
    pub branch: String,
    pub namespace: String,
    /// The commit that is deployed.
    pub revision: String,
    pub subject: String,
    pub image: String,
    pub sync: SyncCode,
    pub health: HealthCode,
    /// What is being done, what is wrong, or nothing.
    pub message: String,
    pub is_deploying: bool,
    pub urls: Vec<String>,
    pub resources: Vec<ResourceStatus>,
    pub conditions: Vec<String>,
}

impl Overview {
    pub fn of(application: &Application) -> Self {
        let status = application.status.clone().unwrap_or_default();
        let annotations = application.metadata.annotations.clone().unwrap_or_default();
        let deployed = status.deployed().cloned().unwrap_or_default();
        let name = application.metadata.name.clone().unwrap_or_default();
        let operation = status.operation_state.clone().unwrap_or_default();
        let is_deploying = status.is_running();
        let message = match operation.phase {
            Phase::Succeeded => status.health.message.clone(),
            _ => operation.message,
        };
        Overview {
            app: app_of_url(&application.spec.source.repo_url).unwrap_or(&name).to_owned(),
            branch: annotations
                .get("coracle.dev/branch")
                .cloned()
                .unwrap_or_else(|| application.spec.source.target_revision.clone()),
            namespace: application.spec.destination.namespace.clone(),
            revision: deployed.revision,
            subject: deployed.subject,
            image: deployed.image,
            sync: status.sync.status,
            health: status.health.status,
            message,
            is_deploying,
            urls: status.summary.external_urls,
            resources: status.resources,
            conditions: status.conditions.into_iter().map(|condition| condition.message).collect(),
            name,
        }
    }
}

fn applications(client: &kube::Client) -> Api<Application> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// All environments, by name.
pub async fn overviews(client: &kube::Client) -> Result<Vec<Overview>, AskError> {
    let list = applications(client).list(&ListParams::default()).await?;
    let mut overviews: Vec<Overview> = list.items.iter().map(Overview::of).collect();
    overviews.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(overviews)
}

async fn find(client: &kube::Client, name: &str) -> Result<Application, AskError> {
    if let Some(application) = applications(client).get_opt(name).await? {
        return Ok(application);
    }
    let list = applications(client).list(&ListParams::default()).await?;
    let others = list.items.into_iter().filter_map(|application| application.metadata.name).collect();
    Err(AskError::NoApplication { name: name.to_owned(), others })
}

pub async fn overview(client: &kube::Client, name: &str) -> Result<Overview, AskError> {
    Ok(Overview::of(&find(client, name).await?))
}

/// What was deployed, newest first.
pub async fn history(client: &kube::Client, name: &str) -> Result<Vec<History>, AskError> {
    let mut history = find(client, name).await?.status.unwrap_or_default().history;
    history.reverse();
    Ok(history)
}

/// Goes back to an earlier commit: the one named (by its id or the beginning of it, or by its number in the history),
/// or the last healthy one before the present. It stays there until the next push.
pub async fn rollback(client: &kube::Client, name: &str, to: Option<&str>) -> Result<History, AskError> {
    let application = find(client, name).await?;
    let target = rollback_target(&application, name, to)?;
    let status = application.status.unwrap_or_default();
    let patch = json!({
        "metadata": {"annotations": {HELD_AT: status.sync.revision}},
        "operation": {"sync": {"revision": target.revision, "prune": true}, "initiatedBy": {"username": "rollback"}},
    });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let resource = kube::api::ApiResource::erase::<Application>(&());
    let raw: Api<kube::api::DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    raw.patch(name, &parameters, &Patch::Merge(patch)).await?;
    Ok(target)
}

fn rollback_target(application: &Application, name: &str, to: Option<&str>) -> Result<History, AskError> {
    let status = application.status.clone().unwrap_or_default();
    let healthy = || status.history.iter().rev().filter(|entry| entry.outcome == HistoryOutcome::Healthy);
    let found = match to {
        None => {
            let now = status.deployed().map(|entry| entry.revision.clone()).unwrap_or_default();
            healthy().find(|entry| entry.revision != now).ok_or_else(|| AskError::NothingEarlier(name.to_owned()))?
        }
        Some(to) => status
            .history
            .iter()
            .rev()
            .find(|entry| entry.id.to_string() == to || (to.len() >= 4 && entry.revision.starts_with(to)))
            .ok_or_else(|| AskError::NotInHistory {
                name: name.to_owned(),
                wanted: to.to_owned(),
                known: healthy().map(describe).collect::<Vec<_>>().join(", "),
            })?,
    };
    Ok(found.clone())
}
