//! A disk that fails in the middle of anything and forgets what was not synced, thousands of times: what was
//! acknowledged is there, once, and nothing is there that nobody pushed.

use std::{collections::BTreeSet, sync::Arc};

use coracle_disk::{Crash, Disk, Fault, MemoryDisk};
use coracle_logs::{Options, Store};

use crate::{clock, lines, small, stream};

const SEEDS: u64 = 150;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn open(disk: &MemoryDisk) -> Result<Store, String> {
    Store::open_on(Arc::new(disk.clone()), Options { threads: 1, ..small() }, Arc::new(clock()))
        .map_err(|e| e.to_string())
}

/// One life: pushes until something fails or it is over; says what was acknowledged.
async fn live(
    disk: &MemoryDisk,
    random: &mut Random,
    known: &mut BTreeSet<String>,
    maybe: &mut BTreeSet<String>,
    next: &mut u64,
) {
    let Ok(store) = open(disk) else { return };
    for _ in 0..random.below(30) {
        let app = random.below(3);
        let count = 1 + random.below(12);
        let texts: Vec<String> = (0..count)
            .map(|_| {
                *next += 1;
                format!("line {next} of some length {}", "x".repeat(random.below(60) as usize))
            })
            .collect();
        let pairs: Vec<(i64, &str)> = texts.iter().map(|text| (random.below(900) as i64, text.as_str())).collect();
        let pushed = store.push("fake", vec![stream(&format!(r#"{{app="{app}"}}"#), &pairs)]).await;
        if pushed.is_ok() {
            known.extend(texts)
        } else {
            maybe.extend(texts)
        }
        if random.below(12) == 0 {
            drop(store.flush().await);
        }
    }
    store.close().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_comes_twice() {
    let mut segments = 0;
    for seed in 0..SEEDS {
        let (disk, mut random) = (MemoryDisk::new(), Random(seed));
        let (mut known, mut maybe, mut next) = (BTreeSet::new(), BTreeSet::new(), 0);
        for life in 0..3 {
            if random.below(3) > 0 {
                disk.fault(Fault::FailAfter(random.below(60)));
            }
            live(&disk, &mut random, &mut known, &mut maybe, &mut next).await;
            disk.crash(Crash { seed: seed * 10 + life });
            disk.lift_faults();
            let store = open(&disk).unwrap();
            assert!(store.damage().is_empty(), "seed {seed}: {:?}", store.damage());
            let found: Vec<String> = lines(&store, r#"{app=~".+"}"#).into_iter().map(|(_, _, line)| line).collect();
            let set: BTreeSet<String> = found.iter().cloned().collect();
            assert_eq!(set.len(), found.len(), "seed {seed}: a line is there twice");
            let missing: Vec<&String> = known.difference(&set).collect();
            assert!(
                missing.is_empty(),
                "seed {seed} life {life}: {} of {} lost: {missing:?}",
                missing.len(),
                known.len()
            );
            let invented: Vec<&String> =
                set.iter().filter(|line| !known.contains(*line) && !maybe.contains(*line)).collect();
            assert!(invented.is_empty(), "seed {seed}: {invented:?}");
            // What is there now must stay.
            known = set;
            store.close().await;
        }
        segments += disk.list().unwrap().iter().filter(|name| name.starts_with("segment")).count();
    }
    assert!(segments > 100, "only {segments} segments were written");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = MemoryDisk::new();
    let store = open(&disk).unwrap();
    store.push("fake", vec![stream(r#"{app="a"}"#, &[(1, "before")])]).await.unwrap();
    disk.fault(Fault::FullAt(6000));
    let mut refused = 0;
    for number in 0..60 {
        let text = format!("number {number} {}", "y".repeat(200));
        if store.push("fake", vec![stream(r#"{app="b"}"#, &[(number, &text)])]).await.is_err() {
            refused += 1;
        }
    }
    assert!(refused > 0);
    let held = lines(&store, r#"{app=~".+"}"#).len();
    assert_eq!(held, 61 - refused, "what was refused is not there, what was taken is");
    disk.lift_faults();
    store.push("fake", vec![stream(r#"{app="a"}"#, &[(99, "after")])]).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(lines(&store, r#"{app=~".+"}"#).len(), held + 1);
    store.close().await;
    let store = open(&disk).unwrap();
    assert_eq!(lines(&store, r#"{app=~".+"}"#).len(), held + 1);
    store.close().await;
}

#[tokio::test]
async fn damage_is_told_and_the_rest_is_read() {
    for seed in 0..100 {
        let (disk, mut random) = (MemoryDisk::new(), Random(seed));
        let store = open(&disk).unwrap();
        let mut pushed = BTreeSet::new();
        for number in 0..120 {
            let text = format!("entry {number} {}", "z".repeat(40));
            store.push("fake", vec![stream(r#"{app="a"}"#, &[(number, &text)])]).await.unwrap();
            pushed.insert(text);
        }
        store.close().await;
        let names: Vec<String> = disk.list().unwrap();
        let name = &names[random.below(names.len() as u64) as usize];
        let size = disk.content(name).unwrap().len();
        if size == 0 {
            continue;
        }
        disk.flip_bit(name, random.below(size as u64) as usize);
        let store = open(&disk).unwrap();
        let found: BTreeSet<String> = lines(&store, r#"{app="a"}"#).into_iter().map(|(_, _, line)| line).collect();
        assert!(found.is_subset(&pushed), "seed {seed}: a wrong line");
        // The index of words is read only by those who look for words.
        let lost = pushed.len() - found.len();
        assert!(
            lost == 0 || !store.damage().is_empty() || name.starts_with("journal"),
            "seed {seed}: {lost} lost from {name}, untold"
        );
        let needle = coracle_logql::syntax::parse(r#"{app="a"} |= "entry 7 ""#).unwrap();
        let query = coracle_logql::Query {
            expr: needle,
            start: 0,
            end: i64::MAX,
            step: 0,
            interval: 0,
            limit: 10,
            direction: coracle_logql::Direction::Forward,
            now: 0,
        };
        let answer = coracle_logql::evaluate(&query, &coracle_logql::Limits::default(), &store.tenant("fake")).unwrap();
        let coracle_logql::Answer::Streams(streams) = answer else { panic!("lines") };
        let here = found.iter().filter(|line| line.contains("entry 7 ")).count();
        assert_eq!(streams.iter().map(|stream| stream.entries.len()).sum::<usize>(), here, "seed {seed}: {name}");
        store.close().await;
    }
}
