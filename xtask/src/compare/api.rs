//! The API server beside kube-apiserver and etcd: the same requests by the same client, one server after the other, in one
//! run. Both write durably; ours runs with all that an engine has.

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use coracle_harness::Engine;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::json;

use crate::{named, real::ControlPlane};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API-SPEED.md");
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
/// Requests under way at once.
const AT_ONCE: usize = 16;
const LISTS: usize = 15;
const WATCHERS: usize = 100;
const WATCHED_WRITES: usize = 300;
/// What servers do after much was written gets this long before their memory is looked at.
const REST: Duration = Duration::from_secs(5);

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
}

/// What was measured of one server.
struct Figures {
    ready_ms: f64,
    creates_per_s: f64,
    updates_per_s: f64,
    gets_per_s: f64,
    list_ms: f64,
    deliveries_per_s: f64,
    memory_mib: f64,
}

pub fn run(chosen: &Api) -> anyhow::Result<()> {
    ensure!(Engine::is_possible(), "the engine needs root");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ours = runtime.block_on(ours(chosen)).context("Coracle")?;
    let theirs = runtime.block_on(theirs(chosen)).context("kube-apiserver and etcd")?;
    let page = page(chosen, &ours, &theirs)?;
    print!("{page}");
    if chosen.write {
        fs::write(PAGE, page).context("writing docs/API-SPEED.md")?;
    }
    Ok(())
}

async fn ours(chosen: &Api) -> anyhow::Result<Figures> {
    let start = Instant::now();
    let engine = Engine::start(&named::engine())?;
    let ready = start.elapsed();
    let pids = [u32::try_from(engine.pid())?];
    measure(chosen, ready, &engine.client().await?, &pids).await
}

async fn theirs(chosen: &Api) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let start = Instant::now();
    let plane = ControlPlane::start(dir.path()).await?;
    let ready = start.elapsed();
    let client = coracle_client::from_kubeconfig(&plane.kubeconfig).await?;
    let pids: Vec<u32> = plane.processes.iter().map(crate::real::Process::pid).collect();
    measure(chosen, ready, &client, &pids).await
}

