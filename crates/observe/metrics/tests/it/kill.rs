//! A real process, killed at random while it writes: every batch it was told was taken in is there.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use coracle_metrics::{Options, Store};

use crate::{START_MS, all, clock, options, samples, try_append};

const DIRECTORY: &str = "CORACLE_METRICS_KILL_TEST_DIRECTORY";
const FIRST_STEP: &str = "CORACLE_METRICS_KILL_TEST_STEP";
const KILLS: u64 = 24;
const SERIES: u64 = 8;

fn open(directory: &Path) -> Store {
    // Small, so that checkpoints, flushes and merges are killed too.
    let options = Options { wal_bytes: 20_000, retention_ms: None, ..options() };
    Store::open(directory, options, clock()).unwrap()
}

/// The process that is killed: writes as fast as it can, and says what was taken in.
#[test]
#[ignore = "started by the test below"]
fn writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let first: i64 = std::env::var(FIRST_STEP).unwrap().parse().unwrap();
    let store = open(Path::new(&directory));
    let maintained = Arc::new(store.clone());
    std::thread::spawn(move || {
        loop {
            maintained.maintain().unwrap();
            maintained.sync().unwrap();
        }
    });
    for step in first.. {
        let appended = try_append(&store, 0..SERIES, START_MS + step * 1000).unwrap();
        assert_eq!(appended.refused.total(), 0);
        if writeln!(std::io::stdout(), "taken {step}").is_err() {
            return;
        }
    }
}

/// Runs the writer until it said so much, and a little longer, and kills it; returns the last step it said was taken in.
fn run_and_kill(directory: &Path, first: i64, after_lines: usize, then: Duration) -> Option<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(FIRST_STEP, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said: Vec<String> = lines.by_ref().take(after_lines).collect();
    std::thread::sleep(then);
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines);
    said.iter().filter_map(|line| line.split("taken ").nth(1)?.parse().ok()).max()
}

#[test]
fn nothing_taken_in_is_lost_when_the_process_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut taken = -1;
    for kill in 0..KILLS {
        // Spread over start, opening, first writes and steady load.
        let (after_lines, then) = match kill % 4 {
            0 => (0, Duration::from_micros(kill * 7919 % 12_000)),
            _ => (kill as usize * 37 % 300, Duration::from_micros(kill * 7919 % 4_000)),
        };
        let last = run_and_kill(home.path(), taken + 1, after_lines, then);
        taken = taken.max(last.unwrap_or(-1));
        let store = open(home.path());
        assert_eq!(store.complaints(), &[] as &[String]);
        for (number, times_ms) in samples(&store, &all()).unwrap() {
            // One batch more may be there than was told.
            let steps: Vec<i64> = times_ms.iter().map(|time_ms| (time_ms - START_MS) / 1000).collect();
            let expected: Vec<i64> = (0..=taken.max(*steps.last().unwrap())).collect();
            assert_eq!(steps, expected, "series {number} after kill {kill}");
            taken = taken.max(*steps.last().unwrap());
        }
    }
    assert!(taken > 1000, "only {taken} batches");
}
