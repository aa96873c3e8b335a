//! `coracle metrics`: serving, importing and exporting the metrics of a data directory.

mod export;
mod import;
mod serve;

use std::sync::Arc;

use anyhow::{Context, ensure};
use coracle_clock::{Clock, SystemClock};
use coracle_metrics::{Options, Store};
use coracle_promql::{
    engine::{Engine, EngineOptions},
    number, parser,
};

use crate::{cli::Metrics, paths::DataDir};

pub fn run(dir: &DataDir, metrics: &Metrics) -> anyhow::Result<()> {
    match metrics {
        Metrics::Serve(serve) => serve::run(dir, serve),
        Metrics::Import(import) => import::run(dir, import),
        Metrics::Export(export) => export::run(dir, export),
    }
}

pub fn now_ms() -> i64 {
    SystemClock.now().as_millisecond()
}

/// A time: seconds since 1970, a date and time, or how long ago.
pub fn time_ms(text: &str, now_ms: i64) -> anyhow::Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    number::parse_duration_ms(text).map(|ago_ms| now_ms - ago_ms).map_err(|_| {
        anyhow::anyhow!("{text} is no time: write seconds since 1970, 2026-01-31T12:00:00Z, or 1h for an hour ago")
    })
}

fn open(dir: &DataDir, options: Options) -> anyhow::Result<Store> {
    let path = dir.metrics();
    let store = Store::open(&path, options, Arc::new(SystemClock))
        .with_context(|| format!("opening the metrics in {}", path.display()))?;
    for complaint in store.complaints() {
        eprintln!("{} {complaint}", crate::print::coloured(crate::print::Colour::Yellow, "warning:"));
    }
    Ok(store)
}

/// The metrics of a data directory that has some.
pub fn open_existing(dir: &DataDir) -> anyhow::Result<Store> {
    let path = dir.metrics();
    ensure!(
        path.exists(),
        "there are no metrics in {}. Name a place that has some with --data-dir, or a server with --url",
        path.display()
    );
    open(dir, Options::default())
}

/// What evaluates queries.
pub fn engine(experimental: bool) -> Engine {
    let mut options = EngineOptions::default();
    if experimental {
        options.parser = parser::Options::EVERYTHING;
    }
    Engine::new(options)
}