async fn measure(chosen: &Api, ready: Duration, client: &Client, pids: &[u32]) -> anyhow::Result<Figures> {
    let path = |number: usize| format!("{OBJECTS}/o-{number}");
    let object = |number: usize, colour: &str| {
        json!({"metadata": {"name": format!("o-{number}")}, "data": {"colour": colour, "text": "x".repeat(700)}})
            .to_string()
    };
    let count = chosen.objects;
    let creates_per_s =
        rate(client, count, |number| (Method::POST, OBJECTS.to_owned(), object(number, "teal"))).await?;
    let updates_per_s = rate(client, count, |number| (Method::PUT, path(number), object(number, "plum"))).await?;
    let gets_per_s =
        rate(client, count * 2, |number| (Method::GET, path(number * 7919 % count), String::new())).await?;
    let mut lists = Vec::new();
    for _ in 0..LISTS {
        let start = Instant::now();
        send(client, Method::GET, OBJECTS.to_owned(), String::new()).await?;
        lists.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    lists.sort_by(f64::total_cmp);
    let deliveries_per_s = fan_out(client, &object).await?;
    let more = chosen.memory_objects.saturating_sub(count);
    rate(client, more, |number| (Method::POST, OBJECTS.to_owned(), object(count + number, "grey"))).await?;
    tokio::time::sleep(REST).await;
    Ok(Figures {
        ready_ms: ready.as_secs_f64() * 1000.0,
        creates_per_s,
        updates_per_s,
        gets_per_s,
        list_ms: lists[LISTS / 2],
        deliveries_per_s,
        memory_mib: pids.iter().map(|pid| resident_mib(*pid)).sum::<anyhow::Result<f64>>()?,
    })
}

/// Requests a second, so many at once.
async fn rate(
    client: &Client,
    count: usize,
    request: impl Fn(usize) -> (Method, String, String),
) -> anyhow::Result<f64> {
    let start = Instant::now();
    stream::iter(0..count)
        .map(|number| {
            let (method, path, body) = request(number);
            send(client, method, path, body)
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

async fn send(client: &Client, method: Method, path: String, body: String) -> anyhow::Result<usize> {
    let request = Request::builder().method(method).uri(&path).header("content-type", "application/json");
    let answer = client.send(request.body(Body::from(body.into_bytes()))?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(status.is_success() && status != StatusCode::NO_CONTENT, "{path}: {status}");
    Ok(body.len())
}

/// Events a second that many watchers together are told, from the first write to the last delivery.
async fn fan_out(client: &Client, object: &impl Fn(usize, &str) -> String) -> anyhow::Result<f64> {
    let told = Arc::new(AtomicUsize::new(0));
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!("{OBJECTS}?watch=true&resourceVersion={}", newest(client).await?);
        let answer = client.send(Request::get(path).body(Body::empty())?).await?;
        ensure!(answer.status().is_success(), "watching: {}", answer.status());
        let told = Arc::clone(&told);
        watchers.push(coracle_client::AbortOnDrop(coracle_tasks::spawn("watcher", async move {
            let mut body = answer.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.into_data().unwrap_or_default();
                told.fetch_add(bytes.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
            }
        })));
    }
    let start = Instant::now();
    rate(client, WATCHED_WRITES, |number| {
        (Method::PUT, format!("{OBJECTS}/o-{number}"), object(number, &format!("colour {number}")))
    })
    .await?;
    while told.load(Ordering::Relaxed) < WATCHERS * WATCHED_WRITES {
        ensure!(
            start.elapsed() < Duration::from_secs(60),
            "watchers were told {} events",
            told.load(Ordering::Relaxed)
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((WATCHERS * WATCHED_WRITES) as f64 / start.elapsed().as_secs_f64())
}

async fn newest(client: &Client) -> anyhow::Result<String> {
    let list: serde_json::Value = client.request(Request::get(format!("{OBJECTS}?limit=1")).body(Vec::new())?).await?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a revision")?.to_owned())
}

fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn page(chosen: &Api, ours: &Figures, theirs: &Figures) -> anyhow::Result<String> {
    let mut page = format!(
        "# The API server beside kube-apiserver and etcd\n\nWritten by `cargo xtask compare api --write`: the same requests by the same \
         client, {AT_ONCE} at once, one server after the other in one run, each write durable before it is acknowledged. \
         {} ConfigMaps of 0.7 KB; ours runs as a whole engine with a node. The client shares the two cores: \
         built for debugging, as `cargo xtask` is, it is what bounds the faster server.\n\n| what | Coracle | Kubernetes 1.35 | ratio | aim |\n|---|---|---|---|---|\n",
        chosen.objects
    );
    let memory = format!("memory with {} objects", chosen.memory_objects);
    // Of times and memory, less is better.
    let rows = [
        ("start to ready", ours.ready_ms, theirs.ready_ms, " ms", false, "20×"),
        ("creates", ours.creates_per_s, theirs.creates_per_s, " /s", true, "5×"),
        ("updates", ours.updates_per_s, theirs.updates_per_s, " /s", true, "5×"),
        ("GET", ours.gets_per_s, theirs.gets_per_s, " /s", true, "3×"),
        ("LIST of all", ours.list_ms, theirs.list_ms, " ms", false, "10×"),
        ("watch: deliveries to 100 watchers", ours.deliveries_per_s, theirs.deliveries_per_s, " /s", true, "5×"),
        (&memory, ours.memory_mib, theirs.memory_mib, " MiB", false, "4×"),
    ];
    for (what, ours, theirs, unit, more_is_better, aim) in rows {
        let ratio = if more_is_better { ours / theirs } else { theirs / ours };
        writeln!(page, "| {what} | {ours:.0}{unit} | {theirs:.0}{unit} | {ratio:.1}× | {aim} |")?;
    }
    Ok(page)
}
