//! The node's own object and its lease: what the machine has, that it is well, and that it is alive.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use coracle_clock::Clock;
use jiff::Timestamp;
use k8s_openapi::{
    api::{coordination::v1 as coordination, core::v1 as core},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{doors::PodRuntime, quantity::ResourceList};

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_DURATION_S: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The status is told anew after this many renewals even if nothing changed.
const RENEWALS_A_STATUS: u32 = 30;
const RETRY: Duration = Duration::from_secs(1);
const MAX_PODS: u32 = 110;
/// Images named in the status.
const MAX_IMAGES: usize = 50;
/// The release of the Kubernetes API the node behaves like.
const KUBELET_VERSION: &str = concat!("v1.35.0+coracle", env!("CARGO_PKG_VERSION"));

/// What the machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub cpus: usize,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel: String,
    pub os_image: String,
}

impl Machine {
    /// Reads it off the machine; `data_dir` is on the disk that counts.
    pub fn read(data_dir: &Path) -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let disk = rustix::fs::statvfs(data_dir).map(|stat| stat.f_blocks * stat.f_frsize).unwrap_or_default();
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: memory_bytes(&line("/proc/meminfo")),
            disk_bytes: disk,
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(&line("/etc/os-release")),
        }
    }

    /// As the API lists it.
    pub fn capacity(&self) -> ResourceList {
        [
            ("cpu", self.cpus.to_string()),
            ("memory", format!("{}Ki", self.memory_bytes / 1024)),
            ("ephemeral-storage", format!("{}Ki", self.disk_bytes / 1024)),
            ("pods", MAX_PODS.to_string()),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect()
    }
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_else(|| "Linux".to_owned())
}

/// What the node says of itself.
pub struct Description {
    pub name: String,
    pub machine: Machine,
    pub addresses: Vec<IpAddr>,
    pub pod_cidr: String,
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The node's status as of `now`. Pure; `before` is for the times of transitions.
pub fn status(
    description: &Description,
    images: Vec<core::ContainerImage>,
    before: Option<&core::NodeStatus>,
    now: Timestamp,
) -> core::NodeStatus {
    let machine = &description.machine;
    let conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let before = before.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let conditions = conditions.map(|(kind, status, reason, message)| {
        let same = before.iter().find(|old| old.type_ == kind && old.status == status);
        core::NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: same.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now))),
        }
    });
    let address = |kind: &str, address: String| core::NodeAddress { type_: kind.to_owned(), address };
    let internal = description.addresses.iter().map(|ip| address("InternalIP", ip.to_string()));
    core::NodeStatus {
        capacity: Some(machine.capacity()),
        allocatable: Some(machine.capacity()),
        conditions: Some(conditions.into()),
        addresses: Some(internal.chain([address("Hostname", description.name.clone())]).collect()),
        images: (!images.is_empty()).then_some(images),
        node_info: Some(core::NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: concat!("coracle://", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel_version: machine.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..core::NodeSystemInfo::default()
        }),
        ..core::NodeStatus::default()
    }
}

/// The largest images, as the status names them.
fn images(runtime: &Arc<dyn PodRuntime>) -> Vec<core::ContainerImage> {
    let mut images = runtime.images();
    images.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    images
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| core::ContainerImage {
            names: Some(image.references),
            size_bytes: i64::try_from(image.size_bytes).ok(),
        })
        .collect()
}

/// Makes the node known and keeps it so.
pub struct Registrar {
    pub client: kube::Client,
    pub description: Description,
    pub runtime: Arc<dyn PodRuntime>,
    pub clock: Arc<dyn Clock>,
}

