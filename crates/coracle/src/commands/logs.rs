//! `coracle logs`: what the pods of an app print, each line after the name of its pod.

use anyhow::{Context, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};

use crate::{
    cli::Logs,
    commands::{block_on, client},
    paths::DataDir,
};

/// The most pods followed at once.
const MAX_PODS: usize = 64;

pub fn run(dir: &DataDir, logs: &Logs) -> anyhow::Result<()> {
    block_on(print(dir, logs))
}

async fn print(dir: &DataDir, logs: &Logs) -> anyhow::Result<()> {
    let client = client(dir).await?;
    let app = coracle_sync::ask::overview(&client, &logs.app).await?;
    let pods: Api<Pod> = Api::namespaced(client, &app.namespace);
    let names: Vec<String> = pods.list(&ListParams::default()).await?.items.iter().map(ResourceExt::name_any).collect();
    ensure!(!names.is_empty(), "{} has no pods", logs.app);
    let streams = names.iter().take(MAX_PODS).map(|name| {
        let pods = pods.clone();
        async move {
            let params = LogParams { follow: logs.follow, tail_lines: Some(logs.tail), ..LogParams::default() };
            let lines = pods.log_stream(name, &params).await.with_context(|| format!("logs of {name}"))?.lines();
            Ok::<_, anyhow::Error>(lines.map_ok(move |line| format!("{name}  {line}")).map_err(anyhow::Error::from))
        }
    });
    let mut lines = stream::iter(streams).buffer_unordered(MAX_PODS).try_flatten_unordered(MAX_PODS);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("{error:#}"),
        }
    }
    Ok(())
}
