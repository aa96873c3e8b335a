//! The API server beside kube-apiserver and etcd: the same requests by the same client, one server after the other, in one
//! run. Both write durably; ours runs with all that an engine has.

mod chunks;
mod page;
mod usage;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use coracle_harness::Engine;
use serde_json::json;

use crate::{named, real::ControlPlane};
use wire::Way;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API-SPEED.md");
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
/// Requests under way at once.
const AT_ONCE: usize = 16;
const LISTS: usize = 50;
const WATCHERS: usize = 100;
const WATCHED_WRITES: usize = 1000;
/// What servers do after much was written gets this long before their memory is looked at.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);

/// How much to do.
#[derive(clap::Args)]
pub struct Api {
    /// Objects that are created, changed, read and listed
    #[arg(long, default_value_t = 5000)]
    objects: usize,
    /// Objects there are when memory is looked at
    #[arg(long, default_value_t = 50_000)]
    memory_objects: usize,
    /// Write docs/API-SPEED.md
    #[arg(long)]
    write: bool,
    /// Measure only the server that this kubeconfig leads to, which runs already and has no ConfigMaps
    #[arg(long, requires = "pid", conflicts_with = "write")]
    kubeconfig: Option<PathBuf>,
    /// Its process
    #[arg(long)]
    pid: Option<u32>,
}

/// What was measured of one server.
struct Figures {
    ready: Measured,
    creates: Measured,
    updates: Measured,
    gets: Measured,
    lists: Measured,
    deliveries: Measured,
    memory: Measured,
}

/// One figure, and the processor time of the server that each of what is counted took.
#[derive(Clone, Copy)]
enum Measured {
    Rate { per_s: f64, processor: Duration },
    Time { took: Duration, processor: Duration },
    Memory { mib: f64 },
}

impl Measured {
    /// How many times better than the other.
    fn ratio(&self, other: &Self) -> String {
        let ratio = match (self, other) {
            (Self::Rate { per_s, .. }, Self::Rate { per_s: other, .. }) => per_s / other,
            (Self::Time { took, .. }, Self::Time { took: other, .. }) => other.as_secs_f64() / took.as_secs_f64(),
            (Self::Memory { mib }, Self::Memory { mib: other }) => other / mib,
            _ => unreachable!("a row compares what is measured alike"),
        };
        format!("{ratio:.1}×")
    }

    fn processor_ratio(&self, other: &Self) -> String {
        match (self.processor_time(), other.processor_time()) {
            (Some(ours), Some(theirs)) => format!("{:.1}×", theirs.as_secs_f64() / ours.as_secs_f64()),
            _ => String::new(),
        }
    }

    fn processor_time(&self) -> Option<Duration> {
        match self {
            Self::Rate { processor, .. } | Self::Time { processor, .. } => Some(*processor),
            Self::Memory { .. } => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Rate { per_s, .. } => format!("{per_s:.0} /s"),
            Self::Time { took, .. } => shown(*took),
            Self::Memory { mib } => format!("{mib:.0} MiB"),
        }
    }

    fn processor(&self) -> String {
        self.processor_time().map(shown).unwrap_or_default()
    }
}

/// Two digits at least.
fn shown(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms if ms >= 1.0 => format!("{ms:.1} ms"),
        ms if ms >= 0.01 => format!("{:.0} µs", ms * 1000.0),
        ms => format!("{:.1} µs", ms * 1000.0),
    }
}

pub fn run(chosen: &Api) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("built for debugging, the client takes more of the processor than the faster server: use --release");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let (Some(kubeconfig), Some(pid)) = (&chosen.kubeconfig, chosen.pid) {
        let figures = runtime.block_on(measure(chosen, Duration::ZERO, kubeconfig, &[pid]))?;
        print!("{}", page::table(chosen.objects, chosen.memory_objects, &figures, None)?);
        return Ok(());
    }
    ensure!(Engine::is_possible(), "the engine needs root");
    let ours = runtime.block_on(ours(chosen)).context("Coracle")?;
    let theirs = runtime.block_on(theirs(chosen)).context("kube-apiserver and etcd")?;
    let table = page::table(chosen.objects, chosen.memory_objects, &ours, Some(&theirs))?;
    print!("{table}");
    if chosen.write {
        let before = fs::read_to_string(PAGE).unwrap_or_default();
        fs::write(PAGE, page::page(chosen.objects, &table, &before)).context("writing docs/API-SPEED.md")?;
    }
    Ok(())
}

async fn ours(chosen: &Api) -> anyhow::Result<Figures> {
    let start = Instant::now();
    let engine = Engine::start(&named::engine())?;
    let ready = start.elapsed();
    let pids = [u32::try_from(engine.pid())?];
    measure(chosen, ready, &engine.kubeconfig(), &pids).await
}

