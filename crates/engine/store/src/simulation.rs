//! The store on a disk that crashes, fails and runs full, thousands of times, checked against what was acknowledged.
//! Everything follows from a seed: a seed that fails is a test case.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::oneshot;

use crate::{
    change::{Change, CommitError, Committed, Expect, Value},
    disk::{Crash, Fault, MemoryDisk},
    open,
    record::Meta,
    snapshot::Snapshot,
    store::{Options, Shared},
    watch::{EventKind, WatchError, Watcher},
    writer::{Pending, Writer},
};

const TOPIC: &str = "/apps/deployments/";
const LIVES: usize = 8;

/// Objects as the clients know them: the revision each key was written at.
type Objects = BTreeMap<String, u64>;
/// One change as the clients know it: its revision, and whether the object is there after it.
type Step = (u64, String, bool);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What clients were told.
#[derive(Default)]
struct Told {
    objects: Objects,
    changes: Vec<Step>,
    revisions: BTreeSet<u64>,
    /// States that a reader may still ask for, by revision.
    states: BTreeMap<u64, Objects>,
    /// Groups that failed since the last one that did not: at most one of them may be found on disk after a crash.
    in_doubt: Vec<Vec<Intent>>,
    compacted: u64,
}

/// What a commit would do to a key: write it, or remove it.
type Intent = (String, bool);

impl Told {
    fn tell(&mut self, revision: u64, key: &str, present: bool) {
        assert!(self.revisions.insert(revision), "revision {revision} was used twice");
        assert_eq!(self.revisions.last(), Some(&revision), "revision {revision} goes back");
        match present {
            true => self.objects.insert(key.to_owned(), revision),
            false => self.objects.remove(key),
        };
        self.changes.push((revision, key.to_owned(), present));
    }
}

struct Life {
    shared: Arc<Shared>,
    writer: Writer,
    watcher: Watcher,
    /// The place in `Told::changes` the watcher has come to.
    watched: usize,
}

fn objects(snapshot: &Snapshot) -> Objects {
    let check = |record: &crate::Record| {
        let value = format!("{{\"revision\":{}}}", record.revision());
        assert_eq!(record.value_bytes(), value.as_bytes(), "the revision stands in the value");
        assert_eq!(record.label("key"), Some(record.key()), "labels are kept");
    };
    snapshot
        .list("")
        .inspect(|record| check(record))
        .map(|record| (record.key().to_owned(), record.revision()))
        .collect()
}

impl Life {
    /// Opens the store and checks that it shows what was acknowledged, and nothing that was not asked for.
    fn begin(disk: &MemoryDisk, told: &mut Told, random: &mut Random) -> Self {
        let options = Options {
            history_events: 40,
            history_bytes: 1 << 20,
            compact_after_bytes: 2000 + random.below(6000),
            reserve_bytes: random.below(3000),
            ..Options::default()
        };
        let (shared, writer) = open::open(Arc::new(disk.clone()), &options).expect("a crash leaves the log readable");
        let present = Snapshot(shared.present.load_full());
        resolve_doubt(told, &present);
        assert_eq!(objects(&present), told.objects, "what was acknowledged is there");
        told.states = BTreeMap::from([(present.revision(), told.objects.clone())]);
        let watcher = shared.topics.watch(TOPIC, present.revision()).expect("the present can be watched");
        let watched = told.changes.len();
        check_resume(&shared, told, random);
        Self { shared, writer, watcher, watched }
    }

    fn commit(&mut self, told: &mut Told, random: &mut Random) -> bool {
        let mut intents: Vec<Vec<Intent>> = Vec::new();
        let mut answers = Vec::new();
        let mut group = Vec::new();
        let mut keys = told.objects.clone();
        for _ in 0..=random.below(4) {
            let mut touched = BTreeSet::new();
            let mut commit = Vec::new();
            let mut changes = Vec::new();
            for _ in 0..=random.below(3) {
                let key = format!("{TOPIC}shop/{}", random.below(30));
                if !touched.insert(key.clone()) {
                    continue;
                }
                let (change, present) = self.change(&key, keys.get(&key).copied(), random);
                changes.push(change);
                commit.push((key, present));
            }
            for (key, present) in &commit {
                match present {
                    // Revisions are not known before the answer; a conflict in the group is as good a test.
                    true => keys.insert(key.clone(), 0),
                    false => keys.remove(key),
                };
            }
            let (reply, answer) = oneshot::channel();
            group.push(Pending { changes, reply });
            intents.push(commit);
            answers.push(answer);
        }
        self.writer.commit_group(group);
        let answers = answers.into_iter().map(|mut answer| answer.try_recv().expect("every commit is answered"));
        note(told, intents, answers.collect())
    }

    fn change(&self, key: &str, known: Option<u64>, random: &mut Random) -> (Change, bool) {
        let meta = Meta { labels: vec![("key".to_owned(), key.to_owned())], ..Meta::default() };
        let value = Value::spliced("{\"revision\":", "}");
        let expect = match (random.below(8), known) {
            (0, _) => Expect::Absent,
            (1, _) => Expect::Revision(random.below(200)),
            (2..=4, Some(revision)) if revision > 0 => Expect::Revision(revision),
            _ => Expect::Any,
        };
        match random.below(4) {
            0 if expect != Expect::Absent => (Change::delete(key, expect, Some(value)), false),
            _ => (Change::put(key, expect, meta, value), true),
        }
    }

