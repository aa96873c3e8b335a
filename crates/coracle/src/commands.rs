//! One file a command.

pub mod backup;
pub mod bench;
pub mod demo;
pub mod down;
pub mod eject;
pub mod history;
pub mod logs;
pub mod logs_store;
pub mod metrics;
pub mod query;
pub mod render;
pub mod restore;
pub mod rollback;
pub mod rotate_keys;
pub mod rules;
pub mod status;
pub mod up;
pub mod version;

use anyhow::Context;

use crate::{paths::DataDir, state};

/// A small runtime for commands that talk to a running engine.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("an async runtime")?.block_on(future)
}

/// A client for the engine that runs in `dir`.
async fn client(dir: &DataDir) -> anyhow::Result<kube::Client> {
    anyhow::ensure!(
        state::is_running(dir),
        "no engine runs in {}. Start one with `coracle up`, or name another place with --data-dir",
        dir.root().display()
    );
    Ok(coracle_client::from_kubeconfig(&dir.kubeconfig()).await?)
}
