//! An image's configuration: what a container of it runs, where, as whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The moment all images were made at: the same content has the same digest whenever it is built.
const CREATED: &str = "1970-01-01T00:00:01Z";

/// What a container of the image starts with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// As whom.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `PORT/PROTOCOL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// `NAME=VALUE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// What always runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// What it runs with, or what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that hold data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// How to end it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker's extension: how to see whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthcheckConfig>,
    /// Docker's extension: the shell of shell-form commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthcheckConfig {
    /// `NONE`, or `CMD` or `CMD-SHELL` and the command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Nanoseconds a check may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Nanoseconds before failures count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u64>,
    /// Nanoseconds between checks before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u64>,
    /// Failures until it is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

/// A line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Always the same moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether it left no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl History {
    /// One instruction of ours.
    pub fn of(instruction: &str, empty_layer: bool) -> Self {
        Self { created: Some(CREATED.into()), created_by: Some(instruction.into()), empty_layer }
    }
}

/// The whole configuration document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// What containers start with.
    pub config: ImageConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How it was made.
    pub history: Vec<History>,
}

/// The layers of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers' archives, lowest first.
    pub diff_ids: Vec<String>,
}

impl ImageDocument {
    /// An image for `platform` (`linux/amd64`), with nothing in it.
    pub fn empty(platform: &str) -> Self {
        let mut parts = platform.split('/').map(str::to_owned);
        let mut document = Self { created: Some(CREATED.into()), ..Self::default() };
        document.os = parts.next().unwrap_or_default();
        document.architecture = parts.next().unwrap_or_default();
        document.variant = parts.next();
        document.rootfs.kind = "layers".into();
        document
    }

    /// Marks it as made by us.
    pub fn stamp(&mut self) {
        self.created = Some(CREATED.into());
    }
}

impl ImageConfig {
    /// The value of environment variable `name`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().flatten().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets environment variable `name`, in its place where it is set already.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let env = self.env.get_or_insert_default();
        let line = format!("{name}={value}");
        match env.iter_mut().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
            Some(old) => *old = line,
            None => env.push(line),
        }
    }

    /// The TCP ports it says it listens on, in ascending order.
    pub fn tcp_ports(&self) -> Vec<u16> {
        let ports = self.exposed_ports.iter().flat_map(BTreeMap::keys);
        let mut ports: Vec<u16> =
            ports.filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}
