//! `coracle logs-store export`: lines as JSON objects, in about the order of time.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, ErrorKind, Write},
    ops::ControlFlow,
};

use anyhow::Context;
use coracle_logql::{Direction, Request, Sink, Source, SourceEntry, syntax::parse_selector};
use coracle_logs::http::DEFAULT_TENANT;
use serde::Serialize;

use super::open_existing;
use crate::{
    cli::LogsExport,
    commands::metrics::{now_ms, time_ms},
    paths::DataDir,
};

pub async fn run(dir: &DataDir, command: &LogsExport) -> anyhow::Result<()> {
    let matchers = command.selector.as_deref().map(parse_selector).transpose()?.unwrap_or_default();
    let now_ms = now_ms();
    let nanoseconds = |time: &str| anyhow::Ok(time_ms(time, now_ms)?.saturating_mul(1_000_000));
    let request = Request {
        matchers: &matchers,
        start: command.start.as_deref().map(nanoseconds).transpose()?.unwrap_or(i64::MIN),
        end: command.end.as_deref().map(nanoseconds).transpose()?.unwrap_or(i64::MAX),
        direction: Direction::Forward,
        needles: Vec::new(),
    };
    let store = open_existing(dir)?;
    let mut lines = Lines { out: BufWriter::new(io::stdout()), error: None };
    let read = store.tenant(DEFAULT_TENANT).read(&request, &mut lines);
    for damage in store.damage() {
        eprintln!("warning: {damage}");
    }
    store.close().await;
    read?;
    let Lines { mut out, error } = lines;
    match error.map_or_else(|| out.flush(), Err) {
        // Whoever reads has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing lines"),
    }
}

/// Writes lines until that fails.
struct Lines {
    out: BufWriter<io::Stdout>,
    error: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'l> {
    labels: BTreeMap<&'l str, &'l str>,
    line: &'l str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'l str, &'l str>,
    timestamp: String,
}

impl Lines {
    fn write(&mut self, entry: &SourceEntry<'_>) -> io::Result<()> {
        let line = Line {
            labels: entry.labels.iter().collect(),
            line: entry.line,
            metadata: entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            timestamp: moment(entry.ts),
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }
}

/// A date and time where there is one for it, else the number of nanoseconds.
fn moment(ts: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ts)).map_or_else(|_| ts.to_string(), |moment| moment.to_string())
}

impl Sink for Lines {
    fn wants(&self, _: i64, _: i64) -> bool {
        self.error.is_none()
    }

    fn take(&mut self, entry: SourceEntry<'_>) -> ControlFlow<()> {
        match self.write(&entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}
