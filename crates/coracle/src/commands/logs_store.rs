//! `coracle logs-store`: serving the logs of a data directory, taking lines in, giving them out.

mod export;
mod import;

use std::sync::Arc;

use anyhow::{Context, ensure};
use coracle_clock::SystemClock;
use coracle_logs::{Discovery, Options, Retention, Store};

use crate::{
    cli::{LogsServe, LogsStore},
    commands::block_on,
    paths::DataDir,
    print::{Colour, coloured},
};

pub fn run(dir: &DataDir, command: &LogsStore) -> anyhow::Result<()> {
    match command {
        LogsStore::Serve(command) => block_on(serve(dir, command)),
        LogsStore::Import(command) => block_on(import::run(dir, command)),
        LogsStore::Export(command) => block_on(export::run(dir, command)),
    }
}

fn open(dir: &DataDir, options: Options) -> anyhow::Result<Store> {
    let store = Store::open(&dir.logs_store(), options, Arc::new(SystemClock))?;
    for damage in store.damage() {
        eprintln!("{} {damage}", coloured(Colour::Yellow, "warning:"));
    }
    Ok(store)
}

/// The logs of a data directory that has some.
pub fn open_existing(dir: &DataDir) -> anyhow::Result<Store> {
    let path = dir.logs_store();
    ensure!(
        path.exists(),
        "there are no logs in {}. Name a place that has some with --data-dir, or a server with --url",
        path.display()
    );
    open(dir, Options::default())
}

async fn serve(dir: &DataDir, command: &LogsServe) -> anyhow::Result<()> {
    let mut options = Options::default();
    if let Some(text) = &command.retention {
        let nanoseconds = coracle_logql::go::parse_prometheus_duration(text).map_err(anyhow::Error::msg)?;
        let keep = std::time::Duration::from_nanos(nanoseconds.unsigned_abs());
        options.retention = Retention { rules: Vec::new(), default: Some(keep) };
    }
    if command.no_discovery {
        options.limits.default.discovery = Discovery { service_name: false, levels: false };
    }
    let store = open(dir, options)?;
    let listener = tokio::net::TcpListener::bind(command.listen)
        .await
        .with_context(|| format!("listening on {}", command.listen))?;
    println!("logs of {} on http://{}", dir.logs_store().display(), listener.local_addr()?);
    let served = axum::serve(listener, coracle_logs::http::router(store.clone()));
    tokio::select! {
        served = served.into_future() => served.context("serving")?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for a signal")?,
    }
    store.close().await;
    Ok(())
}
