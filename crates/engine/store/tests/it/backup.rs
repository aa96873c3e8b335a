//! Backup while writes go on, restore into an empty directory and to a point, sealing, compaction of a real log.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use coracle_clock::ManualClock;
use coracle_store::{
    Backup, BackupError, Contents, Expect, OpenError, Options, REVISION_LEAP, Restore, Sealer, Store, Until, WatchError,
};
use jiff::SignedDuration;
use parking_lot::Mutex;

use crate::put;

/// A file in memory.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn backup(store: &Store) -> (Backup, Vec<u8>) {
    let file = Bytes::default();
    let made = store.backup(file.clone(), vec![("key".to_owned(), b"of others".to_vec())]).await.unwrap();
    let bytes = file.0.lock().clone();
    assert_eq!(made.bytes, bytes.len() as u64);
    (made, bytes)
}

fn restore(bytes: &[u8], to: &Path, restore: &Restore) -> Result<Backup, BackupError> {
    Contents::read(bytes)?.restore(to, restore)
}

fn all(snapshot: &coracle_store::Snapshot) -> Vec<String> {
    snapshot.list("").map(|record| format!("{record:?}")).collect()
}

#[tokio::test]
async fn a_backup_made_under_load_restores_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { compact_after_bytes: 40_000, reserve_bytes: 5_000, ..Options::default() };
    let store = Store::open(&home.path().join("store"), options).unwrap();
    for number in 0..300 {
        store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap();
    }
    let writer = store.clone();
    let load = coracle_tasks::spawn("load", async move {
        for _ in 0..400 {
            writer.commit(vec![put("/core/pods/shop/0", Expect::Any)]).await.unwrap();
        }
    });
    for round in 0..8 {
        let (made, bytes) = backup(&store).await;
        let contents = Contents::read(bytes.as_slice()).unwrap();
        assert_eq!(contents.more, [("key".to_owned(), b"of others".to_vec())]);
        let target = home.path().join(format!("restored-{round}"));
        let restored = contents.restore(&target, &Restore::default()).unwrap();
        assert_eq!((restored.revision, restored.objects), (made.revision + REVISION_LEAP, 300));
        let fresh = Store::open(&target, Options::default()).unwrap();
        // Whole, and of one moment between the question and the answer.
        let newest = fresh.snapshot().list("").map(|record| record.revision()).max().unwrap();
        let then = store.snapshot_at("/core/pods/", newest).unwrap();
        assert_eq!(all(&fresh.snapshot()), all(&then));
        assert!(matches!(fresh.watch("/core/pods/", store.revision()).err(), Some(WatchError::Compacted(_))));
        let again = restore(&bytes, &target, &Restore::default());
        assert!(matches!(again, Err(BackupError::Read(OpenError::Disk(_)))), "in use");
        fresh.close().await;
        assert!(matches!(restore(&bytes, &target, &Restore::default()), Err(BackupError::Occupied(_))));
    }
    load.await.unwrap();
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::in_memory();
    for number in 0..20 {
        store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap();
    }
    let (_, bytes) = backup(&store).await;
    let target = home.path().join("restored");
    let refused = |bytes: &[u8]| {
        let refused = restore(bytes, &target, &Restore::default());
        assert!(matches!(refused, Err(BackupError::Damaged(_))), "{:?}", refused.err());
        assert!(!target.exists());
    };
    for cut in [0, 5, 30, bytes.len() / 2, bytes.len() - 1] {
        refused(&bytes[..cut]);
    }
    for at in (0..bytes.len()).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        refused(&flipped);
    }
}