impl Registrar {
    /// Creates or updates the Node; returns when the API has it.
    pub async fn register(&self) {
        while let Err(error) = self.report().await {
            tracing::warn!(%error, "the node is not registered yet");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews the lease, and now and then the status, for as long as it is polled.
    pub async fn heartbeat(&self) {
        let mut ticks = tokio::time::interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewals = 0;
        loop {
            ticks.tick().await;
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the node's lease is not renewed");
            }
            renewals += 1;
            if renewals % RENEWALS_A_STATUS == 0
                && let Err(error) = self.report().await
            {
                tracing::warn!(%error, "the node's status is not written");
            }
        }
    }

    async fn report(&self) -> Result<(), kube::Error> {
        let api: Api<core::Node> = Api::all(self.client.clone());
        let name = &self.description.name;
        let found = api.get_opt(name).await?;
        let labels = labels(name);
        match &found {
            None => {
                let node = core::Node {
                    metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
                    spec: Some(core::NodeSpec {
                        pod_cidr: Some(self.description.pod_cidr.clone()),
                        pod_cidrs: Some(vec![self.description.pod_cidr.clone()]),
                        ..core::NodeSpec::default()
                    }),
                    status: None,
                };
                api.create(&PostParams::default(), &node).await?;
            }
            Some(node) => {
                let has = |(key, value): (&String, &String)| {
                    node.metadata.labels.as_ref().and_then(|own| own.get(key)) == Some(value)
                };
                if !labels.iter().all(has) {
                    let patch = json!({ "metadata": { "labels": labels } });
                    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                }
            }
        }
        let before = found.as_ref().and_then(|node| node.status.as_ref());
        let status = status(&self.description, images(&self.runtime), before, self.clock.now());
        let patch = json!({ "status": status });
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    async fn renew(&self) -> Result<(), kube::Error> {
        let api: Api<coordination::Lease> = Api::namespaced(self.client.clone(), LEASE_NAMESPACE);
        let name = &self.description.name;
        let now = MicroTime(self.clock.now());
        let patch = json!({ "spec": { "renewTime": now } });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => self.create_lease(&api, now).await,
            other => other.map(drop),
        }
    }

    async fn create_lease(&self, api: &Api<coordination::Lease>, now: MicroTime) -> Result<(), kube::Error> {
        let name = &self.description.name;
        let node = Api::<core::Node>::all(self.client.clone()).get_opt(name).await?;
        let owner = node.and_then(|node| node.metadata.uid).map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.clone(),
            uid,
            ..OwnerReference::default()
        });
        let lease = coordination::Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(LEASE_NAMESPACE.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(coordination::LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(LEASE_DURATION_S),
                renew_time: Some(now),
                ..coordination::LeaseSpec::default()
            }),
        };
        match api.create(&PostParams::default(), &lease).await {
            // The namespace is made by whoever starts first.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let namespaces: Api<core::Namespace> = Api::all(self.client.clone());
                let namespace = core::Namespace {
                    metadata: ObjectMeta { name: Some(LEASE_NAMESPACE.to_owned()), ..ObjectMeta::default() },
                    ..core::Namespace::default()
                };
                namespaces.create(&PostParams::default(), &namespace).await?;
                api.create(&PostParams::default(), &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{Description, Machine, memory_bytes, os_image, status};

    #[test]
    fn the_machine_is_read_from_its_files() {
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB"), 2048 * 1024);
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_image(""), "Linux");
    }

    #[test]
    fn a_condition_that_stays_keeps_the_time_it_began() {
        let machine = Machine {
            cpus: 2,
            memory_bytes: 4 << 30,
            disk_bytes: 1 << 40,
            machine_id: "m".into(),
            system_uuid: "u".into(),
            boot_id: "b".into(),
            kernel: "6.1".into(),
            os_image: "Linux".into(),
        };
        let description = Description {
            name: "n".into(),
            machine,
            addresses: vec!["10.42.0.1".parse().expect("ip")],
            pod_cidr: "10.42.0.0/16".into(),
        };
        let first = status(&description, Vec::new(), None, Timestamp::UNIX_EPOCH);
        let later = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60);
        let second = status(&description, Vec::new(), Some(&first), later);
        for (old, new) in first.conditions.iter().flatten().zip(second.conditions.iter().flatten()) {
            assert_eq!(old.last_transition_time, new.last_transition_time);
            assert_ne!(old.last_heartbeat_time, new.last_heartbeat_time);
        }
        assert_eq!(second.capacity.expect("capacity")["memory"].0, "4194304Ki");
    }
}
