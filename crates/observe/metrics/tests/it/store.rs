//! A store on a disk in memory: what goes in comes out, through flushes, merges, restarts and deletions.

use std::sync::Arc;

use coracle_clock::ManualClock;
use coracle_disk::MemoryDisk;
use coracle_metrics::{Appended, Batch, Options, Store};
use coracle_promql::{Columns, Matcher, SelectHints, Storage};

const START_MS: i64 = 1_700_000_000_000;

pub fn options() -> Options {
    Options { block_range_ms: 60_000, chunk_samples: 20, ..Options::default() }
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(jiff::Timestamp::from_millisecond(START_MS * 2).unwrap()))
}

pub fn open(disk: &MemoryDisk, options: &Options) -> Store {
    Store::open_on(Arc::new(disk.clone()), options.clone(), clock()).unwrap()
}

/// A sample of each of `series` series at a time.
fn append(store: &Store, series: usize, time_ms: i64) -> Appended {
    let names: Vec<String> = (0..series).map(|number| number.to_string()).collect();
    let mut batch = Batch::default();
    for (number, name) in names.iter().enumerate() {
        let metric = if number % 2 == 0 { "even" } else { "odd" };
        batch.start_series([("__name__", metric), ("series", name), ("job", "test")]);
        batch.push_float(time_ms, (time_ms / 1000 * (number as i64 + 1)) as f64);
    }
    store.append(&batch).unwrap()
}

/// What a selection holds, a line a series.
fn read(store: &Store, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> String {
    let hints = SelectHints { start_ms, end_ms, sorted: true, ..SelectHints::default() };
    let mut lines = String::new();
    for series in store.select(matchers, &hints).unwrap().series {
        let mut columns = Columns::default();
        series.read(start_ms, end_ms, &mut columns).unwrap();
        let floats = &columns.floats;
        assert!(floats.times_ms.is_sorted_by(|one, other| one < other));
        let number: i64 = series.labels().value("series").parse().unwrap();
        for (time_ms, value) in floats.times_ms.iter().zip(&floats.values) {
            assert_eq!(*value, (time_ms / 1000 * (number + 1)) as f64);
        }
        if let (Some(first), Some(last)) = (floats.times_ms.first(), floats.times_ms.last()) {
            lines += &format!("{} {} {}..{}\n", series.labels(), floats.len(), first - START_MS, last - START_MS);
        }
    }
    lines
}

fn everything(store: &Store) -> String {
    read(store, &[Matcher::equal("job", "test")], i64::MIN, i64::MAX)
}

#[test]
fn samples_survive_flushes_merges_and_restarts() {
    let disk = MemoryDisk::new();
    let options = options();
    let mut store = open(&disk, &options);
    let mut taken = 0;
    for step in 0..200 {
        taken += append(&store, 5, START_MS + step * 5000).floats;
        if step % 7 == 0 {
            store.maintain().unwrap();
        }
        if step % 31 == 0 {
            store.sync().unwrap();
            store = open(&disk, &options);
            assert_eq!(store.complaints(), &[] as &[String]);
        }
    }
    assert_eq!(taken, 1000);
    let expected = everything(&store);
    expect_test::expect![[r#"
        {__name__="even", job="test", series="0"} 200 0..995000
        {__name__="even", job="test", series="2"} 200 0..995000
        {__name__="even", job="test", series="4"} 200 0..995000
        {__name__="odd", job="test", series="1"} 200 0..995000
        {__name__="odd", job="test", series="3"} 200 0..995000
    "#]]
    .assert_eq(&expected);
    assert!(store.statistics().blocks.len() < 10, "blocks are merged");
    store.flush_all().unwrap();
    assert_eq!(everything(&store), expected);
    drop(store);
    assert_eq!(everything(&open(&disk, &options)), expected);
}

#[test]
fn what_cannot_be_taken_in_is_told() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &Options { series_max: 10, ..options() });
    append(&store, 2, START_MS + 50_000);
    assert_eq!(append(&store, 2, START_MS + 50_000).refused.total(), 0);
    assert_eq!(append(&store, 2, START_MS).refused.out_of_order, 2);
    let appended = append(&store, 12, START_MS + 51_000);
    assert_eq!((appended.floats, appended.refused.limit), (10, 2));
    assert!(appended.first_refusal.unwrap().starts_with("there are 10 series already, the limit"));
    let mut batch = Batch::default();
    batch.start_series([("a", "1"), ("a", "2")]);
    batch.push_float(START_MS + 51_000, 1.0);
    batch.start_series([("__name__", "even"), ("series", "0"), ("job", "test")]);
    batch.push_float(START_MS + 51_000, 1.0);
    batch.push_float(START_MS * 3, 1.0);
    let appended = store.append(&batch).unwrap();
    assert_eq!((appended.refused.invalid, appended.refused.duplicate, appended.refused.too_new), (1, 1, 1));
}

#[test]
fn samples_may_come_out_of_order_within_the_window() {
    let disk = MemoryDisk::new();
    let options = Options { out_of_order_window_ms: 100_000, ..options() };
    let store = open(&disk, &options);
    for step in (0..30).chain((30..60).rev()) {
        append(&store, 1, START_MS + step * 1000);
    }
    assert_eq!(append(&store, 1, START_MS - 60_000).refused.too_old, 1);
    let expected = "{__name__=\"even\", job=\"test\", series=\"0\"} 60 0..59000\n";
    assert_eq!(everything(&store), expected);
    drop(store);
    let store = open(&disk, &options);
    assert_eq!(everything(&store), expected);
    store.flush_all().unwrap();
    assert_eq!(everything(&store), expected);
}

#[test]
fn deleted_samples_are_gone_for_good() {
    let disk = MemoryDisk::new();
    let options = options();
    let store = open(&disk, &options);
    (0..40).for_each(|step| drop(append(&store, 2, START_MS + step * 5000)));
    store.maintain().unwrap();
    let odd = [vec![Matcher::equal("__name__", "odd")]];
    assert!(store.delete(&odd, START_MS + 20_000, START_MS + 190_000).unwrap() > 0);
    let expected = everything(&store);
    expect_test::expect![[r#"
        {__name__="even", job="test", series="0"} 40 0..195000
        {__name__="odd", job="test", series="1"} 5 0..195000
    "#]]
    .assert_eq(&expected);
    drop(store);
    let store = open(&disk, &options);
    assert_eq!(everything(&store), expected);
    store.flush_all().unwrap();
    store.clean_deleted().unwrap();
    store.maintain().unwrap();
    assert_eq!(everything(&store), expected);
}

#[test]
fn old_blocks_go() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &Options { retention_ms: Some(120_000), ..options() });
    for step in 0..100 {
        append(&store, 1, START_MS + step * 5000);
        store.maintain().unwrap();
    }
    let held = everything(&store);
    let samples: usize = held.split(' ').nth(3).unwrap().parse().unwrap();
    assert!((24..60).contains(&samples), "{held}");
}

#[test]
fn series_that_are_gone_are_forgotten() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &options());
    append(&store, 4000, START_MS);
    for step in 1..60 {
        append(&store, 3, START_MS + step * 5000);
    }
    store.maintain().unwrap();
    assert_eq!(store.statistics().head_series, 3);
    append(&store, 5, START_MS + 300_000);
    drop(store);
    let store = open(&disk, &options());
    assert_eq!(store.statistics().head_series, 5);
    assert_eq!(everything(&store).lines().count(), 4000);
    assert_eq!(store.label_values("series", &[], i64::MIN, i64::MAX).unwrap().len(), 4000);
}
