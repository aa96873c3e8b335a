//! Pushing, reading, retention, limits.

use std::{sync::Arc, time::Duration};

use coracle_clock::ManualClock;
use coracle_disk::{Disk, MemoryDisk};
use coracle_logql::{
    Answer, Direction, Query, evaluate,
    syntax::{parse, parse_selector},
};
use coracle_logs::{Entry, Limits, Options, Retention, RetentionRule, Store, Stream, TenantLimits};
use expect_test::expect;

use crate::{SECOND, clock, lines, small, stream, texts};

fn on(disk: &MemoryDisk, options: Options, clock: &ManualClock) -> Store {
    Store::open_on(Arc::new(disk.clone()), options, Arc::new(clock.clone())).unwrap()
}

fn query(store: &Store, text: &str, limit: usize) -> Vec<String> {
    let query = Query {
        expr: parse(text).unwrap(),
        start: 0,
        end: 2000 * SECOND,
        step: 0,
        interval: 0,
        limit,
        direction: Direction::Backward,
        now: 0,
    };
    let Answer::Streams(streams) = evaluate(&query, &coracle_logql::Limits::default(), &store.tenant("fake")).unwrap()
    else {
        panic!("lines")
    };
    let mut entries: Vec<_> = streams.into_iter().flat_map(|stream| stream.entries).collect();
    entries.sort_by_key(|entry| -entry.ts);
    entries.into_iter().map(|entry| entry.line).collect()
}

