//! Backup while writes go on, restore into an empty directory, compaction of a real log.

use coracle_store::{BackupError, Expect, OpenError, Options, REVISION_LEAP, Store, WatchError};

use crate::put;

#[tokio::test]
async fn a_backup_made_under_load_restores_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store"), Options::default()).unwrap();
    for number in 0..500 {
        store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap();
    }
    let file = home.path().join("backup");
    let writer = store.clone();
    let load = coracle_tasks::spawn("load", async move {
        for _ in 0..200 {
            writer.commit(vec![put("/core/pods/shop/0", Expect::Any)]).await.unwrap();
        }
    });
    let backup = store.backup(&file).await.unwrap();
    load.await.unwrap();
    assert_eq!(backup.objects, 500);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), backup.bytes);

    let target = home.path().join("restored");
    let restored = coracle_store::restore(&file, &target).unwrap();
    assert_eq!(restored.revision, backup.revision + REVISION_LEAP);
    let fresh = Store::open(&target, Options::default()).unwrap();
    let then = store.snapshot_at("/core/pods/", backup.revision).unwrap();
    let all =
        |snapshot: &coracle_store::Snapshot| snapshot.list("").map(|record| format!("{record:?}")).collect::<Vec<_>>();
    assert_eq!(all(&fresh.snapshot()), all(&then));
    assert_eq!(fresh.get("/core/pods/shop/7").unwrap().meta(), store.get("/core/pods/shop/7").unwrap().meta());
    assert!(matches!(fresh.watch("/core/pods/", store.revision()).err(), Some(WatchError::Compacted(_))));
    assert!(matches!(coracle_store::restore(&file, &target), Err(BackupError::Read(OpenError::Disk(_)))), "in use");
    fresh.close().await;
    assert!(matches!(coracle_store::restore(&file, &target), Err(BackupError::Occupied(_))));
}

#[tokio::test]
async fn half_a_backup_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::in_memory();
    for number in 0..50 {
        store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap();
    }
    let file = home.path().join("backup");
    let backup = store.backup(&file).await.unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(backup.bytes / 2).unwrap();
    let error = coracle_store::restore(&file, &home.path().join("restored"));
    assert!(matches!(error, Err(BackupError::Read(OpenError::Damaged { .. }))));
    assert!(!home.path().join("restored").exists());
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
