//! `coracle metrics export`: series as OpenMetrics text, one after the other.

use std::io::{BufWriter, Write};

use anyhow::Context;
use coracle_metrics::openmetrics::write_sample;
use coracle_promql::{Columns, is_stale, parser};

use crate::{cli::MetricsExport, paths::DataDir};

/// Text is handed on when there is so much of it.
const TEXT_BYTES: usize = 64 << 10;

pub fn run(dir: &DataDir, export: &MetricsExport) -> anyhow::Result<()> {
    let now_ms = super::now_ms();
    let matchers = parser::parse_selector(&export.selector).with_context(|| export.selector.clone())?;
    let time = |text: &Option<String>, otherwise: i64| match text {
        Some(text) => super::time_ms(text, now_ms),
        None => Ok(otherwise),
    };
    let (start_ms, end_ms) = (time(&export.start, i64::MIN)?, time(&export.end, i64::MAX)?);
    let store = super::open_existing(dir)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut columns, mut text, mut left_out) = (Columns::default(), String::new(), 0);
    for series in store.export(&matchers, start_ms, end_ms)?.iter() {
        columns.clear();
        series.read(start_ms, end_ms, &mut columns)?;
        left_out += columns.histograms.len();
        for (time_ms, value) in columns.floats.times_ms.iter().zip(&columns.floats.values) {
            if !is_stale(*value) {
                write_sample(&mut text, series.labels(), *time_ms, *value);
            }
            if text.len() >= TEXT_BYTES {
                out.write_all(text.as_bytes())?;
                text.clear();
            }
        }
    }
    text.push_str("# EOF\n");
    out.write_all(text.as_bytes())?;
    out.flush()?;
    if left_out > 0 {
        eprintln!("{left_out} native histograms were left out: OpenMetrics has no lines for them");
    }
    Ok(())
}
