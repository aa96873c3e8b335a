//! What the story is told about: one engine, one app, and how to look at them from outside.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod, Service},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::load::{self, Target};
use crate::{
    cli::{Global, Up},
    commands::up,
    paths::DataDir,
    state::{self, EngineState},
};

const APP: &str = "hello";
/// What the sample app listens on.
const APP_PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What identifies a pod's present life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodFacts {
    pub name: String,
    pub uid: String,
    pub restarts: i32,
}

pub struct World {
    global: Global,
    dir: DataDir,
    up: Up,
    state: Option<EngineState>,
    client: Option<Client>,
    workspace: PathBuf,
}

impl World {
    pub fn new(global: Global, dir: DataDir, up: Up) -> Self {
        let workspace = dir.root().join("demo").join(APP);
        Self { global, dir, up, state: None, client: None, workspace }
    }

    /// Starts the engine, or starts it again, until its node is Ready.
    pub async fn start(&mut self, said: &mut Vec<String>) -> anyhow::Result<()> {
        let start = Instant::now();
        let state = up::detach(&self.global, &self.up, &self.dir)?;
        said.push(format!("ready after {} ms (process {})", start.elapsed().as_millis(), state.pid));
        let client = coracle_client::from_kubeconfig(&self.dir.kubeconfig()).await?;
        (self.state, self.client) = (Some(state), Some(client.clone()));
        let nodes: Api<Node> = Api::all(client);
        eventually("the node is Ready", async || {
            let node =
                nodes.list(&ListParams::default()).await?.items.into_iter().next().context("there is no node")?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            ensure!(conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"), "it is not");
            Ok(())
        })
        .await
    }

    pub fn kill_engine(&self) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.state()?.pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        let start = Instant::now();
        while state::is_running(&self.dir) {
            ensure!(start.elapsed() < PATIENCE, "process {pid} does not end");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn state(&self) -> anyhow::Result<&EngineState> {
        self.state.as_ref().context("the engine has not been started")
    }

    pub fn engine_pid(&self) -> anyhow::Result<i32> {
        Ok(self.state()?.pid)
    }

    pub fn client(&self) -> anyhow::Result<Client> {
        self.client.clone().context("the engine has not been started")
    }

    /// Where the newcomer's working copy goes.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The Git address, with the token.
    pub fn remote(&self) -> anyhow::Result<String> {
        let token = std::fs::read_to_string(self.dir.token()).context("the push token")?;
        let (scheme, rest) = self.state()?.urls.git.split_once("://").context("the Git address")?;
        Ok(format!("{scheme}://coracle:{}@{rest}{APP}.git", token.trim()))
    }

    pub fn app_url(&self) -> String {
        let port = self.state().ok().and_then(|state| state.urls.gateway.rsplit(':').next().map(str::to_owned));
        format!("http://{APP}.localhost:{}", port.unwrap_or_default().trim_end_matches('/'))
    }

    /// The app through the gateway, from the host.
    pub fn gateway(&self) -> anyhow::Result<Target> {
        let address = self.state()?.urls.gateway.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Target {
            address: address.parse().context("the gateway's address")?,
            host: format!("{APP}.localhost"),
            netns: None,
        })
    }

    /// The app through its service, from inside the node's network.
    pub async fn service(&self) -> anyhow::Result<Target> {
        let services: Api<Service> = Api::namespaced(self.client()?, APP);
        let spec = services.get(APP).await.context("the app's service")?.spec.context("the service has no spec")?;
        let ip = spec.cluster_ip.context("the service has no address")?.parse().context("the service's address")?;
        let port =
            spec.ports.and_then(|ports| ports.first().map(|port| port.port)).context("the service has no port")?;
        let address = SocketAddr::new(ip, port.try_into().context("the service's port")?);
        Ok(Target { address, host: format!("{APP}.localhost"), netns: Some(self.dir.run().join("netns/node")) })
    }

    /// One pod, from inside the node's network.
    pub async fn pod(&self, name: &str) -> anyhow::Result<Target> {
        let pod = Api::<Pod>::namespaced(self.client()?, APP).get(name).await?;
        let ip = pod.status.and_then(|status| status.pod_ip).context("the pod has no address")?.parse()?;
        Ok(Target {
            address: SocketAddr::new(ip, APP_PORT),
            host: APP.to_owned(),
            netns: Some(self.dir.run().join("netns/node")),
        })
    }

    /// The image the app runs, by digest.
    pub async fn image(&self) -> anyhow::Result<String> {
        let deployment = Api::<Deployment>::namespaced(self.client()?, APP).get(APP).await?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec).context("the app's deployment has no pods")?;
        pod.containers.into_iter().next().and_then(|container| container.image).context("the app has no image")
    }

