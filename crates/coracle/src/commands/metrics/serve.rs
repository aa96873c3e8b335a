//! `coracle metrics serve`: the metrics of a data directory, without the rest of the platform.

use std::time::Duration;

use anyhow::Context;
use coracle_metrics::{Options, http};
use coracle_promql::number;
use tokio::net::TcpListener;

use crate::{cli::MetricsServe, paths::DataDir};

/// Threads that wait for work end soon: each keeps for itself what the allocator got from the system while it ran a query.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(20);

fn duration_ms(text: &str) -> anyhow::Result<i64> {
    number::parse_duration_ms(text).map_err(|why| anyhow::anyhow!("{text}: {why}"))
}

pub fn run(dir: &DataDir, serve: &MetricsServe) -> anyhow::Result<()> {
    let options = Options {
        retention_ms: Some(duration_ms(&serve.retention)?),
        retention_bytes: serve.retention_size.map(|mib| mib << 20),
        out_of_order_window_ms: duration_ms(&serve.out_of_order)?,
        memory_bytes: serve.memory << 20,
        series_max: serve.max_series,
        ..Options::default()
    };
    let settings = http::Settings {
        admin: serve.admin,
        flags: vec![
            ("storage.tsdb.retention.time".to_owned(), serve.retention.clone()),
            ("web.enable-admin-api".to_owned(), serve.admin.to_string()),
            ("web.enable-remote-write-receiver".to_owned(), "true".to_owned()),
        ],
        ..http::Settings::default()
    };
    let store = super::open(dir, options)?;
    let router = http::router(store.clone(), super::engine(serve.experimental), settings);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_keep_alive(THREAD_KEEP_ALIVE).build().context("an async runtime")?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(serve.listen).await.with_context(|| format!("listening on {}", serve.listen))?;
        println!("metrics in {} at http://{}", store.place(), listener.local_addr()?);
        coracle_tasks::spawn("metrics-store", store.clone().run());
        axum::serve(listener, router).with_graceful_shutdown(stopped()).await.context("serving")
    })?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    store.close().context("making the last samples durable")
}

/// When somebody wants the process to end.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
