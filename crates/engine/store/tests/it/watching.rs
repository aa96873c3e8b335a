//! Watches: order, resuming, forgetting, bookmarks.

use std::sync::Arc;

use coracle_store::{Change, Compacted, EventKind, Expect, Options, Store, WatchError, Watcher, disk::MemoryDisk};

use crate::put;

async fn next(watcher: &mut Watcher) -> Vec<String> {
    let events = watcher.next().await.unwrap();
    events.iter().map(|event| format!("{:?} {:?}", event.kind, event.record)).collect()
}

#[tokio::test]
async fn a_watcher_sees_its_prefix_only_and_in_order() {
    let store = Store::in_memory();
    let mut pods = store.watch("/core/pods/", store.revision()).unwrap();
    let mut shop = store.watch("/core/pods/shop/", store.revision()).unwrap();
    store.commit(vec![put("/core/secrets/shop/a", Expect::Any)]).await.unwrap();
    store.commit(vec![put("/core/pods/shop/a", Expect::Any), put("/core/pods/bank/a", Expect::Any)]).await.unwrap();
    let last = coracle_store::Value::spliced("gone at ", "");
    store.commit(vec![Change::delete("/core/pods/shop/a", Expect::Any, Some(last))]).await.unwrap();
    assert_eq!(
        next(&mut pods).await,
        [
            r#"Created /core/pods/shop/a@3 {"resourceVersion":"3"}"#,
            r#"Created /core/pods/bank/a@4 {"resourceVersion":"4"}"#,
            "Deleted /core/pods/shop/a@5 gone at 5"
        ]
    );
    assert_eq!(next(&mut shop).await.len(), 2);
    assert_eq!((pods.progress(), shop.progress()), (5, 5));
    let deleted = &store.watch("/core/pods/", 4).unwrap().next().await.unwrap()[0];
    assert_eq!((deleted.kind, deleted.previous.as_ref().unwrap().revision()), (EventKind::Deleted, 3));
}

#[tokio::test]
async fn a_bookmark_moves_on_while_others_are_busy() {
    let store = Store::in_memory();
    let mut quiet = store.watch("/apps/deployments/", store.revision()).unwrap();
    for _ in 0..5 {
        store.commit(vec![put("/core/pods/shop/a", Expect::Any)]).await.unwrap();
    }
    assert_eq!(quiet.progress(), 6);
    store.commit(vec![put("/apps/deployments/shop/a", Expect::Any)]).await.unwrap();
    assert_eq!(quiet.progress(), 6, "an event is waiting");
    assert_eq!(next(&mut quiet).await.len(), 1);
    assert_eq!(quiet.progress(), 7);
}

#[tokio::test]
async fn a_slow_watcher_is_told_that_it_missed_something() {
    let options = Options { history_events: 3, ..Options::default() };
    let store = Store::open_on(Arc::new(MemoryDisk::new()), options).unwrap();
    let mut slow = store.watch("/core/pods/", 1).unwrap();
    for _ in 0..5 {
        store.commit(vec![put("/core/pods/shop/a", Expect::Any)]).await.unwrap();
    }
    let compacted = Compacted { asked: 1, oldest: 3 };
    assert_eq!(slow.next().await.unwrap_err(), compacted);
    assert_eq!(store.watch("/core/pods/", 1).err(), Some(WatchError::Compacted(compacted)));
    assert!(store.watch("/core/pods/", 3).is_ok());
    assert_eq!(store.watch("/core/", 3).err(), Some(WatchError::Prefix("/core/".to_owned())));
    assert!(store.watch("/core/nodes/", 1).is_ok(), "other topics forget nothing because of it");
}

#[tokio::test]
async fn history_survives_a_restart() {
    let disk = MemoryDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options::default()).unwrap();
    for _ in 0..5 {
        store.commit(vec![put("/core/pods/shop/a", Expect::Any)]).await.unwrap();
    }
    store.close().await;
    let store = Store::open_on(Arc::new(disk), Options::default()).unwrap();
    let mut resumed = store.watch("/core/pods/", 4).unwrap();
    assert_eq!(
        next(&mut resumed).await,
        [
            r#"Updated /core/pods/shop/a@5 {"resourceVersion":"5"}"#,
            r#"Updated /core/pods/shop/a@6 {"resourceVersion":"6"}"#
        ]
    );
}

#[tokio::test]
async fn a_hundred_watchers_see_everything_once() {
    const EVENTS: usize = 3000;
    let store = Store::in_memory();
    let watchers: Vec<_> = (0..100)
        .map(|_| {
            let mut watcher = store.watch("/core/pods/", 1).unwrap();
            coracle_tasks::spawn("watcher", async move {
                let mut revisions = Vec::new();
                while revisions.len() < EVENTS {
                    revisions.extend(watcher.next().await.unwrap().iter().map(|event| event.revision()));
                }
                revisions
            })
        })
        .collect();
    for number in 0..EVENTS / 10 {
        let changes = (0..10).map(|each| put(&format!("/core/pods/shop/{number}-{each}"), Expect::Any)).collect();
        store.commit(changes).await.unwrap();
    }
    let expected: Vec<u64> = (2..EVENTS as u64 + 2).collect();
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), expected);
    }
}