    /// The watcher sees each change once, in order, and a rewound snapshot is what readers saw then.
    fn check_readers(&mut self, told: &Told, random: &mut Random) {
        if random.below(3) > 0 {
            return;
        }
        let present = Snapshot(self.shared.present.load_full());
        assert_eq!(objects(&present), told.objects);
        match self.watcher.pending() {
            Ok(events) => {
                for event in events {
                    let seen = (event.revision(), event.record.key().to_owned(), event.kind != EventKind::Deleted);
                    assert_eq!(seen, told.changes[self.watched]);
                    self.watched += 1;
                }
            }
            Err(compacted) => {
                assert!(told.changes.len() - self.watched > 40, "{compacted} though there is room");
                self.watcher = self.shared.topics.watch(TOPIC, present.revision()).expect("the present can be watched");
                self.watched = told.changes.len();
            }
        }
        let place = random.below(told.states.len() as u64) as usize;
        let (revision, state) = told.states.iter().nth(place).expect("the place is below the length");
        if let Ok(then) = self.shared.topics.rewind(TOPIC, *revision) {
            assert_eq!(objects(&then), *state, "as it was at {revision}");
        } else {
            assert!(told.changes.iter().filter(|(changed, ..)| changed > revision).count() > 40);
        }
    }

    fn compact(&mut self, told: &mut Told) {
        if let Some(compaction) = self.writer.compaction_due() {
            let revision = self.shared.present.load().revision;
            let outcome = compaction.run();
            // Even one that failed may have come as far as to put the snapshot in place.
            told.compacted = revision;
            self.writer.compaction_done(outcome);
        }
    }
}

/// Takes note of the answers to a group; says whether the disk worked.
fn note(told: &mut Told, intents: Vec<Vec<Intent>>, answers: Vec<Result<Committed, CommitError>>) -> bool {
    let failed =
        answers.iter().any(|answer| matches!(answer, Err(CommitError::Full { .. } | CommitError::Disk { .. })));
    if failed {
        assert!(answers.iter().all(Result::is_err), "a group fails as a whole");
        told.in_doubt.push(intents.into_iter().flatten().collect());
        return false;
    }
    let mut wrote = false;
    for (commit, answer) in intents.iter().zip(answers) {
        match answer {
            Ok(committed) => {
                for ((key, present), record) in commit.iter().zip(&committed.records) {
                    let record = record.as_ref().expect("writes have records");
                    told.tell(record.revision(), key, *present);
                    wrote = true;
                }
            }
            Err(CommitError::Conflict(conflict)) => {
                let known = told.objects.get(&conflict.key).copied();
                assert_eq!(conflict.current.map(|current| current.revision()), known);
            }
            Err(other) => panic!("unexpected: {other}"),
        }
    }
    if wrote {
        told.in_doubt.clear();
        let revision = *told.revisions.last().expect("something was written");
        if revision.is_multiple_of(4) {
            told.states.insert(revision, told.objects.clone());
        }
    }
    true
}

/// A group that was answered with a disk error may have come through all the same, as a whole, once the machine crashed.
fn resolve_doubt(told: &mut Told, present: &Snapshot) {
    let found = objects(present);
    let in_doubt = std::mem::take(&mut told.in_doubt);
    if found == told.objects {
        return;
    }
    let last = told.revisions.last().copied().unwrap_or(1);
    assert!(!in_doubt.is_empty(), "nothing is in doubt, yet the store differs");
    let touched: BTreeSet<&String> = in_doubt.iter().flatten().map(|(key, _)| key).collect();
    for key in found.keys().chain(told.objects.keys()) {
        assert!(found.get(key) == told.objects.get(key) || touched.contains(key), "{key} changed by itself");
    }
    for revision in found.values().filter(|revision| **revision > last) {
        told.revisions.insert(*revision);
    }
    told.revisions.insert(present.revision());
    told.objects = found;
    // Nobody was told these changes, so what watchers will see of them is not known here.
    told.changes.clear();
    told.compacted = present.revision();
}

/// A watcher that resumes after a restart sees what came after, or is told to list again.
fn check_resume(shared: &Arc<Shared>, told: &Told, random: &mut Random) {
    if told.changes.is_empty() {
        return;
    }
    let place = random.below(told.changes.len() as u64) as usize;
    let after = told.changes[place].0;
    let mut watcher = match shared.topics.watch(TOPIC, after) {
        Ok(watcher) => watcher,
        Err(WatchError::Compacted(_)) => {
            let missed = told.changes.len() - place - 1;
            assert!(after < told.compacted || missed >= 40, "{missed} changes were forgotten without a compaction");
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let mut seen = Vec::new();
    loop {
        let events = watcher.pending().expect("the history was there a moment ago");
        if events.is_empty() {
            break;
        }
        let known = |event: &Arc<crate::Event>| {
            (event.revision(), event.record.key().to_owned(), event.kind != EventKind::Deleted)
        };
        seen.extend(events.iter().map(known));
    }
    assert_eq!(seen, told.changes[place + 1..]);
}

fn simulate(seed: u64) -> usize {
    let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let disk = MemoryDisk::new();
    let mut told = Told::default();
    for _ in 0..LIVES {
        disk.lift_faults();
        let mut life = Life::begin(&disk, &mut told, random);
        for _ in 0..random.below(40) {
            match random.below(25) {
                0 => disk.fault(Fault::FailAfter(random.below(12))),
                1 => disk.fault(Fault::FullAt(random.below(20_000))),
                2..=4 => disk.lift_faults(),
                _ => {}
            }
            life.commit(&mut told, random);
            life.check_readers(&told, random);
            life.compact(&mut told);
        }
        disk.crash(Crash { seed: random.below(u64::MAX) });
    }
    LIVES
}

#[test]
fn nothing_acknowledged_is_lost_over_thousands_of_crashes() {
    let crashes: usize = (1..=260).map(simulate).sum();
    assert!(crashes >= 2000, "only {crashes} crashes");
}
