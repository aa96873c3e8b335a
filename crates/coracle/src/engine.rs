//! The engine: every room in the order it starts, and ended in reverse.

mod base_images;
mod front;
mod guards;
mod identity;
mod listeners;
mod pods_dialer;
mod run_steps;
pub mod teardown;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use coracle_apiserver::{
    Cidr, Guards, Options as ApiOptions, Server, StaticTokens, User,
    authz::{MastersOr, NodeOr, StoredRbac},
};
use coracle_clock::SystemClock;
use coracle_gateway::Gateway;
use coracle_kernel::netns::NetworkNamespace;
use coracle_network::{Config as NetworkConfig, Node as NodeNetwork, Runtimes};
use coracle_node::adapters::{RealNetwork, RealRuntime};
use coracle_runtime::{Options as RuntimeOptions, Runtime as ContainerRuntime};
use coracle_store::Store;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::Part,
    settings::Settings,
    state::{self, EngineLock, EngineState},
};
use identity::Identity;
use listeners::Listeners;
use pods_dialer::PodsDialer;

/// What the built-in registry is called in image names.
const REGISTRY_HOST: &str = "registry.coracle.internal";
/// Where the API is found inside the node's network; the `kubernetes` service leads there.
const IN_CLUSTER_API_PORT: u16 = 6443;
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const HOST_THREADS: usize = 2;
const NODE_THREADS: usize = 2;
/// What may still be going on when the engine ends gets this long.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs until a signal ends it. The containers go on without it.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    coracle_kernel::memory::settle();
    log_to_stderr(&settings.log)?;
    let dir = settings.data_dir.clone();
    dir.create().with_context(|| format!("data directory {}", dir.root().display()))?;
    let _lock = EngineLock::take(&dir)?;
    // An error only says that there is a default already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let listeners = Listeners::bind(&settings)?;
    let network = NodeNetwork::open(&dir.run(), NetworkConfig::default()).context("the node's network")?;
    let inside = network.runtime(NODE_THREADS).context("a runtime inside the node's network")?;
    let outside = host_runtime()?;
    let served = outside.block_on(serve(&settings, listeners, network, &inside));
    inside.shutdown_timeout(LAST_WORDS);
    outside.shutdown_timeout(LAST_WORDS);
    served
}

/// A runtime whose threads all live in the machine's own network. A thread begins in the network of whichever thread
/// starts it, and one inside the node may do that when it hands work over.
fn host_runtime() -> anyhow::Result<Runtime> {
    let home = NetworkNamespace::current().context("the machine's network")?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(HOST_THREADS)
        .thread_name("host")
        .enable_all()
        .on_thread_start(move || home.enter().expect("the namespace is open and this process may enter it"))
        .build();
    runtime.context("a runtime")
}

async fn serve(
    settings: &Settings,
    listeners: Listeners,
    network: NodeNetwork,
    inside: &Runtime,
) -> anyhow::Result<()> {
    let dir = &settings.data_dir;
    let urls = listeners.urls()?;
    let mut announced = EngineState {
        pid: std::process::id().try_into()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: false,
        urls,
    };
    state::write(dir, &announced)?;

    let encryption = guards::Encrypted::load(settings)?;
    let store = Store::open(&dir.store(), encryption.store_options()).context("the store")?;
    if encryption.is_new && !store.snapshot().is_empty() {
        // What an earlier version wrote is not to stay readable.
        store.rewrite().await.context("encrypting what is there")?;
    }
    let guards = guards::guards(settings, &encryption)?;
    let own_addresses = [network.ip(), first_of(network.config())];
    let identity = Arc::new(Identity::load_or_create(dir, &settings.node_name, &own_addresses, Arc::new(SystemClock))?);
    let dialer = Arc::new(PodsDialer::new(inside.handle().clone()));

    let api = Server::start(store.clone(), api_options(settings, &store, &identity, &network, dialer.clone(), guards))
        .await?;
    let tls = identity.api_tls()?;
    let (outer, inner) = (TcpListener::from_std(listeners.api)?, in_cluster_listener(&network, inside.handle()).await?);
    let (serving, inner_tls) = (api.clone(), tls.clone());
    coracle_tasks::spawn("api-listener", async move { serving.serve_tls(outer, tls).await });
    let serving = api.clone();
    coracle_tasks::spawn_on(inside.handle(), "api-listener-inside", async move {
        serving.serve_tls(inner, inner_tls).await
    });
    let client = |name: &str| coracle_client::in_process(api.client_service(User::new(name, ["system:masters"])));

    let runtimes = Runtimes { node: inside.handle().clone(), host: Handle::current() };
    let running_network = network.start(client("system:coracle:network"), runtimes);
    let authority = identity.authority.certificate_pem().to_owned();
    let controllers =
        coracle_controllers::Context::new(client("system:kube-controller-manager"), Arc::new(SystemClock))
            .with_authority(Arc::clone(&identity.authority));
    let scheduler = coracle_scheduler::Context {
        caches: controllers.caches.clone(),
        events: controllers.events.clone(),
        clock: Arc::new(SystemClock),
    };
    if !settings.without.contains(&Part::Controllers) {
        coracle_tasks::spawn("controllers", coracle_controllers::run(controllers, authority));
    }
    if !settings.without.contains(&Part::Scheduler) {
        coracle_tasks::spawn("scheduler", coracle_scheduler::run(scheduler));
    }

    let registry_url = format!("http://{}", announced.urls.registry);
    let runtime = ContainerRuntime::open(RuntimeOptions {
        root: dir.runtime(),
        cgroup: format!("/{}", dir.instance()),
        shim: PathBuf::from("/proc/self/exe"),
        mirrors: BTreeMap::from([(REGISTRY_HOST.to_owned(), registry_url)]),
    })
    .await
    .context("the container runtime")?;

    let gateway = Gateway::start(client("system:coracle:gateway"), dialer, gateway_options(&identity)?)?;
    let gateway_http_port = listeners.gateway.local_addr()?.port();
    let delivery = front::Delivery::open(dir, client("system:coracle:delivery"), runtime.clone(), gateway_http_port)?;
    delivery.controller.install().await.context("the Application definition")?;
    let console = front::Console {
        client: client("system:coracle:console"),
        git: announced.urls.git.clone(),
        kubeconfig: dir.kubeconfig().display().to_string(),
    };
    let front = front::router(&delivery, console, &identity.push_token);
    let front_listener = TcpListener::from_std(listeners.front)?;
    coracle_tasks::spawn("front-listener", async move { axum::serve(front_listener, front).await });

    let node = start_node(settings, &network, &runtime, client(&format!("system:node:{}", settings.node_name)), inside)
        .await?;
    coracle_tasks::spawn("delivery", delivery.controller.run());
    running_network.ready().await;
    gateway.ready().await;
    gateway.serve_http(TcpListener::from_std(listeners.gateway)?);
    gateway.serve_https(TcpListener::from_std(listeners.gateway_tls)?);

    identity.write_kubeconfig(dir, &announced.urls.api)?;
    coracle_tasks::spawn("certificates", identity.keep_fresh(dir.clone(), announced.urls.api.clone()));
    announced.ready = true;
    state::write(dir, &announced)?;
    tracing::info!(console = announced.urls.console, kubeconfig = %dir.kubeconfig().display(), "ready");

    told_to_end().await?;
    tracing::info!("ending; containers go on, and `coracle up` finds them again. `coracle down` ends them too");
    gateway.stop().await;
    drop(node);
    running_network.stop().await;
    api.stop();
    store.close().await;
    Ok(())
}

