//! Logs that were cut off open; logs that are damaged are refused, with where and what to do.

use std::sync::Arc;

use coracle_store::{
    Expect, OpenError, Options, Store,
    disk::{Disk, MemoryDisk},
};
use expect_test::{Expect as Expected, expect};

use crate::put;

const LOG: &str = "log-0000000000000001";

/// A closed store of three commits, without spare space at the log's end.
async fn three_commits() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options { reserve_bytes: 0, ..Options::default() }).unwrap();
    for name in ["a", "b", "c"] {
        store.commit(vec![put(&format!("/core/pods/shop/{name}"), Expect::Absent)]).await.unwrap();
    }
    store.close().await;
    disk
}

fn length(disk: &MemoryDisk) -> usize {
    disk.content(LOG).unwrap().len()
}

fn open(disk: &MemoryDisk) -> Result<Store, OpenError> {
    Store::open_on(Arc::new(disk.clone()), Options::default())
}

fn check_refused(disk: &MemoryDisk, expected: Expected) {
    let before = disk.content(LOG);
    let error = open(disk).err().unwrap();
    expected.assert_eq(&error.to_string());
    assert_eq!(disk.content(LOG), before, "nothing is changed");
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_at_the_last_whole_commit() {
    let whole = length(&three_commits().await);
    let frame = (whole - 32) / 3;
    for len in 0..whole {
        let disk = three_commits().await;
        disk.open(LOG).unwrap().truncate(len as u64).unwrap();
        let store = open(&disk).unwrap();
        let commits = len.saturating_sub(32) / frame;
        assert_eq!((store.snapshot().len(), store.revision()), (commits, commits as u64 + 1), "cut at {len}");
        store.commit(vec![put("/core/pods/shop/d", Expect::Absent)]).await.unwrap();
        store.close().await;
        assert_eq!(open(&disk).unwrap().snapshot().len(), commits + 1);
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_wherever_commits_follow() {
    let whole = length(&three_commits().await);
    let last_frame = whole - (whole - 32) / 3;
    for offset in 0..last_frame {
        let disk = three_commits().await;
        disk.flip_bit(LOG, offset);
        let error = open(&disk).err();
        let refused = matches!(error, Some(OpenError::Damaged { .. } | OpenError::Version { .. }));
        assert!(refused, "bit at {offset}: {error:?}");
    }
}

#[tokio::test]
async fn the_refusal_says_where_and_what_to_do() {
    let disk = three_commits().await;
    disk.flip_bit(LOG, 100);
    check_refused(
        &disk,
        expect![
            "memory/log-0000000000000001 is damaged at byte 32: a checksum does not fit, and whole commits follow at byte 172. Nothing was changed. Restore the newest backup into an empty directory; or, if what the file holds from there on may be lost, cut it off with `truncate -s 32 memory/log-0000000000000001` and move later log files away"
        ],
    );
    let disk = three_commits().await;
    disk.flip_bit(LOG, 3);
    check_refused(
        &disk,
        expect![
            "memory/log-0000000000000001 is damaged at byte 0: the header cannot be read. Nothing was changed. Restore the newest backup into an empty directory; or, if what the file holds from there on may be lost, cut it off with `truncate -s 0 memory/log-0000000000000001` and move later log files away"
        ],
    );
    let disk = three_commits().await;
    disk.flip_bit(LOG, 8);
    check_refused(
        &disk,
        expect![
            "memory/log-0000000000000001 has format version 3, and this version of coracle reads up to 2: use the coracle that wrote it"
        ],
    );
}

#[tokio::test]
async fn a_missing_log_is_noticed() {
    let disk = three_commits().await;
    disk.rename(LOG, "log-0000000000000005").unwrap();
    expect!["the log file that starts after revision 1 is missing from memory: log-0000000000000005 starts after revision 5. Nothing was changed. Put the file back, or restore the newest backup into an empty directory"].assert_eq(&open(&disk).err().unwrap().to_string());
}