async fn theirs(chosen: &Api) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let start = Instant::now();
    let plane = ControlPlane::start(dir.path()).await?;
    let ready = start.elapsed();
    let pids: Vec<u32> = plane.processes.iter().map(crate::real::Process::pid).collect();
    measure(chosen, ready, &plane.kubeconfig, &pids).await
}

async fn measure(chosen: &Api, ready: Duration, kubeconfig: &Path, pids: &[u32]) -> anyhow::Result<Figures> {
    let ready = Measured::Time { took: ready, processor: usage::processor(pids)? };
    let way = Way::read(kubeconfig)?;
    let count = chosen.objects;
    let creates = rate(&way, pids, count, |number| create(number, "teal")).await?;
    let updates = rate(&way, pids, count, |number| replace(number, "plum")).await?;
    let gets = rate(&way, pids, count * 4, move |number| ("GET", path(number * 7919 % count), String::new())).await?;
    let lists = lists(&way, pids).await?;
    let deliveries = fan_out(&way, pids, count).await?;
    let more = chosen.memory_objects.saturating_sub(count);
    rate(&way, pids, more, move |number| create(count + number, "grey")).await?;
    tokio::time::sleep(REST).await;
    let memory = Measured::Memory { mib: usage::resident_mib(pids)? };
    Ok(Figures { ready, creates, updates, gets, lists, deliveries, memory })
}

type Request = (&'static str, String, String);

fn path(number: usize) -> String {
    format!("{OBJECTS}/o-{number}")
}

fn object(number: usize, colour: &str) -> String {
    json!({"metadata": {"name": format!("o-{number}")}, "data": {"colour": colour, "text": "x".repeat(700)}})
        .to_string()
}

fn create(number: usize, colour: &str) -> Request {
    ("POST", OBJECTS.to_owned(), object(number, colour))
}

fn replace(number: usize, colour: &str) -> Request {
    ("PUT", path(number), object(number, colour))
}

/// Requests a second, so many at once, each on a connection that is there already.
async fn rate(
    way: &Way,
    pids: &[u32],
    count: usize,
    request: impl Fn(usize) -> Request + Send + Sync + 'static,
) -> anyhow::Result<Measured> {
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let mut connections = Vec::new();
    for _ in 0..AT_ONCE {
        connections.push(way.connect().await?);
    }
    let (before, start) = (usage::processor(pids)?, Instant::now());
    let mut senders = Vec::new();
    for mut connection in connections {
        let (next, request) = (next.clone(), request.clone());
        senders.push(coracle_tasks::spawn("sender", async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let (method, path, body) = request(number);
                connection.ask(method, &path, &body).await?;
            }
        }));
    }
    for sender in senders {
        sender.await??;
    }
    let per_s = count as f64 / start.elapsed().as_secs_f64();
    Ok(Measured::Rate { per_s, processor: share(before, pids, count)? })
}

/// Each one's share of what the server took since.
fn share(before: Duration, pids: &[u32], count: usize) -> anyhow::Result<Duration> {
    let taken = usage::processor(pids)?.saturating_sub(before);
    Ok(taken.div_f64(count.max(1) as f64))
}

/// The median of many lists of everything, one after the other.
async fn lists(way: &Way, pids: &[u32]) -> anyhow::Result<Measured> {
    let mut connection = way.connect().await?;
    let before = usage::processor(pids)?;
    let mut times = Vec::new();
    for _ in 0..LISTS {
        let start = Instant::now();
        connection.ask("GET", OBJECTS, "").await?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(Measured::Time { took: times[LISTS / 2], processor: share(before, pids, LISTS)? })
}

/// Events a second that many watchers together are told, from the first write to the last delivery.
async fn fan_out(way: &Way, pids: &[u32], objects: usize) -> anyhow::Result<Measured> {
    let told = Arc::new(AtomicUsize::new(0));
    let newest = newest(way).await?;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!("{OBJECTS}?watch=true&resourceVersion={newest}");
        let mut watch = way.connect().await?.watch(&path).await?;
        let told = Arc::clone(&told);
        watchers.push(coracle_client::AbortOnDrop(coracle_tasks::spawn("watcher", async move {
            while let Ok(lines) = watch.lines().await {
                told.fetch_add(lines, Ordering::Relaxed);
            }
        })));
    }
    let (before, start) = (usage::processor(pids)?, Instant::now());
    rate(way, pids, WATCHED_WRITES, move |number| replace(number % objects, &format!("colour {number}"))).await?;
    let all = WATCHERS * WATCHED_WRITES;
    loop {
        let so_far = told.load(Ordering::Relaxed);
        if so_far >= all {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "watchers were told {so_far} of {all} events");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let per_s = all as f64 / start.elapsed().as_secs_f64();
    Ok(Measured::Rate { per_s, processor: share(before, pids, all)? })
}

async fn newest(way: &Way) -> anyhow::Result<String> {
    let list = way.connect().await?.read(&format!("{OBJECTS}?limit=1")).await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a revision")?.to_owned())
}
