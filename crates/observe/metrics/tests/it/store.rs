//! A store on a disk in memory: what goes in comes out, through flushes, merges, restarts and deletions.

use coracle_disk::MemoryDisk;
use coracle_metrics::{Appended, Batch, Options, Store};
use coracle_promql::Matcher;

use crate::{START_MS, all, open, options, samples, try_append};

fn append(store: &Store, series: u64, time_ms: i64) -> Appended {
    try_append(store, 0..series, time_ms).unwrap()
}

/// What is there, a line a series: how many samples, from when to when.
fn everything(store: &Store) -> String {
    let mut lines = String::new();
    for (number, times_ms) in samples(store, &all()).unwrap() {
        if let (Some(first), Some(last)) = (times_ms.first(), times_ms.last()) {
            lines += &format!("{number}: {} {}..{}\n", times_ms.len(), first - START_MS, last - START_MS);
        }
    }
    lines
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
        0: 200 0..995000
        2: 200 0..995000
        4: 200 0..995000
        1: 200 0..995000
        3: 200 0..995000
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

/// A series whose labels are as many and as long as told; what is said when it is refused.
fn refusal(store: &Store, labels: usize, name_bytes: usize, value_bytes: usize) -> String {
    let names: Vec<String> = (0..labels).map(|number| format!("{number:0>name_bytes$}")).collect();
    let value = "v".repeat(value_bytes);
    let mut batch = Batch::default();
    batch.start_series(names.iter().map(|name| (name.as_str(), value.as_str())));
    batch.push_float(START_MS, 1.0);
    let appended = store.append(&batch).unwrap();
    assert_eq!(appended.refused.limit, 1);
    appended.first_refusal.unwrap()
}

#[test]
fn giants_are_refused_in_words() {
    let disk = MemoryDisk::new();
    let store = open(&disk, &options());
    let Options { labels_max, label_name_bytes_max, label_value_bytes_max, .. } = options();
    let many = refusal(&store, labels_max + 1, 4, 1);
    assert!(many.starts_with(&format!("{} labels, the limit is {labels_max}", labels_max + 1)), "{many}");
    let long_name = refusal(&store, 1, label_name_bytes_max + 1, 1);
    assert!(long_name.starts_with("a label's name has"), "{long_name}");
    let long_value = refusal(&store, 1, 4, label_value_bytes_max.min(65_534) + 1);
    assert!(long_value.contains("bytes, the limit is"), "{long_value}");
    // What is told does not repeat the giant.
    assert!(long_value.len() < 1000 && long_name.len() < label_name_bytes_max + 1000);
}

#[test]
fn a_bomb_of_series_is_bounded_by_memory() {
    let disk = MemoryDisk::new();
    let options = Options { memory_bytes: 1 << 20, ..options() };
    let store = open(&disk, &options);
    let (mut taken, mut said) = (0, None);
    for round in 0..100 {
        let names: Vec<String> = (0..1000).map(|number| format!("{round}-{number}")).collect();
        let mut batch = Batch::default();
        for name in &names {
            batch.start_series([("__name__", "bomb"), ("id", name.as_str())]);
            batch.push_float(START_MS, 1.0);
        }
        let appended = store.append(&batch).unwrap();
        taken += appended.floats;
        said = said.or(appended.first_refusal);
    }
    assert!((1000..20_000).contains(&taken), "{taken}");
    assert!(said.unwrap().starts_with("series take 1 MiB of memory, the limit"));
    // Series that are there already go on.
    let mut batch = Batch::default();
    batch.start_series([("__name__", "bomb"), ("id", "0-0")]);
    batch.push_float(START_MS + 1000, 2.0);
    assert_eq!(store.append(&batch).unwrap().floats, 1);
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
    let expected = "0: 60 0..59000\n";
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
        0: 40 0..195000
        1: 5 0..195000
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
    let samples: usize = held.split(' ').nth(1).unwrap().parse().unwrap();
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

#[test]
fn a_clock_that_jumps_drops_nothing() {
    let disk = MemoryDisk::new();
    let clock =
        std::sync::Arc::new(coracle_clock::ManualClock::new(jiff::Timestamp::from_millisecond(START_MS).unwrap()));
    let options = Options { retention_ms: Some(600_000), ..options() };
    let store = Store::open_on(std::sync::Arc::new(disk), options, clock.clone()).unwrap();
    append(&store, 1, START_MS);
    clock.advance(jiff::SignedDuration::from_hours(24 * 365));
    store.maintain().unwrap();
    append(&store, 1, START_MS + 5000);
    clock.advance(jiff::SignedDuration::from_hours(-24 * 730));
    assert_eq!(append(&store, 1, START_MS + 10_000).refused.too_new, 1);
    store.maintain().unwrap();
    assert_eq!(everything(&store), "0: 2 0..5000\n");
}
