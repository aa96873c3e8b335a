//! From a container of a pod to what the runtime is asked to run: environment, user, limits, mounts. Pure.

pub mod assemble;
pub mod downward;
pub mod env;
pub mod expand;
pub mod files;
pub mod security;
pub mod service_env;
pub mod sources;

pub use sources::{References, Sources, references};

/// Why a container cannot be configured; shown as the message of `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("unsupported fieldPath: {0}")]
    FieldPath(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container {0} not found")]
    NoContainer(String),
    #[error("{0}")]
    User(String),
    #[error("no volume named {0:?} for the mount at {1:?}")]
    NoVolume(String, String),
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\": {reason}")]
    SubPath { volume: String, container: String, reason: String },
    #[error("seccomp profile of type {0:?} is not supported")]
    Seccomp(String),
}