fn api_options(
    settings: &Settings,
    store: &Store,
    identity: &Identity,
    network: &NodeNetwork,
    dialer: Arc<PodsDialer>,
    guards: Guards,
) -> ApiOptions {
    let range = network.config().service_cidr;
    ApiOptions {
        clock: Arc::new(SystemClock),
        authorizer: Arc::new(MastersOr(NodeOr::new(store.clone(), StoredRbac::new(store.clone())))),
        tokens: Arc::new(StaticTokens::default()),
        service_account_key: identity.service_account_key.clone(),
        issuer: ISSUER.to_owned(),
        authority_pem: identity.authority.certificate_pem().to_owned(),
        node_socket: settings.data_dir.run().join("node.sock"),
        dialer: Some(dialer),
        service_range: Cidr { network: range.network(), prefix: range.prefix_len() },
        node_ports: 30000..=32767,
        advertise: Some(SocketAddr::new(network.ip().into(), IN_CLUSTER_API_PORT)),
        guards,
    }
}

/// The virtual address of the API's own service.
fn first_of(config: &NetworkConfig) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(config.service_cidr.network().to_bits() + 1)
}

/// A socket belongs to the network of the thread that makes it, so the listener for pods is made inside.
async fn in_cluster_listener(network: &NodeNetwork, inside: &Handle) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(network.ip().into(), IN_CLUSTER_API_PORT);
    let bound = coracle_tasks::spawn_on(inside, "api-bind-inside", TcpListener::bind(address)).await?;
    bound.with_context(|| format!("listening on {address} inside the node's network"))
}

fn gateway_options(identity: &Identity) -> anyhow::Result<coracle_gateway::Options> {
    Ok(coracle_gateway::Options { fallback_certificate: Some(identity.gateway_fallback()?), ..Default::default() })
}

async fn start_node(
    settings: &Settings,
    network: &NodeNetwork,
    runtime: &ContainerRuntime,
    client: kube::Client,
    inside: &Runtime,
) -> anyhow::Result<coracle_node::NodeAgent> {
    let options = coracle_node::Options {
        name: settings.node_name.clone(),
        data_dir: settings.data_dir.root().to_owned(),
        socket: settings.data_dir.run().join("node.sock"),
        pod_cidr: network.config().pod_cidr.to_string(),
        dns_ip: network.config().dns_ip.into(),
        cluster_domain: network.config().cluster_domain.clone(),
        client,
        runtime: Arc::new(RealRuntime::new(runtime.clone(), Handle::current())),
        network: Arc::new(RealNetwork(network.clone())),
        clock: Arc::new(SystemClock),
    };
    // Probes must reach pods, so the node works inside.
    coracle_tasks::spawn_on(inside.handle(), "node-start", coracle_node::start(options)).await?.context("the node")
}

async fn told_to_end() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).context("the log filter (--log)")?;
    // An error only says that somebody logs already.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init().ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn network_of_this_thread() -> PathBuf {
        fs::read_link(Path::new("/proc/thread-self/ns/net")).unwrap()
    }

    #[test]
    fn work_handed_to_the_host_is_done_in_its_network() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("left out: making a network namespace needs root");
            return;
        }
        let home = network_of_this_thread();
        let runtime = host_runtime().unwrap();
        let elsewhere = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                assert_ne!(network_of_this_thread(), home);
                runtime.block_on(runtime.spawn_blocking(network_of_this_thread)).unwrap()
            });
            inside.join().unwrap()
        });
        assert_eq!(elsewhere, home);
    }
}
