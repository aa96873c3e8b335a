//! Clearing up what pods leave: it has to succeed in the end, since nobody would do it later.

use std::{path::PathBuf, time::Duration};

use crate::{
    container::assemble::label,
    context::Context,
    doors::Found,
    volumes::directories::{remove_all, remove_tree},
};

/// After an attempt that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Tries until it works: what is left behind would never be cleared up otherwise.
pub async fn persist<F: Future<Output = Result<(), String>>>(what: &'static str, mut attempt: impl FnMut() -> F) {
    while let Err(error) = attempt().await {
        tracing::warn!(error, "{what} failed; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removes the volumes of a pod and keeps its logs.
pub async fn remove_volumes(directory: PathBuf) -> Result<(), String> {
    let removed = tokio::task::spawn_blocking(move || remove_all(&directory)).await;
    removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Removes records, logs and directories of a pod whose containers have ended (or are to end now).
pub async fn remove_data(context: &Context, uid: &str) -> Result<(), String> {
    let of_pod = |found: &Found| found.labels.get(label::POD_UID).is_some_and(|label| label == uid);
    for found in context.runtime.list().into_iter().filter(of_pod) {
        context.runtime.remove(&found.id).await?;
    }
    context.runtime.remove_pod_group(uid).await?;
    let directory = context.pod_dir(uid);
    let removed = tokio::task::spawn_blocking(move || {
        remove_all(&directory)?;
        remove_tree(&directory)
    });
    removed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
