//! The node's network namespace: made or, after a crash of the engine, found again with everything that is in it.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use coracle_kernel::{
    netlink,
    netns::{self, NetworkNamespace},
    nftables::Ruleset,
    rtnetlink::{self, LOOPBACK, Links, Route, Scope},
};
use parking_lot::Mutex;

use crate::{
    addresses::{self, Addresses},
    config::Config,
    ruleset,
};

/// The name of the device that holds the node's addresses.
const BRIDGE: &str = "node";
/// The namespace file of the node itself, beside those of the pods.
const NODE_FILE: &str = "node";
/// The gateway of every pod: an address of the node's end of each pod's cable.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Where the proxy listens that carries pods' connections to the outside.
pub(crate) const EGRESS_IP: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);

/// What the node's network can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Addresses(#[from] addresses::Error),
    /// A file or directory of the node's cannot be made or removed.
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The runtime of the namespace cannot be made.
    #[error("start threads inside the node's network: {0}")]
    Runtime(std::io::Error),
    /// The name cannot be that of a pod.
    #[error("{0:?} is no pod UID")]
    PodUid(String),
    /// A device that was just made is not there.
    #[error("network device {0} vanished")]
    Vanished(String),
}

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    pub pod_uid: String,
    pub ip: Ipv4Addr,
    /// The file its network namespace is mounted on.
    pub netns: PathBuf,
}

/// The node's network namespace. Cheap to clone; its methods block for a few milliseconds.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    namespaces: PathBuf,
    namespace: NetworkNamespace,
    links: Mutex<Links>,
    ruleset: Arc<Mutex<Ruleset>>,
    addresses: Mutex<Addresses>,
}

impl Node {
    /// Makes the namespace at `run_dir/netns/node`, or takes over the one that is there.
    pub fn open(run_dir: &Path, config: Config) -> Result<Self, Error> {
        let namespaces = run_dir.join("netns");
        std::fs::create_dir_all(&namespaces).map_err(at(&namespaces))?;
        netns::share_directory(&namespaces)?;
        let path = namespaces.join(NODE_FILE);
        let found = NetworkNamespace::open(&path)?;
        let mut addresses = Addresses::open(&run_dir.join("network"), config.pod_cidr)?;
        let namespace = match found {
            Some(found) => found,
            None => {
                forget_dead_pods(&namespaces, &mut addresses)?;
                NetworkNamespace::create(&path)?
            }
        };
        let (mut links, mut ruleset) =
            namespace.run(|| Ok::<_, netlink::Error>((Links::open()?, Ruleset::open()?)))??;
        set_up_node(&mut links, &config)?;
        ruleset::ensure_base(&mut ruleset, &config)?;
        let (links, ruleset) = (Mutex::new(links), Arc::new(Mutex::new(ruleset)));
        Ok(Self(Arc::new(Inner { config, namespaces, namespace, links, ruleset, addresses: Mutex::new(addresses) })))
    }

    /// The addresses this node was opened with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The node's own address, which is also that of pods on the host's network.
    pub fn ip(&self) -> Ipv4Addr {
        self.0.config.node_ip()
    }

    /// The namespace file for pods on the host's network.
    pub fn netns_path(&self) -> &Path {
        self.0.namespace.path()
    }

    /// Moves the calling thread into the node's namespace: for a runtime's `on_thread_start`.
    pub fn enter(&self) -> Result<(), Error> {
        Ok(self.0.namespace.enter()?)
    }

    /// A runtime whose threads all live in the node's namespace.
    pub fn runtime(&self, worker_threads: usize) -> Result<tokio::runtime::Runtime, Error> {
        let node = self.clone();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(worker_threads)
            .thread_name("node")
            .enable_all()
            .on_thread_start(move || {
                // A thread in the wrong network would reach for the host's addresses: it must not go on.
                node.enter().expect("the namespace is open and this process may enter it");
            })
            .build()
            .map_err(Error::Runtime)
    }

    /// Connects the pod: its namespace, its address, its cable. A pod that is connected keeps all three.
    pub fn attach(&self, pod_uid: &str) -> Result<PodNetwork, Error> {
        let path = self.pod_path(pod_uid)?;
        let ip = self.0.addresses.lock().assign(pod_uid)?;
        let namespace = match NetworkNamespace::open(&path)? {
            Some(found) => found,
            None => NetworkNamespace::create(&path)?,
        };
        self.connect(&namespace, ip)?;
        ruleset::add_pod(&mut self.0.ruleset.lock(), ip)?;
        Ok(PodNetwork { pod_uid: pod_uid.to_owned(), ip, netns: path })
    }

