//! Files that were cut off, or in which bits flipped: what is whole is there, what is not is told or refused, and nothing
//! is ever wrong.

use std::sync::Arc;

use coracle_disk::{Disk, MemoryDisk};
use coracle_metrics::Store;

use crate::{START_MS, all, clock, open, options, samples, try_append};

/// A store with blocks, chunk files and a log.
fn filled() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let store = open(&disk, &options());
    for step in 0..70 {
        try_append(&store, 0..5, START_MS + step * 3000).unwrap();
        if step % 20 == 0 {
            store.maintain().unwrap();
        }
    }
    store.sync().unwrap();
    disk
}

/// The files as they are.
fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.content(&name).unwrap())).collect()
}

fn disk_with(files: &[(String, Vec<u8>)]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in files {
        let mut file = disk.create(name).unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync().unwrap();
    }
    disk.sync().unwrap();
    disk
}

/// Opens a damaged store. Values are checked as they are read; returns how many there are, and how much was complained of.
fn check(files: &[(String, Vec<u8>)], what: &str) -> (usize, usize) {
    let disk = disk_with(files);
    match Store::open_on(Arc::new(disk), options(), clock()) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            (0, 1)
        }
        Ok(store) => match samples(&store, &all()) {
            Ok(found) => (found.iter().map(|(_, times)| times.len()).sum(), store.complaints().len()),
            Err(error) => {
                assert!(error.to_string().contains("damaged"), "{what}: {error}");
                (0, 1)
            }
        },
    }
}

#[test]
fn flipped_bits_are_noticed() {
    let files = contents(&filled());
    let (whole, complaints) = check(&files, "nothing");
    assert_eq!((whole, complaints), (350, 0));
    for (index, (name, bytes)) in files.iter().enumerate() {
        let stride = (bytes.len() / 24).max(1);
        for at in (0..bytes.len()).step_by(stride) {
            let mut damaged = files.clone();
            damaged[index].1[at] ^= 1 << (at % 8);
            let (found, complaints) = check(&damaged, name);
            let torn_tail = name.starts_with("wal") || name.starts_with("series") || name.starts_with("chunks");
            assert!(found == whole || complaints > 0 || torn_tail, "{name} at {at}: {found} samples, no complaint");
        }
    }
}

#[test]
fn files_that_were_cut_off_open() {
    let files = contents(&filled());
    for (index, (name, bytes)) in files.iter().enumerate() {
        let stride = (bytes.len() / 16).max(1);
        for len in (0..bytes.len()).step_by(stride) {
            let mut damaged = files.clone();
            damaged[index].1.truncate(len);
            let (found, _) = check(&damaged, name);
            assert!(found < 351);
        }
    }
}

#[test]
fn a_file_of_another_version_is_named() {
    let mut files = contents(&filled());
    let block = files.iter_mut().find(|(name, _)| name.starts_with("block-")).unwrap();
    block.1[8] = 9;
    let store = open(&disk_with(&files), &options());
    let complaint = store.complaints().iter().find(|complaint| complaint.contains("block-")).unwrap();
    assert!(complaint.ends_with("it has format 9; this program reads format 1"), "{complaint}");
}

#[test]
fn a_segment_that_was_only_begun_is_no_damage() {
    let header = contents(&filled()).into_iter().find(|(name, _)| name.starts_with("wal-")).unwrap().1;
    for len in 0..16 {
        let mut files = contents(&filled());
        let (before, _) = check(&files, "whole");
        files.push(("wal-00009999".to_owned(), header[..len].to_vec()));
        assert_eq!(check(&files, "a begun segment"), (before, 0), "{len} bytes");
        // Followed by another one, it had been longer once.
        files.push(("wal-00010000".to_owned(), header[..16].to_vec()));
        assert_eq!(check(&files, "a cut segment"), (before, 1), "{len} bytes");
    }
}
