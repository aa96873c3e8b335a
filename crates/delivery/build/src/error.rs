//! Why there is no image.

use coracle_registry::StoreError;

use crate::{Problems, dockerfile::Place};

/// Why a build failed, in words for the person whose build it is.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no Dockerfile where it was looked for.
    #[error("there is no {path} in the repository: add one, or name its path")]
    NoDockerfile {
        /// Where.
        path: String,
    },
    /// The files could not be read.
    #[error("the build context cannot be read: {0}")]
    Context(std::io::Error),
    /// There is more than is allowed.
    #[error("the build context is {found}, more than the {limit} allowed: leave things out in .dockerignore")]
    TooMuch {
        /// How much there is.
        found: String,
        /// How much there may be.
        limit: String,
    },
    /// The Dockerfile is wrong, or asks for what is not there.
    #[error("{0}")]
    Dockerfile(#[from] Problems),
    /// A command failed.
    #[error("{file}:{}: {}: {detail}{}", place.line, place.text, shown(output))]
    Step {
        /// The Dockerfile.
        file: String,
        /// Which instruction.
        place: Box<Place>,
        /// How it ended.
        detail: String,
        /// The last lines it printed.
        output: Vec<String>,
    },
    /// The registry could not take the result.
    #[error("the image cannot be stored: {0}")]
    Store(#[from] StoreError),
    /// The whole took too long.
    #[error("the build took longer than {0} s and was given up")]
    TimedOut(u64),
    /// A fault of ours.
    #[error("the build failed inside coracle: {0}")]
    Internal(String),
}

fn shown(output: &[String]) -> String {
    if output.is_empty() {
        return String::new();
    }
    let lines: String = output.iter().map(|line| format!("\n  | {line}")).collect();
    format!("\nthe last it printed:{lines}")
}