    /// The app's pods that are not on their way out.
    pub async fn pods(&self) -> anyhow::Result<Vec<PodFacts>> {
        let pods: Api<Pod> = Api::namespaced(self.client()?, APP);
        let mut facts: Vec<PodFacts> = pods
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| PodFacts {
                restarts: pod
                    .status
                    .and_then(|status| status.container_statuses)
                    .map_or(0, |containers| containers.iter().map(|container| container.restart_count).sum()),
                name: pod.metadata.name.unwrap_or_default(),
                uid: pod.metadata.uid.unwrap_or_default(),
            })
            .collect();
        facts.sort();
        Ok(facts)
    }

    /// Waits until `replicas` pods are ready, there are no others, and every answer has `colour`.
    pub async fn await_app(&self, replicas: i32, colour: &str) -> anyhow::Result<()> {
        self.await_replicas(replicas).await?;
        let target = self.gateway()?;
        eventually(&format!("the app answers in {colour}"), async || {
            for _ in 0..replicas * 2 {
                let answer: Value = serde_json::from_str(&load::get(&target, "/api")?)?;
                ensure!(answer["colour"] == colour, "it answers {answer}");
            }
            Ok(())
        })
        .await
    }

    pub async fn await_replicas(&self, replicas: i32) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client()?, APP);
        eventually(&format!("{replicas} replicas are ready"), async || {
            let deployment = deployments.get(APP).await?;
            let status = deployment.status.unwrap_or_default();
            let counts = (status.replicas, status.updated_replicas, status.ready_replicas);
            ensure!(
                status.observed_generation == deployment.metadata.generation
                    && counts == (Some(replicas), Some(replicas), Some(replicas)),
                "replicas, updated, ready: {counts:?}"
            );
            Ok(())
        })
        .await
    }

    /// Waits until the pod has been restarted once more and is ready again.
    pub async fn await_restart(&self, before: &PodFacts) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client()?, APP);
        eventually("the container is back", async || {
            let status = pods.get(&before.name).await?.status.unwrap_or_default();
            let container =
                status.container_statuses.unwrap_or_default().into_iter().next().context("no container status")?;
            ensure!(container.restart_count == before.restarts + 1, "restart count {}", container.restart_count);
            ensure!(container.ready, "restarted, but not ready");
            Ok(())
        })
        .await
    }

    /// Waits until `count` pods are ready, as after the engine came back; what they are then.
    pub async fn await_settled(&self, count: usize) -> anyhow::Result<Vec<PodFacts>> {
        self.await_replicas(count.try_into()?).await?;
        self.pods().await
    }

    /// What somebody does with `kubectl scale`.
    pub async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client()?, APP);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments
            .patch_scale(
                APP,
                &PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() },
                &patch,
            )
            .await?;
        Ok(())
    }

    fn applications(&self) -> anyhow::Result<Api<DynamicObject>> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
        Ok(Api::namespaced_with(self.client()?, "coracle", &ApiResource::from_gvk(&kind)))
    }

    pub async fn set_self_heal(&self, on: bool) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": {"syncPolicy": {"automated": {"selfHeal": on}}}}));
        self.applications()?.patch(APP, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub async fn await_sync(&self, wanted: &str) -> anyhow::Result<()> {
        let applications = self.applications()?;
        eventually(&format!("the app's status says {wanted}"), async || {
            let application = applications.get(APP).await?;
            let sync = &application.data["status"]["sync"]["status"];
            ensure!(sync == wanted, "it says {sync}");
            Ok(())
        })
        .await
    }

    /// Waits until the drift has been put right, and the app's status says so.
    pub async fn await_drift_healed(&self, replicas: i32) -> anyhow::Result<()> {
        self.await_replicas(replicas).await?;
        self.await_sync("Synced").await
    }
}

/// Looks until `check` holds; the error says what it looked like the last time.
async fn eventually<T>(what: &str, check: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > PATIENCE => {
                bail!("waited {} s in vain until {what}: {error:#}", PATIENCE.as_secs())
            }
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}