#[tokio::test]
async fn lines_are_found_in_memory_in_segments_and_after_a_restart() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    store.push("fake", vec![stream(r#"{app="a"}"#, &[(3, "three"), (1, "one")])]).await.unwrap();
    store.flush().await.unwrap();
    // Out of order, over segments too.
    store
        .push("fake", vec![stream(r#"{app="a"}"#, &[(2, "two"), (4, "four")]), stream(r#"{app="b"}"#, &[(1, "other")])])
        .await
        .unwrap();
    assert_eq!(texts(&store, r#"{app="a"}"#), ["one", "two", "three", "four"]);
    assert_eq!(query(&store, r#"{app="a"} |= "t""#, 1), ["three"]);
    store.close().await;
    let store = on(&disk, small(), &clock);
    assert_eq!(texts(&store, r#"{app="a"}"#), ["one", "two", "three", "four"]);
    assert_eq!(texts(&store, r#"{app="b"}"#), ["other"]);
    store.close().await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    store.push("one", vec![stream(r#"{app="a"}"#, &[(1, "mine")])]).await.unwrap();
    assert!(lines(&store, r#"{app="a"}"#).is_empty());
    assert_eq!(store.tenant("one").statistics(&[], (0, i64::MAX)).unwrap().entries, 1);
    store.close().await;
}

#[tokio::test]
async fn a_line_that_comes_twice_is_kept_once() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    for _ in 0..2 {
        store.push("fake", vec![stream(r#"{app="a"}"#, &[(1, "same"), (1, "other"), (2, "same")])]).await.unwrap();
    }
    assert_eq!(lines(&store, r#"{app="a"}"#).len(), 3);
    store.close().await;
}

#[tokio::test]
async fn a_line_that_comes_again_after_its_first_copy_is_in_a_segment_is_given_once() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    let count = |store: &Store| {
        let text = r#"sum by (app) (count_over_time({app=~".+"}[1000s]))"#;
        let query = Query {
            expr: parse(text).unwrap(),
            start: 500 * SECOND,
            end: 500 * SECOND,
            step: 0,
            interval: 0,
            limit: 0,
            direction: Direction::Forward,
            now: 0,
        };
        match evaluate(&query, &coracle_logql::Limits::default(), &store.tenant("fake")).unwrap() {
            Answer::Vector(samples) => samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let twins = [
        stream(r#"{app="a"}"#, &[(1, "one"), (3, "three"), (3, "same moment")]),
        stream(r#"{app="b"}"#, &[(3, "three")]),
    ];
    let mut other = twins.clone();
    other[0].entries.insert(1, stream("{}", &[(2, "two")]).entries[0].clone());
    other[1].entries[0].metadata = Arc::new([("trace".to_owned(), "another line".to_owned())]);
    for round in 0..3 {
        store.push("fake", twins.to_vec()).await.unwrap();
        store.push("fake", other.to_vec()).await.unwrap();
        assert_eq!(texts(&store, r#"{app="a"}"#), ["one", "two", "same moment", "three"], "round {round}");
        assert_eq!(count(&store), [4.0, 2.0]);
        assert_eq!(query(&store, r#"{app="a"} |= "three""#, 9), ["three"]);
        store.flush().await.unwrap();
        assert_eq!(count(&store), [4.0, 2.0]);
        assert_eq!(query(&store, r#"{app=~".+"} |= "three""#, 9).len(), 3);
    }
    store.close().await;
}

#[tokio::test]
async fn structured_metadata_and_odd_lines_come_back() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    let metadata: Arc<[(String, String)]> = Arc::new([("trace".to_owned(), "t1".to_owned())]);
    let odd = ["", "two\nlines\n", "é\u{1f980}", "\u{0}"];
    let entries =
        odd.iter().zip(1..).map(|(line, at)| Entry { ts: at, line: (*line).to_owned(), metadata: metadata.clone() });
    let labels = coracle_logql::Labels::parse(r#"{app="a"}"#).unwrap();
    store.push("fake", vec![Stream { labels, entries: entries.collect() }]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(texts(&store, r#"{app="a"}"#), odd);
        assert_eq!(query(&store, r#"{app="a"} | trace="t1" |= "lines""#, 9), ["two\nlines\n"]);
        store.flush().await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn words_are_found_without_reading_the_rest() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, Options { head_bytes: 1 << 20, ..small() }, &clock);
    for part in 0..40_i64 {
        let texts: Vec<String> =
            (0..50).map(|n| format!("common text {} {:x}", part * 50 + n, (part * 50 + n) * 7_777_777)).collect();
        let pairs: Vec<(i64, &str)> =
            texts.iter().zip(0..).map(|(text, n)| (part * 10 + n / 10, text.as_str())).collect();
        store.push("fake", vec![stream(r#"{app="a"}"#, &pairs)]).await.unwrap();
    }
    store.push("fake", vec![stream(r#"{app="a"}"#, &[(500, "a zyzzyva here")])]).await.unwrap();
    store.flush().await.unwrap();
    let tenant = store.tenant("fake");
    let ask = |text: &str| {
        let query = Query {
            expr: parse(text).unwrap(),
            start: 0,
            end: 1000 * SECOND,
            step: 0,
            interval: 0,
            limit: 10,
            direction: Direction::Forward,
            now: 0,
        };
        let before = tenant.reading();
        let Answer::Streams(streams) = evaluate(&query, &coracle_logql::Limits::default(), &tenant).unwrap() else {
            panic!()
        };
        (
            streams.iter().map(|stream| stream.entries.len()).sum::<usize>(),
            tenant.reading().blocks_read - before.blocks_read,
        )
    };
    assert_eq!(ask(r#"{app="a"} |= "zyzzyva""#), (1, 1));
    assert_eq!(ask(r#"{app="a"} |= "nowhere-at-all""#), (0, 0));
    assert_eq!(ask(r#"{app="a"} |~ "zyz+yva|wombat""#), (1, 1));
    let (found, read) = ask(r#"{app="a"} |= "common""#);
    assert!(found == 10 && read > 0, "{found} {read}");
    store.close().await;
}

#[tokio::test]
async fn limits_speak() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let limits = TenantLimits {
        max_line_bytes: 10,
        max_streams: 2,
        max_labels: 2,
        rate_bytes: 100,
        burst_bytes: 100,
        ..TenantLimits::default()
    };
    let options = Options { limits: Limits { default: limits, ..Limits::default() }, ..small() };
    let store = on(&disk, options, &clock);
    let mut told = Vec::new();
    let mut push = async |labels: &str, lines: &[(i64, &str)]| {
        told.push(
            store
                .push("fake", vec![stream(labels, lines)])
                .await
                .map_or_else(|error| error.to_string(), |()| "taken".to_owned()),
        );
    };
    push(r#"{app="a"}"#, &[(1, "short"), (2, "much too long a line")]).await;
    push(r#"{app="a"}"#, &[(2000, "future")]).await;
    push("{}", &[(1, "x")]).await;
    push(r#"{a="1",b="2",c="3"}"#, &[(1, "x")]).await;
    push(r#"{app="b"}"#, &[(1, "x")]).await;
    push(r#"{app="c"}"#, &[(1, "x")]).await;
    for number in 0..11 {
        push(r#"{app="a"}"#, &[(3 + number, "0123456789")]).await;
    }
    expect![[r#"
        max entry size '10' bytes exceeded for stream '{app="a"}' while adding an entry with length '20' bytes
        entry for stream '{app="a"}' has timestamp too new: 1970-01-01T00:33:20Z
        error at least one label pair is required per stream
        entry for stream '{a="1", b="2", c="3"}' has 3 label names; limit 2
        taken
        maximum active stream limit exceeded when trying to create stream {app="c"}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: 'fake'
        taken
        taken
        taken
        taken
        taken
        taken
        taken
        taken
        taken
        ingestion rate limit exceeded for user fake (limit: 100 bytes/sec) while attempting to ingest '1' lines totaling '10' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased
        ingestion rate limit exceeded for user fake (limit: 100 bytes/sec) while attempting to ingest '1' lines totaling '10' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased"#]]
    .assert_eq(&told.join("\n"));
    // What was good in a push that was not is there.
    assert!(texts(&store, r#"{app="a"}"#).contains(&"short".to_owned()));
    store.close().await;
}

#[tokio::test]
async fn streams_are_limited_over_all_time() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let limits = TenantLimits { max_known_streams: 2, ..TenantLimits::default() };
    let options = Options { limits: Limits { default: limits, ..Limits::default() }, ..small() };
    let store = on(&disk, options, &clock);
    for app in ["a", "b"] {
        store.push("fake", vec![stream(&format!(r#"{{app="{app}"}}"#), &[(1, "x")])]).await.unwrap();
        store.flush().await.unwrap();
    }
    let over = vec![stream(r#"{app="c"}"#, &[(1, "x")]), stream(r#"{app="a"}"#, &[(2, "y")])];
    expect!["stream {app=\"c\"} would be one more than the 2 streams whose lines may be kept for user 'fake'; have fewer label values, or keep lines for a shorter time"]
        .assert_eq(&store.push("fake", over).await.unwrap_err().to_string());
    assert_eq!(texts(&store, r#"{app=~".+"}"#), ["x", "x", "y"]);
    store.push("another", vec![stream(r#"{app="c"}"#, &[(1, "x")])]).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn time_that_a_quiet_store_has_seen_pass_counts_for_retention() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let retention = Retention { rules: Vec::new(), default: Some(Duration::from_secs(26 * 3600)) };
    let store = on(&disk, Options { retention, ..small() }, &clock);
    store.push("fake", vec![stream(r#"{app="a"}"#, &[(1000, "a")])]).await.unwrap();
    store.flush().await.unwrap();
    // A jump is not believed; the same time is, when it passes before the store's eyes.
    clock.advance(jiff::SignedDuration::from_hours(27));
    store.retain().unwrap();
    assert_eq!(texts(&store, r#"{app="a"}"#), ["a"]);
    for _ in 0..3 * 60 {
        clock.advance(jiff::SignedDuration::from_mins(1));
        store.retain().unwrap();
    }
    assert!(lines(&store, r#"{app="a"}"#).is_empty());
    store.close().await;
}

#[tokio::test]
async fn retention_goes_by_labels_and_age() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let rule = |selector: &str, seconds| RetentionRule {
        matchers: parse_selector(selector).unwrap(),
        keep: Some(Duration::from_secs(seconds)),
    };
    let retention =
        Retention { rules: vec![rule(r#"{level="debug"}"#, 100)], default: Some(Duration::from_secs(1000)) };
    let store = on(&disk, Options { retention, ..small() }, &clock);
    let segments = |disk: &MemoryDisk| disk.list().unwrap().iter().filter(|name| name.starts_with("segment")).count();
    store
        .push(
            "fake",
            vec![stream(r#"{app="a"}"#, &[(950, "a")]), stream(r#"{level="debug"}"#, &[(950, "d"), (960, "d2")])],
        )
        .await
        .unwrap();
    store.flush().await.unwrap();
    store.retain().unwrap();
    assert_eq!(lines(&store, r#"{level="debug"}"#).len(), 2);
    clock.advance(jiff::SignedDuration::from_secs(200));
    store.retain().unwrap();
    assert!(lines(&store, r#"{level="debug"}"#).is_empty());
    assert_eq!(texts(&store, r#"{app="a"}"#), ["a"]);
    store.retain().unwrap();
    assert_eq!(segments(&disk), 1, "the old generation is gone");
    // A clock that jumps far ahead is not believed, as long as no lines come from there.
    clock.advance(jiff::SignedDuration::from_hours(24 * 365));
    store.push("fake", vec![stream(r#"{app="b"}"#, &[(1000, "b")])]).await.unwrap();
    store.close().await;
    let store = on(&disk, small(), &clock);
    assert_eq!(texts(&store, r#"{app="a"}"#), ["a"]);
    assert!(lines(&store, r#"{level="debug"}"#).is_empty());
    store.close().await;
}

#[tokio::test]
async fn statistics_and_volumes() {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = on(&disk, small(), &clock);
    store
        .push(
            "fake",
            vec![
                stream(r#"{app="a",pod="1"}"#, &[(1, "12345"), (2, "123")]),
                stream(r#"{app="b",pod="2"}"#, &[(1, "1")]),
            ],
        )
        .await
        .unwrap();
    store.flush().await.unwrap();
    store.push("fake", vec![stream(r#"{app="a",pod="1"}"#, &[(3, "12")])]).await.unwrap();
    let tenant = store.tenant("fake");
    let statistics = tenant.statistics(&parse_selector(r#"{app="a"}"#).unwrap(), (0, i64::MAX)).unwrap();
    assert_eq!((statistics.streams, statistics.chunks, statistics.entries, statistics.bytes), (1, 2, 3, 10));
    let volume = tenant.volume(&[], (0, i64::MAX), |labels| vec![labels.keep(|name| name == "app")]).unwrap();
    let volume: Vec<String> = volume.iter().map(|(labels, bytes)| format!("{labels} {bytes}")).collect();
    assert_eq!(volume, [r#"{app="a"} 10"#, r#"{app="b"} 1"#]);
    assert_eq!(tenant.series(&[], (2 * SECOND, i64::MAX)).unwrap().len(), 1);
    store.close().await;
}
