//! `coracle logs-store import`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail, ensure};
use coracle_clock::{Clock, SystemClock};
use coracle_logql::Labels;
use coracle_logs::{Discovery, Entry, Options, Store, Stream, http::DEFAULT_TENANT};
use serde::Deserialize;
use serde_json::Value;

use super::open;
use crate::{
    cli::{LineFormat, LogsImport},
    paths::DataDir,
};

/// Lines that are written together.
const BATCH_LINES: usize = 10_000;
/// Bytes of them.
const BATCH_BYTES: usize = 4 << 20;

pub async fn run(dir: &DataDir, command: &LogsImport) -> anyhow::Result<()> {
    let labels = Labels::parse(&command.labels)?;
    ensure!(
        command.format == LineFormat::Json || !labels.is_empty(),
        "lines of text need labels, as in --labels '{{app=\"shop\"}}'"
    );
    let mut options = Options::default();
    // Nobody else is kept waiting.
    (options.limits.default.rate_bytes, options.limits.default.burst_bytes) = (u64::MAX, u64::MAX);
    let store = open(dir, options)?;
    let imported = take_in(&store, command, &labels).await;
    store.close().await;
    println!("{} lines are in {}", imported?, dir.logs_store().display());
    Ok(())
}

async fn take_in(store: &Store, command: &LogsImport, labels: &Labels) -> anyhow::Result<i64> {
    let input: Box<dyn Read> = match &command.file {
        Some(file) => Box::new(std::fs::File::open(file).with_context(|| format!("opening {}", file.display()))?),
        None => Box::new(std::io::stdin()),
    };
    let start = i64::try_from(SystemClock.now().as_nanosecond())?;
    let (mut count, mut bytes) = (0, 0);
    let mut batch: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    for (line, number) in BufReader::new(input).lines().zip(1..) {
        let line = line.with_context(|| format!("line {number}"))?;
        let (own, entry) = match command.format {
            // Lines without a time of their own keep their order.
            LineFormat::Text => (labels.clone(), Entry { ts: start + count, line, metadata: Arc::new([]) }),
            LineFormat::Json if line.trim().is_empty() => continue,
            LineFormat::Json => json_line(labels, line).with_context(|| format!("line {number}"))?,
        };
        bytes += entry.line.len();
        count += 1;
        batch.entry(own).or_default().push(entry);
        if count % BATCH_LINES as i64 == 0 || bytes >= BATCH_BYTES {
            push(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    push(store, batch).await?;
    Ok(count)
}

async fn push(store: &Store, batch: BTreeMap<Labels, Vec<Entry>>) -> anyhow::Result<()> {
    let mut streams: Vec<Stream> = batch.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect();
    Discovery::default().add_to(&mut streams);
    Ok(store.push(DEFAULT_TENANT, streams).await?)
}

/// A line with its circumstances. Others are ignored, as they belong to the line where it is itself the object.
#[derive(Deserialize)]
struct JsonLine {
    #[serde(alias = "ts", alias = "time")]
    timestamp: Option<Value>,
    labels: Option<BTreeMap<String, String>>,
    metadata: Option<BTreeMap<String, String>>,
    line: Option<String>,
}

fn json_line(common: &Labels, text: String) -> anyhow::Result<(Labels, Entry)> {
    let parsed: Value = serde_json::from_str(&text)?;
    let is_wrapped = parsed.get("line").is_some_and(Value::is_string);
    let (timestamp, labels, metadata, line) = if is_wrapped {
        let JsonLine { timestamp, labels, metadata, line } = serde_json::from_value(parsed)?;
        (timestamp, labels.unwrap_or_default(), metadata.unwrap_or_default(), line.unwrap_or_default())
    } else {
        let timestamp = ["timestamp", "time", "ts"].iter().find_map(|name| parsed.get(name)).cloned();
        (timestamp, BTreeMap::new(), BTreeMap::new(), text)
    };
    let timestamp = timestamp.ok_or_else(|| anyhow!("there is no timestamp in {line}"))?;
    let ts = nanoseconds(&timestamp).ok_or_else(|| anyhow!("{timestamp} is no timestamp"))?;
    let own = labels.iter().fold(common.clone(), |all, (name, value)| all.set(name, value));
    if own.is_empty() {
        bail!("there are no labels: name some with --labels, as in {{app=\"shop\"}}");
    }
    Ok((own, Entry { ts, line, metadata: metadata.into_iter().collect() }))
}

/// A date and time, or a number since 1970: of seconds, milliseconds, microseconds or nanoseconds, by its size.
fn nanoseconds(value: &Value) -> Option<i64> {
    let number = match value {
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(moment) => return i64::try_from(moment.as_nanosecond()).ok(),
            Err(_) => text.parse::<f64>().ok().zip(Some(text.parse::<i64>().ok())),
        },
        Value::Number(number) => number.as_f64().zip(Some(number.as_i64())),
        _ => None,
    };
    let (number, whole) = number?;
    let unit: i64 = match number.abs() {
        ..1e11 => 1_000_000_000,
        ..1e14 => 1_000_000,
        ..1e17 => 1000,
        _ => 1,
    };
    match whole {
        Some(whole) => whole.checked_mul(unit),
        None => Some((number * unit as f64) as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let common = Labels::parse(r#"{job="j"}"#).unwrap();
        let shown = match json_line(&common, text.to_owned()) {
            Ok((labels, Entry { ts, line, metadata })) => format!("{labels} {ts} {line} {metadata:?}"),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_of_json() {
        check(
            r#"{"labels":{"app":"a"},"line":"hello","timestamp":"2023-11-14T22:13:20.000000001Z"}"#,
            r#"{app="a", job="j"} 1700000000000000001 hello []"#,
        );
        check(
            r#"{"line":"x","ts":1700000000.5,"metadata":{"trace":"t"}}"#,
            r#"{job="j"} 1700000000500000000 x [("trace", "t")]"#,
        );
        check(
            r#"{"time":1700000000123,"msg":"m"}"#,
            r#"{job="j"} 1700000000123000000 {"time":1700000000123,"msg":"m"} []"#,
        );
        check(
            r#"{"ts":"1700000000000000007","m":1}"#,
            r#"{job="j"} 1700000000000000007 {"ts":"1700000000000000007","m":1} []"#,
        );
        check(r#"{"msg":"m"}"#, r#"there is no timestamp in {"msg":"m"}"#);
        check(r#"{"line":"x","time":"noon"}"#, r#""noon" is no timestamp"#);
        check("no json", "expected ident at line 1 column 2");
    }
}
