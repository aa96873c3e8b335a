//! The store and its interface, from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api;
mod crash;
mod damage;
mod foreign_blocks;
mod kill;
mod native;
mod receive;
mod remote;
mod side_by_side;
mod store;
mod tools;

use std::sync::Arc;

use coracle_clock::ManualClock;
use coracle_disk::MemoryDisk;
use coracle_metrics::{Batch, Options, Store, StoreError};
use coracle_promql::{Columns, Matcher, SelectHints, Storage};

const START_MS: i64 = 1_700_000_000_000;

/// Short blocks and chunks, so that a few samples make many files.
fn options() -> Options {
    Options { block_range_ms: 60_000, chunk_samples: 20, ..Options::default() }
}

/// A clock that shows a time after all samples.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(jiff::Timestamp::from_millisecond(START_MS * 2).unwrap()))
}

fn open(disk: &MemoryDisk, options: &Options) -> Store {
    Store::open_on(Arc::new(disk.clone()), options.clone(), clock()).unwrap()
}

/// What series `number` has at a time, whoever writes it.
fn value_of(number: u64, time_ms: i64) -> f64 {
    (time_ms / 1000) as f64 * (number + 1) as f64 / if number.is_multiple_of(3) { 8.0 } else { 1.0 }
}

/// Appends a sample of each series of `numbers` at a time.
fn try_append(
    store: &Store,
    numbers: impl IntoIterator<Item = u64>,
    time_ms: i64,
) -> Result<coracle_metrics::Appended, StoreError> {
    let names: Vec<(u64, String)> = numbers.into_iter().map(|number| (number, number.to_string())).collect();
    let mut batch = Batch::default();
    for (number, name) in &names {
        let metric = if number % 2 == 0 { "even" } else { "odd" };
        batch.start_series([("__name__", metric), ("series", name), ("job", "test")]);
        batch.push_float(time_ms, value_of(*number, time_ms));
    }
    store.append(&batch)
}

/// All samples that match, by series, each checked to be what was written.
fn samples(store: &Store, matchers: &[Matcher]) -> Result<Vec<(u64, Vec<i64>)>, coracle_promql::StorageError> {
    let hints = SelectHints { start_ms: i64::MIN, end_ms: i64::MAX, sorted: true, ..SelectHints::default() };
    let mut found = Vec::new();
    let selected = store.select(matchers, &hints)?.series;
    for at in 0..selected.len() {
        let mut columns = Columns::default();
        selected.read(at, i64::MIN, i64::MAX, &mut columns)?;
        let number: u64 = selected.labels(at).value("series").parse().unwrap();
        let floats = columns.floats;
        assert!(floats.times_ms.is_sorted_by(|one, other| one < other), "{:?}", floats.times_ms);
        for (time_ms, value) in floats.times_ms.iter().zip(&floats.values) {
            assert_eq!(*value, value_of(number, *time_ms), "series {number} at {time_ms}");
        }
        found.push((number, floats.times_ms));
    }
    Ok(found)
}

fn all() -> Vec<Matcher> {
    vec![Matcher::equal("job", "test")]
}
