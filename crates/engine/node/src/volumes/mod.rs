//! The volumes of a pod: directories on the node, filled from the API where that is what they are for.

pub mod atomic;
pub mod directories;
pub mod payload;
pub mod subpath;

use std::{io, path::PathBuf};

use crate::container::ConfigError;

/// Why a volume cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    Source(#[from] ConfigError),
    #[error("references non-existent config key: {0}")]
    NoKey(String),
    #[error("{0:?} is not a path inside the volume")]
    Path(String),
    #[error("hostPath type check failed: {path} is not {wanted}")]
    HostPathType { path: PathBuf, wanted: &'static str },
    #[error("volumes of type {0} are not supported by this node")]
    Unsupported(&'static str),
    #[error("failed to fetch token: {0}")]
    Token(String),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl VolumeError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
