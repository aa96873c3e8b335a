//! `coracle logs-store`: serving the logs of a data directory, and taking lines in.

use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use anyhow::{Context, ensure};
use coracle_clock::{Clock, SystemClock};
use coracle_logs::{Entry, Options, Retention, Store, Stream, http::DEFAULT_TENANT};

use crate::{
    cli::{LogsImport, LogsServe, LogsStore},
    commands::block_on,
    paths::DataDir,
    print::{Colour, coloured},
};

/// Lines of an import that are written together.
const BATCH_LINES: usize = 10_000;

pub fn run(dir: &DataDir, command: &LogsStore) -> anyhow::Result<()> {
    match command {
        LogsStore::Serve(command) => block_on(serve(dir, command)),
        LogsStore::Import(command) => block_on(import(dir, command)),
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

async fn import(dir: &DataDir, command: &LogsImport) -> anyhow::Result<()> {
    let labels = coracle_logql::Labels::parse(&command.labels)?;
    let store = open(dir, Options::default())?;
    let input: Box<dyn Read> = match &command.file {
        Some(file) => Box::new(std::fs::File::open(file).with_context(|| format!("opening {}", file.display()))?),
        None => Box::new(std::io::stdin()),
    };
    let start = i64::try_from(SystemClock.now().as_nanosecond())?;
    let (mut count, mut entries) = (0, Vec::new());
    let mut lines = BufReader::new(input).lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.context("reading lines")?;
        // Lines without a time of their own keep their order.
        entries.push(Entry { ts: start + count, line, metadata: Arc::new([]) });
        count += 1;
        if entries.len() == BATCH_LINES || lines.peek().is_none() {
            let stream = Stream { labels: labels.clone(), entries: std::mem::take(&mut entries) };
            store.push(DEFAULT_TENANT, vec![stream]).await?;
        }
    }
    store.close().await;
    println!("{count} lines are in {labels}");
    Ok(())
}
