//! Putting the node together, and taking it apart again.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use coracle_clock::Clock;
use futures::{StreamExt, TryStreamExt, future::BoxFuture};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, ResourceExt,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use tokio::task::JoinHandle;

use crate::{
    agent::{self, Pods},
    api::KubeApi,
    container::files::Dns,
    context::{Context, NodeFacts},
    doors::{PodNetwork, PodRuntime},
    node_object::{Description, Machine, Registrar},
    recorder::{self, Recorder},
    serve,
};

/// What a node needs to be told.
pub struct Options {
    /// `Node` object's name; lower case.
    pub name: String,
    /// `DIR`: pods live in `DIR/pods`.
    pub data_dir: PathBuf,
    /// Where the kubelet's API listens: `DIR/run/node.sock`.
    pub socket: PathBuf,
    pub pod_cidr: String,
    pub dns_ip: IpAddr,
    pub cluster_domain: String,
    pub client: kube::Client,
    pub runtime: Arc<dyn PodRuntime>,
    pub network: Arc<dyn PodNetwork>,
    pub clock: Arc<dyn Clock>,
}

/// Why the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the watch of {0} ended before it began")]
    Watch(&'static str),
}

/// A node at work. Dropping it ends its tasks and leaves the containers running: the next one takes them over.
pub struct NodeAgent {
    pods: Arc<Pods>,
    tasks: Vec<JoinHandle<()>>,
}

impl NodeAgent {
    /// The pods of the node.
    pub fn pods(&self) -> &Arc<Pods> {
        &self.pods
    }
}

impl Drop for NodeAgent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.pods.end_tasks();
    }
}

/// Starts the node on the current runtime; returns when it is registered and its socket answers.
/// Boxed, so that it is compiled with this crate and not with whoever starts it.
pub fn start(options: Options) -> BoxFuture<'static, Result<NodeAgent, Error>> {
    Box::pin(start_all(options))
}

async fn start_all(options: Options) -> Result<NodeAgent, Error> {
    let machine = Machine::read(&options.data_dir);
    let pods_dir = options.data_dir.join("pods");
    std::fs::create_dir_all(&pods_dir).map_err(|source| Error::Io { path: pods_dir.clone(), source })?;
    let pods = Arc::new(Pods::default());
    let mut tasks = Vec::new();

    tasks.push(dependencies::<core::ConfigMap>(&options.client, &pods, agent::config_maps));
    tasks.push(dependencies::<core::Secret>(&options.client, &pods, agent::secrets));
    let (services, task) = services(&options.client);
    tasks.push(task);

    let (recorder, news) = Recorder::new();
    let (client, clock) = (options.client.clone(), options.clock.clone());
    tasks
        .push(coracle_tasks::spawn("events", recorder::run(news, client.clone(), options.name.clone(), clock.clone())));

    let context = Arc::new(Context {
        runtime: options.runtime.clone(),
        network: options.network.clone(),
        api: Arc::new(KubeApi { client: client.clone(), services: services.clone() }),
        clock: clock.clone(),
        recorder,
        node: NodeFacts {
            name: options.name.clone(),
            pods_dir,
            dns: dns(&options),
            allocatable: machine.capacity(),
            memory_capacity_bytes: machine.memory_bytes,
        },
    });
    let registrar = Registrar {
        client: client.clone(),
        description: Description {
            name: options.name,
            machine,
            addresses: options.network.node_ips(),
            pod_cidr: options.pod_cidr,
        },
        runtime: options.runtime,
        clock,
    };
    registrar.register().await;
    tasks.push(coracle_tasks::spawn("node-heartbeat", async move { registrar.heartbeat().await }));
    // Environments name services: pods wait until these are known.
    services.wait_until_ready().await.map_err(|_| Error::Watch("services"))?;
    tasks.push(listen(serve::Server { context: context.clone(), pods: pods.clone() }, &options.socket)?);
    tasks.push(coracle_tasks::spawn("node", agent::run(context, client, pods.clone())));
    Ok(NodeAgent { pods, tasks })
}

fn dns(options: &Options) -> Dns {
    Dns {
        cluster_ip: options.dns_ip,
        cluster_domain: options.cluster_domain.clone(),
        node_resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    }
}

fn listen(server: serve::Server, socket: &Path) -> Result<JoinHandle<()>, Error> {
    let at = |source| Error::Io { path: socket.to_owned(), source };
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory).map_err(at)?;
    }
    let listener = serve::bind(socket).map_err(at)?;
    Ok(coracle_tasks::spawn("kubelet-api", async move {
        if let Err(error) = server.run(listener).await {
            tracing::error!(%error, "the kubelet's API has ended");
        }
    }))
}

/// Tells pods when objects of a kind change that they refer to. Only metadata is watched, and nothing kept: most objects of
/// a cluster are no business of this node, and what is in the others is asked for when a pod needs it.
fn dependencies<K>(
    client: &kube::Client,
    pods: &Arc<Pods>,
    names: fn(&core::Pod) -> std::collections::BTreeSet<String>,
) -> JoinHandle<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(client.clone());
    let changes = watcher(api, watcher::Config::default()).default_backoff();
    coracle_tasks::spawn("node-dependencies", agent::follow_dependencies(pods.clone(), changes, names))
}

/// All services, kept up to date: containers are told of them by their environment.
fn services(client: &kube::Client) -> (Store<core::Service>, JoinHandle<()>) {
    let (store, writer) = reflector::store();
    let events = watcher(Api::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .map_ok(|event| event.modify(|object: &mut core::Service| object.managed_fields_mut().clear()));
    let stored = events.reflect(writer);
    (store, coracle_tasks::spawn("node-services", stored.for_each(async |_| ())))
}