    /// Takes the pod's cable, namespace and address away. Nothing happens where there is none.
    pub fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        let path = self.pod_path(pod_uid)?;
        let ip = self.0.addresses.lock().get(pod_uid);
        if let Some(ip) = ip {
            self.0.links.lock().delete(&cable_name(ip))?;
            ruleset::remove_pod(&mut self.0.ruleset.lock(), ip)?;
        }
        netns::remove(&path)?;
        Ok(self.0.addresses.lock().release(pod_uid)?)
    }

    /// The pods that are connected: those that have an address and whose namespace is alive.
    pub fn list(&self) -> Vec<PodNetwork> {
        let addresses = self.0.addresses.lock();
        let pods = addresses.iter().map(|(uid, ip)| PodNetwork {
            pod_uid: uid.to_owned(),
            ip,
            netns: self.0.namespaces.join(uid),
        });
        pods.filter(|pod| matches!(NetworkNamespace::open(&pod.netns), Ok(Some(_)))).collect()
    }

    /// Removes every namespace and record below `run_dir`, when no pod and no engine uses them any more.
    pub fn purge(run_dir: &Path) -> Result<(), Error> {
        let namespaces = run_dir.join("netns");
        if namespaces.exists() {
            for entry in std::fs::read_dir(&namespaces).map_err(at(&namespaces))? {
                netns::remove(&entry.map_err(at(&namespaces))?.path())?;
            }
            netns::unshare_directory(&namespaces)?;
        }
        for directory in [namespaces, run_dir.join("network")] {
            match std::fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&directory)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn ruleset(&self) -> Arc<Mutex<Ruleset>> {
        Arc::clone(&self.0.ruleset)
    }

    pub(crate) fn pod_ips(&self) -> Vec<Ipv4Addr> {
        self.0.addresses.lock().iter().map(|(_, ip)| ip).collect()
    }

    fn pod_path(&self, pod_uid: &str) -> Result<PathBuf, Error> {
        let is_name = !pod_uid.is_empty() && pod_uid != NODE_FILE && !pod_uid.starts_with('.');
        let is_plain = pod_uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_name && is_plain {
            return Ok(self.0.namespaces.join(pod_uid));
        }
        Err(Error::PodUid(pod_uid.to_owned()))
    }

    fn connect(&self, namespace: &NetworkNamespace, ip: Ipv4Addr) -> Result<(), Error> {
        use std::os::fd::AsFd;
        let name = cable_name(ip);
        let index = {
            let mut links = self.0.links.lock();
            let index = match links.index(&name)? {
                Some(index) => index,
                None => {
                    links.ensure(&[rtnetlink::add_veth(&name, "eth0", namespace.as_fd())])?;
                    links.index(&name)?.ok_or_else(|| Error::Vanished(name.clone()))?
                }
            };
            links.ensure(&[
                rtnetlink::set_no_ipv6_address(index),
                rtnetlink::set_forwarding(index),
                rtnetlink::add_address(index, GATEWAY, Scope::Link),
                rtnetlink::set_up(index),
            ])?;
            index
        };
        namespace.run(|| set_up_pod(ip))??;
        let route = Route { destination: ip, prefix: 32, device: Some(index), gateway: None, source: Some(self.ip()) };
        Ok(self.0.links.lock().ensure(&[rtnetlink::add_route(&route)])?)
    }
}

/// After the machine itself went down, the records of pods are all that is left of them.
fn forget_dead_pods(namespaces: &Path, addresses: &mut Addresses) -> Result<(), Error> {
    let pods: Vec<_> = addresses.iter().map(|(uid, _)| uid.to_owned()).collect();
    for pod_uid in pods {
        netns::remove(&namespaces.join(&pod_uid))?;
        addresses.release(&pod_uid)?;
    }
    Ok(())
}

/// The node's end of a pod's cable. The address makes it unique.
fn cable_name(ip: Ipv4Addr) -> String {
    format!("pod{:08x}", ip.to_bits())
}

fn set_up_node(links: &mut Links, config: &Config) -> Result<(), Error> {
    links.ensure(&[rtnetlink::add_bridge(BRIDGE), rtnetlink::set_up(LOOPBACK)])?;
    let bridge = links.index(BRIDGE)?.ok_or_else(|| Error::Vanished(BRIDGE.to_owned()))?;
    let to_bridge = |destination, prefix| Route {
        destination,
        prefix,
        device: Some(bridge),
        gateway: None,
        source: Some(config.node_ip()),
    };
    // A pod address that nobody has is refused at once, not waited for.
    let pods =
        Route { device: None, source: None, ..to_bridge(config.pod_cidr.network(), config.pod_cidr.prefix_len()) };
    Ok(links.ensure(&[
        rtnetlink::set_no_ipv6_address(bridge),
        rtnetlink::set_forwarding(bridge),
        rtnetlink::add_address(bridge, config.node_ip(), Scope::Universe),
        rtnetlink::add_address(bridge, config.dns_ip, Scope::Universe),
        rtnetlink::add_address(bridge, EGRESS_IP, Scope::Link),
        rtnetlink::set_up(bridge),
        rtnetlink::add_route(&pods),
        rtnetlink::add_route(&to_bridge(config.service_cidr.network(), config.service_cidr.prefix_len())),
        // Packets must have a way to go before the rules can send them to the egress proxy, or refuse them.
        rtnetlink::add_route(&to_bridge(Ipv4Addr::UNSPECIFIED, 0)),
    ])?)
}

/// Runs on a thread inside the pod's namespace.
fn set_up_pod(ip: Ipv4Addr) -> Result<(), Error> {
    let mut links = Links::open()?;
    let eth0 = links.index("eth0")?.ok_or_else(|| Error::Vanished("eth0".to_owned()))?;
    let gateway = Route { destination: GATEWAY, prefix: 32, device: Some(eth0), gateway: None, source: None };
    let rest = Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(GATEWAY), ..gateway };
    links.ensure(&[
        rtnetlink::set_up(LOOPBACK),
        rtnetlink::set_no_ipv6_address(eth0),
        rtnetlink::add_address(eth0, ip, Scope::Universe),
        rtnetlink::set_up(eth0),
        rtnetlink::add_route(&gateway),
        rtnetlink::add_route(&rest),
    ])?;
    // As the common container runtimes do: an application that is not root may listen on port 80, and ping.
    for (setting, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        if let Err(error) = std::fs::write(Path::new("/proc/sys/net/ipv4").join(setting), value) {
            tracing::debug!(setting, %error, "pod network setting left as it is");
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::File { path: path.to_owned(), source }
}
