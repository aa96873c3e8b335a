//! What the store costs: `cargo bench -p coracle-store`. Prints a line a figure.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use coracle_store::{Change, Expect, Meta, Options, Store, Value};

const OBJECTS: usize = 50_000;
const VALUE_BYTES: usize = 1500;

fn put(key: String) -> Change {
    let meta = Meta {
        uid: "9d3e3c0e-6f3b-4a8e-8f2c-0d2f5f1b7a11".to_owned(),
        labels: vec![("app".to_owned(), "web".to_owned())],
        fields: vec![("metadata.name".to_owned(), "web".to_owned())],
        owners: Vec::new(),
    };
    Change::put(key, Expect::Any, meta, Value::spliced(vec![b'x'; VALUE_BYTES / 2], vec![b'y'; VALUE_BYTES / 2]))
}

async fn commits(store: &Store, clients: usize, each: usize) {
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            coracle_tasks::spawn("client", async move {
                for number in 0..each {
                    store.commit(vec![put(format!("/core/pods/shop/{client}-{number}"))]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let total = clients * each;
    println!("{clients:4} writers: {:9.0} commits/s", total as f64 / started.elapsed().as_secs_f64());
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / f64::from(1 << 20)
}

async fn figures(directory: &Path) {
    let store = Store::open(directory, Options::default()).unwrap();
    commits(&store, 1, 500).await;
    commits(&store, 64, 300).await;
    for chunk in (0..OBJECTS).collect::<Vec<_>>().chunks(500) {
        let changes = chunk.iter().map(|number| put(format!("/core/configmaps/shop/object-{number:05}"))).collect();
        store.commit(changes).await.unwrap();
    }

    let started = Instant::now();
    for number in 0..1_000_000 {
        black_box(store.get(&format!("/core/configmaps/shop/object-{:05}", number % OBJECTS)).unwrap().value());
    }
    println!("get: {:?}", started.elapsed() / 1_000_000);

    let started = Instant::now();
    for _ in 0..100 {
        let snapshot = store.snapshot();
        black_box(snapshot.list("/core/configmaps/").take(5000).map(|record| record.value().len()).sum::<usize>());
    }
    println!("list of 5000: {:?}", started.elapsed() / 100);

    for watchers in [1, 100] {
        fan_out(&store, watchers).await;
    }
    store.close().await;

    let before = resident_mib();
    let started = Instant::now();
    let store = Store::open(directory, Options::default()).unwrap();
    let took = started.elapsed();
    let statistics = store.statistics();
    println!("restart with {} objects: {took:?}, {:.0} MiB more resident", statistics.objects, resident_mib() - before);
}

async fn fan_out(store: &Store, watchers: usize) {
    const EVENTS: usize = 5000;
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watcher = store.watch("/apps/deployments/", store.revision()).unwrap();
            coracle_tasks::spawn("watcher", async move {
                let mut seen = 0;
                while seen < EVENTS {
                    seen += watcher.next().await.unwrap().len();
                }
            })
        })
        .collect();
    let started = Instant::now();
    for number in 0..EVENTS / 50 {
        let changes = (0..50).map(|each| put(format!("/apps/deployments/shop/{}", number * 50 + each))).collect();
        store.commit(changes).await.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    let took = started.elapsed().max(Duration::from_micros(1));
    println!("{watchers:4} watchers: {:9.0} events/s delivered", (EVENTS * watchers) as f64 / took.as_secs_f64());
}

fn main() {
    let home = tempfile::tempdir_in(std::env::var_os("CORACLE_BENCH_DIR").unwrap_or(".".into())).unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(figures(home.path()));
}
