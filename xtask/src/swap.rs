//! Halves swapped with the real ones: Kubernetes' controllers and scheduler work through our API server, ours through
//! kube-apiserver and etcd, and each pair takes the same Deployment through its life.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use coracle_client::AbortOnDrop;
use coracle_clock::SystemClock;
use coracle_harness::Engine;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use crate::{
    named,
    real::{self, ControlPlane, Process},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SWAP.md");
const PATIENCE: Duration = Duration::from_secs(90);
const SELECTED: &str = "app=swapped";

/// What to do with the outcome.
#[derive(clap::Args)]
pub struct Swap {
    /// Write docs/SWAP.md
    #[arg(long)]
    write: bool,
}

/// Plays both halves.
pub fn run(chosen: &Swap) -> anyhow::Result<()> {
    anyhow::ensure!(Engine::is_possible(), "the engine needs root");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let theirs_on_ours = runtime.block_on(theirs_on_ours())?;
    let ours_on_theirs = runtime.block_on(ours_on_theirs())?;
    let page = format!(
        "# Swapped halves\n\nWritten by `cargo xtask swap --write`: one Deployment through its life, with one half of the control plane \
         replaced by the real one of Kubernetes 1.35.\n\n## kube-controller-manager and kube-scheduler on Coracle's API server\n\n{theirs_on_ours}\n\
         ## Coracle's controllers and scheduler on kube-apiserver and etcd\n\n{ours_on_theirs}"
    );
    print!("{page}");
    if chosen.write {
        fs::write(PAGE, page).context("writing docs/SWAP.md")?;
    }
    Ok(())
}

async fn theirs_on_ours() -> anyhow::Result<String> {
    let engine = Engine::start_with(&named::engine(), &["--without=controllers,scheduler"])?;
    let client = engine.client().await?;
    let authority = authority_of(&engine.kubeconfig())?;
    let dir = tempfile::tempdir()?;
    let mut story = Story::begin(client)?;
    // So that nobody takes our own for them.
    story.nobody_works().await?;
    let mut workers = real::start_workers(&engine.kubeconfig(), &authority, dir.path())?;
    story.tell(&mut workers).await
}

async fn ours_on_theirs() -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let mut plane = ControlPlane::start(dir.path()).await?;
    let client = coracle_client::from_kubeconfig(&plane.kubeconfig).await?;
    add_node(&client).await?;
    let mut story = Story::begin(client.clone())?;
    story.nobody_works().await?;
    let controllers = coracle_controllers::Context::new(client, Arc::new(SystemClock));
    let scheduler = coracle_scheduler::Context {
        caches: controllers.caches.clone(),
        events: controllers.events.clone(),
        clock: Arc::new(SystemClock),
    };
    let authority = plane.authority_pem.clone();
    let _working = [
        AbortOnDrop(coracle_tasks::spawn("controllers", coracle_controllers::run(controllers, authority))),
        AbortOnDrop(coracle_tasks::spawn("scheduler", coracle_scheduler::run(scheduler))),
    ];
    story.tell(&mut plane.processes).await
}

fn authority_of(kubeconfig: &Path) -> anyhow::Result<String> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let cluster = config.clusters.first().and_then(|cluster| cluster.cluster.as_ref()).context("a cluster")?;
    let data = cluster.certificate_authority_data.as_ref().context("an authority")?;
    Ok(String::from_utf8(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data)?)?)
}

/// A node that only says it is one.
async fn add_node(client: &Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "node"}}))?).await?;
    let room = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let status =
        json!({"status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}});
    nodes.patch_status("node", &PatchParams::default(), &Patch::Merge(status)).await?;
    // Admission marks new nodes as not ready, and whoever watches over nodes takes the mark away.
    let untainted = json!({"spec": {"taints": null}});
    nodes.patch("node", &PatchParams::default(), &Patch::Merge(untainted)).await?;
    Ok(())
}

struct Story {
    deployments: Api<Deployment>,
    sets: Api<ReplicaSet>,
    pods: Api<Pod>,
    told: String,
}

impl Story {
    fn begin(client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            deployments: Api::namespaced(client.clone(), "default"),
            sets: Api::namespaced(client.clone(), "default"),
            pods: Api::namespaced(client, "default"),
            told: String::from("| step | after |\n|---|---|\n"),
        })
    }

    async fn nobody_works(&mut self) -> anyhow::Result<()> {
        let pod = json!({"containers": [{"name": "web", "image": "registry.coracle.internal/nothing:1"}]});
        let deployment = json!({
            "metadata": {"name": "swapped"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "swapped"}},
                "template": {"metadata": {"labels": {"app": "swapped"}}, "spec": pod},
            },
        });
        self.deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sets = self.sets.list(&ListParams::default()).await?.items;
        anyhow::ensure!(sets.is_empty(), "a ReplicaSet was made though no controller was to run");
        Ok(())
    }

    async fn tell(&mut self, processes: &mut [Process]) -> anyhow::Result<String> {
        self.step("a Deployment of 3: three pods, each bound to the node", processes, async |pods| {
            pods.len() == 3 && pods.iter().all(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
        })
        .await?;
        let scale = json!({"spec": {"replicas": 1}});
        self.deployments.patch("swapped", &PatchParams::default(), &Patch::Merge(scale)).await?;
        self.step("scaled to 1: one pod is left that is not on its way out", processes, async |pods| {
            pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() == 1
        })
        .await?;
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.coracle.internal/nothing:2"}]}}}});
        self.deployments.patch("swapped", &PatchParams::default(), &Patch::Strategic(image)).await?;
        let sets = self.sets.clone();
        self.step("another image: a second ReplicaSet with a bound pod of its own", processes, async |pods| {
            let sets = sets.list(&ListParams::default()).await.map(|list| list.items.len()).unwrap_or_default();
            let newer = |pod: &&Pod| {
                let spec = pod.spec.as_ref();
                spec.is_some_and(|spec| {
                    spec.node_name.is_some()
                        && spec.containers[0].image.as_deref().is_some_and(|image| image.ends_with(":2"))
                })
            };
            sets == 2 && pods.iter().filter(newer).count() == 1
        })
        .await?;
        self.deployments.delete("swapped", &DeleteParams::background()).await?;
        self.step("deleted: all its pods are collected", processes, async |pods| {
            pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_some())
        })
        .await?;
        Ok(std::mem::take(&mut self.told))
    }

    async fn step(
        &mut self,
        what: &str,
        processes: &mut [Process],
        holds: impl AsyncFn(&[Pod]) -> bool,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let selected = ListParams::default().labels(SELECTED);
        loop {
            let pods = self.pods.list(&selected).await?.items;
            if holds(&pods).await {
                break;
            }
            real::all_run(processes)?;
            if start.elapsed() > PATIENCE {
                bail!(
                    "{what}: did not come about in {} s; pods: {}",
                    PATIENCE.as_secs(),
                    serde_json::to_string(&pods)?
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        writeln!(self.told, "| {what} | {:.2} s |", start.elapsed().as_secs_f64())?;
        Ok(())
    }
}
