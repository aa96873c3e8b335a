//! What a commit does, refuses, and shows.

use std::{path::Path, sync::Arc};

use coracle_store::{
    Change, CommitError, Expect, OpenError, Options, RevisionError, Store, Value,
    disk::{Fault, MemoryDisk},
};
use expect_test::{Expect as Expected, expect};

use crate::{meta, put, value};

/// The outcome of a commit in a line, and everything in the store after it.
async fn check(store: &Store, changes: Vec<Change>, expected: Expected) {
    let mut text = match store.commit(changes).await {
        Ok(committed) => format!("ok at {}\n", committed.revision),
        Err(error) => format!("error: {error}\n"),
    };
    for record in store.snapshot().list("") {
        text.push_str(&format!("{record:?}\n"));
    }
    expected.assert_eq(&text);
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    let store = Store::in_memory();
    let key = "/core/pods/shop/a";
    check(
        &store,
        vec![put(key, Expect::Absent)],
        expect![[r#"
        ok at 2
        /core/pods/shop/a@2 {"resourceVersion":"2"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![put(key, Expect::Absent)],
        expect![[r#"
        error: /core/pods/shop/a already exists
        /core/pods/shop/a@2 {"resourceVersion":"2"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![put("/core/pods/shop/b", Expect::Any), put(key, Expect::Revision(1))],
        expect![[r#"
        error: /core/pods/shop/a is at revision 2, not at 1
        /core/pods/shop/a@2 {"resourceVersion":"2"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![put("/core/pods/shop/b", Expect::Any), put(key, Expect::Revision(2))],
        expect![[r#"
        ok at 4
        /core/pods/shop/a@4 {"resourceVersion":"4"}
        /core/pods/shop/b@3 {"resourceVersion":"3"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![Change::check(key, Expect::Revision(4)), Change::delete("/core/pods/shop/b", Expect::Any, None)],
        expect![[r#"
        ok at 5
        /core/pods/shop/a@4 {"resourceVersion":"4"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![Change::delete("/core/pods/shop/b", Expect::Any, None)],
        expect![[r#"
        error: /core/pods/shop/b does not exist
        /core/pods/shop/a@4 {"resourceVersion":"4"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![put("pods", Expect::Any)],
        expect![[r#"
        error: change of "pods": the key is not /GROUP/RESOURCE/NAME
        /core/pods/shop/a@4 {"resourceVersion":"4"}
    "#]],
    )
    .await;
    check(
        &store,
        vec![put(key, Expect::Any), put(key, Expect::Any)],
        expect![[r#"
        error: change of "/core/pods/shop/a": the commit writes it twice
        /core/pods/shop/a@4 {"resourceVersion":"4"}
    "#]],
    )
    .await;
}

#[tokio::test]
async fn selectors_find_what_stands_beside_the_value() {
    let store = Store::in_memory();
    let key = "/core/pods/shop/a";
    store.commit(vec![put(key, Expect::Absent)]).await.unwrap();
    let record = store.get(key).unwrap();
    assert_eq!(record.meta(), meta(key));
    assert_eq!(record.uid(), "uid-of-/core/pods/shop/a");
    assert_eq!(record.label("app"), Some("web"));
    assert_eq!(record.label("tier"), Some(""));
    assert_eq!(record.label("zone"), None);
    assert_eq!(record.field("spec.nodeName"), Some("node"));
    assert_eq!(record.owners().collect::<Vec<_>>(), ["owner"]);
}

#[tokio::test]
async fn lists_come_in_pages_of_one_snapshot() {
    let store = Store::in_memory();
    for name in ["a", "b", "c"] {
        store.commit(vec![put(&format!("/core/pods/shop/{name}"), Expect::Absent)]).await.unwrap();
    }
    store.commit(vec![put("/core/pods/shop2/z", Expect::Absent)]).await.unwrap();
    let first = store.snapshot();
    store.commit(vec![Change::delete("/core/pods/shop/c", Expect::Any, None)]).await.unwrap();
    let names = |snapshot: &coracle_store::Snapshot, after| {
        snapshot.list_after("/core/pods/shop/", after).map(|record| record.key().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&first, "/core/pods/shop/a"), ["/core/pods/shop/b", "/core/pods/shop/c"]);
    let rewound = store.snapshot_at("/core/pods/", first.revision()).unwrap();
    assert_eq!(names(&rewound, "/core/pods/shop/b"), ["/core/pods/shop/c"]);
    assert_eq!(names(&store.snapshot(), "/core/pods/shop/b"), Vec::<String>::new());
    assert_eq!(store.snapshot().count("/core/pods/shop"), 3);
    let error = store.snapshot_at("/core/pods/", 99).err();
    assert_eq!(error, Some(RevisionError::Future { asked: 99, current: 6 }));
}

#[tokio::test]
async fn a_pinned_snapshot_outlives_the_history() {
    let options = Options { history_events: 2, ..Options::default() };
    let store = Store::open_on(Arc::new(MemoryDisk::new()), options).unwrap();
    let key = "/core/pods/shop/a";
    store.commit(vec![put(key, Expect::Absent)]).await.unwrap();
    let (pinned, forgotten) = (store.snapshot(), store.revision() + 1);
    store.pin(&pinned);
    for _ in 0..5 {
        store.commit(vec![put(key, Expect::Any)]).await.unwrap();
    }
    assert_eq!(store.snapshot_at("/core/pods/", pinned.revision()).unwrap().get(key).unwrap().revision(), 2);
    assert!(matches!(store.snapshot_at("/core/pods/", forgotten), Err(RevisionError::Compacted(_))));
}

#[tokio::test]
async fn a_full_disk_stops_writes_until_there_is_room() {
    let disk = MemoryDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options { reserve_bytes: 0, ..Options::default() }).unwrap();
    let key = "/core/pods/shop/a";
    store.commit(vec![put(key, Expect::Absent)]).await.unwrap();
    disk.fault(Fault::FullAt(300));
    let big = Change::create("/core/pods/shop/big", meta("big"), Value::plain(vec![b'x'; 1000]));
    let error = store.commit(vec![big.clone()]).await.unwrap_err();
    assert!(matches!(error, CommitError::Full { .. }));
    expect!["no space left on the disk that holds the store (memory): free some, and writes go on by themselves"]
        .assert_eq(&error.to_string());
    assert_eq!((store.revision(), store.get("/core/pods/shop/big").is_none()), (2, true));
    disk.lift_faults();
    let committed = store.commit(vec![big]).await.unwrap();
    store.close().await;
    let store = Store::open_on(Arc::new(disk), Options::default()).unwrap();
    assert_eq!(store.revision(), committed.revision);
    assert_eq!(store.snapshot().len(), 2);
}

#[tokio::test]
async fn many_writers_share_a_sync() {
    let disk = MemoryDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options::default()).unwrap();
    let before = disk.syncs();
    let commits = (0..2000).map(|number| {
        let store = store.clone();
        async move { store.commit(vec![put(&format!("/core/pods/shop/{number}"), Expect::Absent)]).await.unwrap() }
    });
    let revisions: std::collections::BTreeSet<u64> = join(commits).await.iter().map(|done| done.revision).collect();
    assert_eq!(revisions.len(), 2000);
    let syncs = disk.syncs() - before;
    assert!(syncs < 1000, "{syncs} syncs for 2000 commits");
}

/// Runs futures at the same time.
async fn join<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let tasks: Vec<_> = futures.map(|future| coracle_tasks::spawn("client", future)).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[tokio::test]
async fn a_directory_belongs_to_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    store.commit(vec![Change::create("/core/pods/shop/a", meta("a"), value())]).await.unwrap();
    let second = |path: &Path| Store::open(path, Options::default());
    assert!(
        matches!(second(directory.path()).err(), Some(OpenError::Disk(error)) if error.kind() == std::io::ErrorKind::WouldBlock)
    );
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.commit(vec![]).await, Err(CommitError::Closed)));
    assert_eq!(second(directory.path()).unwrap().snapshot().len(), 1);
}
