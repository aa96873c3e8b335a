//! A real process, killed at random while it writes: what it said was written is there.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use coracle_logs::{Options, Store};

use crate::{lines, small, stream};

const DIRECTORY: &str = "CORACLE_LOGS_KILL_TEST_DIRECTORY";
const LIFE: &str = "CORACLE_LOGS_KILL_TEST_LIFE";
const KILLS: usize = 60;
const CLIENTS: usize = 4;

fn options() -> Options {
    Options { head_bytes: 20_000, block_bytes: 2000, ..small() }
}

/// The process that is killed: pushes as fast as it can, and says what was acknowledged.
#[tokio::test]
#[ignore = "started by the test below"]
async fn writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let life = std::env::var(LIFE).unwrap();
    let store = crate::open(Path::new(&directory), options());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| coracle_tasks::spawn("client", push_on(store.clone(), life.clone(), client)))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// Pushes until nobody listens any more.
async fn push_on(store: Store, life: String, client: usize) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let line = format!("life {life} number {number} {}", "w".repeat((number % 90) as usize));
        let labels = format!(r#"{{client="{client}"}}"#);
        store.push("fake", vec![stream(&labels, &[((number % 1000) as i64, &line)])]).await.unwrap();
        if std::io::stdout().write_all(format!("acknowledged {life} {number}\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn run_and_kill(directory: &Path, life: usize) -> Vec<(usize, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut heard: Vec<String> = said.by_ref().take(life * 41 % 300).collect();
    std::thread::sleep(Duration::from_micros(life as u64 * 7919 % 9000));
    child.kill().unwrap();
    child.wait().unwrap();
    heard.extend(said);
    let number = |line: &String| {
        let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    heard.iter().filter_map(number).collect()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut known = BTreeSet::new();
    for life in 0..KILLS {
        known.extend(run_and_kill(home.path(), life));
        let store = crate::open(home.path(), options());
        assert!(store.damage().is_empty(), "{:?}", store.damage());
        let found = lines(&store, r#"{client=~".+"}"#);
        let numbers: BTreeSet<(usize, u64)> = found
            .iter()
            .map(|(_, _, line)| {
                let words: Vec<&str> = line.split(' ').collect();
                (words[1].parse().unwrap(), words[3].parse().unwrap())
            })
            .collect();
        assert_eq!(numbers.len(), found.len(), "a line is there twice");
        let missing: Vec<_> = known.difference(&numbers).take(5).collect();
        assert!(missing.is_empty(), "after life {life}: {missing:?} of {}", known.len());
        store.close().await;
    }
    assert!(known.len() > 1000, "only {} pushes", known.len());
}
