//! A real process, killed at random while it writes, hundreds of times: what it said was written is there, and no
//! revision is ever given twice.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use coracle_store::{Expect, Options, Store};

use crate::put;

const DIRECTORY: &str = "CORACLE_KILL_TEST_DIRECTORY";
const KILLS: u64 = 300;
const CLIENTS: u64 = 6;

fn options() -> Options {
    // Small, so that compactions are killed too.
    Options { compact_after_bytes: 60_000, reserve_bytes: 8192, ..Options::default() }
}

/// The process that is killed: writes as fast as it can, and says what was acknowledged.
#[tokio::test]
#[ignore = "started by the test below"]
async fn writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory), options()).unwrap();
    let clients: Vec<_> =
        (0..CLIENTS).map(|client| coracle_tasks::spawn("client", write_on(store.clone(), client))).collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// Writes until nobody listens any more.
async fn write_on(store: Store, client: u64) -> std::io::Error {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = match number % 3 {
            0 => format!("/core/pods/shop/{}", number % 50),
            _ => format!("/core/pods/client/{client}"),
        };
        let committed = store.commit(vec![put(&key, Expect::Any)]).await.unwrap();
        let line = format!("acknowledged {key} {}\n", committed.revision);
        if let Err(error) = std::io::stdout().write_all(line.as_bytes()) {
            return error;
        }
    }
}

/// Runs the writer until it said so much, and a little longer, kills it, and returns what it said.
fn run_and_kill(directory: &Path, after_lines: usize, then: Duration) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said: Vec<String> = lines.by_ref().take(after_lines).collect();
    std::thread::sleep(then);
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines);
    said.iter().filter_map(|line| acknowledgement(line)).collect()
}

/// Only a line that was written to its end counts.
fn acknowledgement(line: &str) -> Option<(String, u64)> {
    let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let (mut newest, mut acknowledged) = (1, 0);
    let started = Instant::now();
    for kill in 0..KILLS {
        // Spread over start, opening, first writes and steady load.
        let (after_lines, then) = match kill % 4 {
            0 => (0, Duration::from_micros(kill * 7919 % 12_000)),
            _ => (kill as usize * 37 % 70, Duration::from_micros(kill * 7919 % 2_000)),
        };
        let said = run_and_kill(home.path(), after_lines, then);
        let mut revisions: Vec<u64> = said.iter().map(|(_, revision)| *revision).collect();
        revisions.sort_unstable();
        assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "a revision was given twice in one life");
        assert!(revisions.first().is_none_or(|first| *first > newest), "{revisions:?} after {newest}");
        acknowledged += said.len();
        for (key, revision) in said {
            let last = known.entry(key).or_default();
            *last = revision.max(*last);
        }
        let store = Store::open(home.path(), options()).unwrap();
        for (key, revision) in &known {
            let found = store.get(key).map_or(0, |record| record.revision());
            assert!(found >= *revision, "{key} was acknowledged at {revision}, and is at {found}");
        }
        for record in store.snapshot().list("") {
            let value = format!(r#"{{"resourceVersion":"{}"}}"#, record.revision());
            assert_eq!(record.value_bytes(), value.as_bytes());
        }
        newest = store.revision();
        store.close().await;
    }
    assert!(acknowledged > 1000, "only {acknowledged} writes in {:?}", started.elapsed());
}