#[tokio::test]
async fn a_restore_goes_back_to_a_revision_or_a_moment() {
    let home = tempfile::tempdir().unwrap();
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let options = Options { clock: Some(Arc::new(clock.clone())), ..Options::default() };
    let store = Store::open(&home.path().join("store"), options.clone()).unwrap();
    let mut states = Vec::new();
    for number in 0..5 {
        store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap();
        states.push((store.revision(), all(&store.snapshot())));
        clock.advance(SignedDuration::from_mins(1));
    }
    let (_, bytes) = backup(&store).await;
    let mut count = 0;
    let mut check = |until: Until, expected: Option<usize>| {
        count += 1;
        let target = home.path().join(format!("restored-{count}"));
        let outcome = restore(&bytes, &target, &Restore { options: options.clone(), until });
        match expected {
            Some(state) => {
                outcome.unwrap();
                let fresh = Store::open(&target, options.clone()).unwrap();
                assert_eq!(all(&fresh.snapshot()), states[state].1, "{until:?}");
            }
            None => assert!(matches!(outcome, Err(BackupError::OutOfReach(_))), "{until:?}"),
        }
    };
    for (state, (revision, _)) in states.iter().enumerate() {
        check(Until { revision: Some(*revision), unix_ms: None }, Some(state));
    }
    let start_ms = 1_767_225_600_000;
    check(Until { revision: None, unix_ms: Some(start_ms + 150_000) }, Some(2));
    check(Until { revision: None, unix_ms: Some(start_ms + 3_600_000) }, Some(4));
    check(Until { revision: Some(1_000_000), unix_ms: None }, None);
    check(Until { revision: Some(0), unix_ms: None }, None);
    // A compaction is where history begins.
    store.rewrite().await.unwrap();
    let (_, bytes) = backup(&store).await;
    let early = Restore { options, until: Until { revision: None, unix_ms: Some(start_ms) } };
    assert!(matches!(restore(&bytes, &home.path().join("early"), &early), Err(BackupError::OutOfReach(_))));
}

/// Turns letters into others: enough to see what goes to disk.
#[derive(Debug)]
struct Shift(u8);

impl Sealer for Shift {
    fn seal(&self, key: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let sealed = plain.iter().map(|byte| byte.wrapping_add(self.0));
        key.starts_with("/core/secrets/").then(|| [self.0].into_iter().chain(sealed).collect())
    }

    fn open(&self, _: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (key, rest) = sealed.split_first().ok_or("nothing")?;
        let known = *key == self.0 || *key == 1;
        known.then(|| rest.iter().map(|byte| byte.wrapping_sub(*key)).collect()).ok_or_else(|| format!("no key {key}"))
    }
}

#[tokio::test]
async fn what_is_sealed_never_stands_on_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("store");
    let with = |key: u8| Options { sealer: Some(Arc::new(Shift(key))), ..Options::default() };
    let holds = |word: &str| {
        let files = std::fs::read_dir(&directory).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|content| content.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    let store = Store::open(&directory, with(1)).unwrap();
    let write = async |store: &Store, key: &str, text: &str| {
        let value = coracle_store::Value::plain(text);
        let meta = coracle_store::Meta { labels: vec![("label".into(), text.into())], ..Default::default() };
        store.commit(vec![coracle_store::Change::create(key, meta, value)]).await.unwrap();
    };
    write(&store, "/core/secrets/shop/a", "hush").await;
    write(&store, "/core/configmaps/shop/a", "loud").await;
    assert!(holds("loud") && !holds("hush"));
    store.rewrite().await.unwrap();
    assert!(holds("loud") && !holds("hush"));
    store.close().await;
    // A new key: what was written with the old one is still read, and then written anew.
    let store = Store::open(&directory, with(2)).unwrap();
    assert_eq!(store.get("/core/secrets/shop/a").unwrap().value_bytes(), b"hush");
    assert_eq!(store.get("/core/secrets/shop/a").unwrap().label("label"), Some("hush"));
    assert!(holds("ivti") && !holds("jwuj"));
    store.rewrite().await.unwrap();
    assert!(!holds("ivti") && holds("jwuj"));
    let (_, bytes) = backup(&store).await;
    assert!(!bytes.windows(4).any(|window| window == b"hush"));
    store.close().await;
    for options in [Options::default(), with(3)] {
        let refused = Store::open(&directory, options.clone()).err().unwrap();
        assert!(matches!(refused, OpenError::Sealed { .. }), "{refused}");
        let restore = restore(&bytes, &home.path().join("other"), &Restore { options, until: Until::default() });
        assert!(matches!(restore, Err(BackupError::Read(OpenError::Sealed { .. }))));
    }
}

#[tokio::test]
async fn the_log_does_not_grow_without_end() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { compact_after_bytes: 100_000, reserve_bytes: 10_000, ..Options::default() };
    let store = Store::open(home.path(), options.clone()).unwrap();
    let size = || -> u64 {
        let files = std::fs::read_dir(home.path()).unwrap();
        // A file may go between being listed and being asked.
        files.filter_map(|file| file.unwrap().metadata().ok()).map(|file| file.len()).sum()
    };
    for _ in 0..3000 {
        store.commit(vec![put("/core/pods/shop/a", Expect::Any)]).await.unwrap();
    }
    let revision = store.revision();
    store.close().await;
    let store = Store::open(home.path(), options).unwrap();
    assert_eq!(store.revision(), revision);
    assert!(size() < 300_000, "{} bytes for one object", size());
}
