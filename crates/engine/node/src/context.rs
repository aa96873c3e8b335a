//! What all pods of the node share: the doors to the world, and the node's own facts.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use coracle_clock::Clock;
use k8s_openapi::api::core::v1 as core;

use crate::{
    api::PodApi,
    container::{downward::Facts, files::Dns},
    doors::{PodNetwork, PodRuntime},
    quantity::ResourceList,
    recorder::{Recorder, Severity},
};

/// Facts about the node that do not change while it runs.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    pub name: String,
    /// `DIR/pods`.
    pub pods_dir: PathBuf,
    pub dns: Dns,
    pub allocatable: ResourceList,
    pub memory_capacity_bytes: u64,
}

/// The doors and the facts.
pub struct Context {
    pub runtime: Arc<dyn PodRuntime>,
    pub network: Arc<dyn PodNetwork>,
    pub api: Arc<dyn PodApi>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Recorder,
    pub node: NodeFacts,
}

impl Context {
    /// Everything of one pod on disk.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.node.pods_dir.join(uid)
    }

    /// The log of one run of a container.
    pub fn log_path(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod_dir(uid).join("logs").join(container).join(format!("{attempt}.log"))
    }

    /// What the downward API of a pod tells.
    pub fn facts(&self, ips: &[IpAddr]) -> Facts {
        Facts {
            node_name: self.node.name.clone(),
            host_ips: self.network.node_ips(),
            pod_ips: ips.to_vec(),
            allocatable: self.node.allocatable.clone(),
        }
    }

    pub fn warn(&self, pod: &core::Pod, container: Option<&str>, reason: &str, message: String) {
        self.recorder.pod(pod, container, Severity::Warning, reason, message);
    }

    pub fn inform(&self, pod: &core::Pod, container: Option<&str>, reason: &str, message: String) {
        self.recorder.pod(pod, container, Severity::Normal, reason, message);
    }
}
