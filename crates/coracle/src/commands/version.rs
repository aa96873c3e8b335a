//! `coracle version`.

use serde_json::json;

use crate::{cli::Output, print};

/// The Kubernetes release whose API is spoken.
pub const KUBERNETES: &str = "1.35";

pub fn run(output: Output) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    if output.json {
        return print::json(&json!({"coracle": version, "kubernetes": KUBERNETES}));
    }
    println!("coracle {version} (Kubernetes API {KUBERNETES})");
    Ok(())
}
