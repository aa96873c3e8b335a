//! A store on a disk that loses what was not synced, fails and runs full: what was synced is there, and nothing that was
//! never written. Everything follows from a seed: a seed that fails is a test case.

use std::{collections::BTreeSet, sync::Arc};

use coracle_disk::{Crash, Fault, MemoryDisk};
use coracle_metrics::{Options, Store};

use crate::{START_MS, all, clock, options, samples, try_append};

const SEEDS: u64 = 40;
const LIVES: usize = 6;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

type Samples = BTreeSet<(u64, i64)>;

/// What was told to those who wrote.
#[derive(Default)]
struct Told {
    synced: Samples,
    taken: Samples,
    time_ms: i64,
}

fn held(store: &Store) -> Samples {
    let series = samples(store, &all()).unwrap();
    series.into_iter().flat_map(|(number, times)| times.into_iter().map(move |time_ms| (number, time_ms))).collect()
}

fn live(disk: &MemoryDisk, told: &mut Told, random: &mut Random, options: &Options, seed: u64) {
    let store = Store::open_on(Arc::new(disk.clone()), options.clone(), clock()).unwrap();
    let found = held(&store);
    let lost: Vec<_> = told.synced.difference(&found).collect();
    assert!(lost.is_empty(), "seed {seed}: synced samples are gone: {lost:?}; {:?}", store.complaints());
    let invented: Vec<_> = found.difference(&told.taken).collect();
    assert!(invented.is_empty(), "seed {seed}: samples nobody wrote: {invented:?}");
    // What survived a crash is durable now.
    told.synced.clone_from(&found);
    told.taken = found;
    for _ in 0..random.below(60) {
        step(&store, disk, told, random);
    }
    disk.lift_faults();
    assert_eq!(held(&store), told.taken, "seed {seed}");
}

fn step(store: &Store, disk: &MemoryDisk, told: &mut Told, random: &mut Random) {
    match random.below(20) {
        0 => disk.fault(Fault::FailAfter(random.below(30))),
        1 => disk.fault(Fault::FullAt(random.below(60_000))),
        2 | 3 => disk.lift_faults(),
        4 | 5 => {
            if store.sync().is_ok() {
                told.synced.clone_from(&told.taken);
            }
        }
        6 => drop(store.maintain()),
        7 if random.below(4) == 0 => drop(store.flush_all()),
        _ => {
            told.time_ms += (random.below(4) * 1000) as i64;
            let late = random.below(5) == 0;
            let time_ms = START_MS + told.time_ms - if late { random.below(90_000) as i64 } else { 0 };
            let numbers: Vec<u64> = (0..12).filter(|_| random.below(3) > 0).collect();
            if let Ok(appended) = try_append(store, numbers.iter().copied(), time_ms) {
                if appended.refused.total() == 0 {
                    told.taken.extend(numbers.into_iter().map(|number| (number, time_ms)));
                } else {
                    // Late ones before everything that may still come in, but for those that are there already.
                    assert_eq!(appended.refused.total(), appended.refused.too_old);
                }
            }
        }
    }
}

#[test]
fn what_was_synced_survives_every_crash() {
    let options = Options { out_of_order_window_ms: 80_000, wal_bytes: 4000, retention_ms: None, ..options() };
    for seed in 1..=SEEDS {
        let disk = MemoryDisk::new();
        let mut random = Random(seed * 0x9e37_79b9);
        let mut told = Told::default();
        for _ in 0..LIVES {
            live(&disk, &mut told, &mut random, &options, seed);
            disk.crash(Crash { seed: random.below(u64::MAX) });
        }
    }
}
