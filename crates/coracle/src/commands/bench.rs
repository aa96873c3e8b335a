//! `coracle bench`: measures this machine with an engine of its own, which is gone afterwards.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use serde::Serialize;
use serde_json::json;

use super::demo::{load, processes, repository::Repository, world::World};
use crate::{
    cli::{Down, Global, Output, Up},
    commands::{block_on, down},
    doctor,
    paths::DataDir,
    print,
};

const DIR: &str = "/var/lib/coracle-bench";
const STARTS: usize = 5;
const PUSHES: usize = 5;
/// One of each replica: a second crash of the same pod would measure the back-off.
const CRASHES: usize = 3;
const POD_STARTS: usize = 50;
const IDLE: Duration = Duration::from_secs(10);
/// Let what a change set in motion come to rest before the idle engine is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// What was measured; times are medians unless they say otherwise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    start_to_ready_ms: f64,
    idle_resident_mib: f64,
    idle_shim_mib: f64,
    idle_cpu_percent: f64,
    first_push_to_ready_ms: f64,
    config_push_to_ready_ms: f64,
    rollback_ms: f64,
    crash_to_serving_ms: f64,
    pod_start_p50_ms: f64,
    pod_start_p99_ms: f64,
}

pub fn run(global: &Global, output: Output) -> anyhow::Result<()> {
    let dir = DataDir::new(global.data_dir.as_deref().unwrap_or(Path::new(DIR)))?;
    doctor::require(&doctor::examine(&dir))?;
    ensure!(!dir.root().exists(), "{} exists: name an empty place with --data-dir", dir.root().display());
    let global = Global { data_dir: Some(dir.root().to_owned()), config: global.config.clone() };
    let measured = block_on(measure(&global, &dir));
    down::quietly(&dir, Down { purge: true })?;
    let figures = measured?;
    if output.json {
        return print::json(&figures);
    }
    let rows = [
        ("engine start to ready", figures.start_to_ready_ms, "ms", "500 ms"),
        ("idle, resident memory of the engine", figures.idle_resident_mib, "MiB", "100 MiB"),
        ("idle, memory of its shims (proportional)", figures.idle_shim_mib, "MiB", ""),
        ("idle, CPU", figures.idle_cpu_percent, "% of a core", "1 %"),
        ("first push to all replicas ready", figures.first_push_to_ready_ms, "ms", ""),
        ("config-only push to all replicas ready", figures.config_push_to_ready_ms, "ms", "2000 ms"),
        ("rollback", figures.rollback_ms, "ms", "1000 ms"),
        ("container crash to serving again", figures.crash_to_serving_ms, "ms", "500 ms"),
        ("pod start, image present, p50 of 50", figures.pod_start_p50_ms, "ms", "150 ms"),
        ("pod start, image present, p99 of 50", figures.pod_start_p99_ms, "ms", ""),
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(what, value, unit, aim)| vec![(*what).to_owned(), format!("{value:.1} {unit}"), (*aim).to_owned()])
        .collect();
    print::table(&["MEASURED", "HERE", "AIM"], &rows);
    Ok(())
}

async fn measure(global: &Global, dir: &DataDir) -> anyhow::Result<Figures> {
    let mut world = World::new(global.clone(), dir.clone(), Up::default());
    world.start(&mut Vec::new()).await?;
    let repository = Repository::create(world.workspace(), &world.remote()?)?;
    let start = Instant::now();
    push(&repository)?;
    world.await_app(3, "teal").await?;
    let first_push_to_ready_ms = millis(start);

    let mut config_pushes = Vec::new();
    for colour in ["navy", "maroon", "olive", "purple", "teal"].into_iter().take(PUSHES) {
        repository.write("coracle.yaml", &format!("env:\n  COLOUR: {colour}\n"))?;
        repository.commit(&format!("Paint it {colour}"))?;
        let start = Instant::now();
        push(&repository)?;
        world.await_app(3, colour).await?;
        config_pushes.push(millis(start));
    }
    let start = Instant::now();
    coracle_sync::ask::rollback(&world.client()?, "hello", None).await?;
    world.await_app(3, "purple").await?;
    let rollback_ms = millis(start);

    let mut crashes = Vec::new();
    for _ in 0..CRASHES {
        crashes.push(crash(&world).await?);
    }
    let pod_starts = pod_starts(&world).await?;
    tokio::time::sleep(SETTLE).await;
    let (idle_resident_mib, idle_shim_mib, idle_cpu_percent) = idle(&world, dir).await?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        down::stop_engine(dir)?;
        let begun = Instant::now();
        world.start(&mut Vec::new()).await?;
        starts.push(millis(begun));
    }
    Ok(Figures {
        start_to_ready_ms: percentile(&mut starts, 50),
        idle_resident_mib,
        idle_shim_mib,
        idle_cpu_percent,
        first_push_to_ready_ms,
        config_push_to_ready_ms: percentile(&mut config_pushes, 50),
        rollback_ms,
        crash_to_serving_ms: percentile(&mut crashes, 50),
        pod_start_p50_ms: percentile(&mut pod_starts.clone(), 50),
        pod_start_p99_ms: percentile(&mut pod_starts.clone(), 99),
    })
}

fn push(repository: &Repository) -> anyhow::Result<()> {
    let pushed = repository.push_quietly(&["origin", "main"])?;
    ensure!(pushed.succeeded, "git push failed:\n{}", pushed.output);
    Ok(())
}

/// Kills a replica's process; the time until its pod answers again.
async fn crash(world: &World) -> anyhow::Result<f64> {
    let pod = world.pods().await?.into_iter().min_by_key(|pod| pod.restarts).context("no pod")?;
    ensure!(pod.restarts == 0, "every pod has been killed before: what follows would measure the back-off");
    let victim = *processes::of_pod(&pod.uid).first().context("the pod has no process")?;
    let target = world.pod(&pod.name).await?;
    let start = Instant::now();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL)?;
    while processes::of_pod(&pod.uid).contains(&victim) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while load::get_from_inside(&target, "/api").is_err() {
        ensure!(start.elapsed() < Duration::from_secs(30), "{} does not come back", pod.name);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(millis(start))
}

/// Starts pods one after the other; the time from the request to Ready of each.
async fn pod_starts(world: &World) -> anyhow::Result<Vec<f64>> {
    let pods: Api<Pod> = Api::namespaced(world.client()?, "hello");
    let image = world.image().await?;
    let mut times = Vec::new();
    for number in 0..POD_STARTS {
        let name = format!("start-{number}");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "hello", "image": image}]},
        }))?;
        let version = pods.list(&ListParams::default().limit(1)).await?.metadata.resource_version.unwrap_or_default();
        let start = Instant::now();
        pods.create(&PostParams::default(), &pod).await?;
        await_ready(&pods, &name, &version).await?;
        times.push(millis(start));
        pods.delete(&name, &DeleteParams::default()).await?;
    }
    Ok(times)
}

async fn await_ready(pods: &Api<Pod>, name: &str, version: &str) -> anyhow::Result<()> {
    let events = pods.watch(&WatchParams::default().fields(&format!("metadata.name={name}")), version).await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event? {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True") {
                return Ok(());
            }
        }
    }
    anyhow::bail!("the watch of {name} ended before it was ready")
}

/// Resident memory of the engine, proportional memory of its shims, and the engine's share of a core.
async fn idle(world: &World, dir: &DataDir) -> anyhow::Result<(f64, f64, f64)> {
    let engine = world.engine_pid()?;
    let before = cpu_ticks(engine)?;
    tokio::time::sleep(IDLE).await;
    let ticks = cpu_ticks(engine)? - before;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as f64;
    let shims: f64 = shims(dir).into_iter().map(|pid| memory_mib(pid, "Pss:").unwrap_or(0.0)).sum();
    Ok((memory_mib(engine, "Rss:")?, shims, 100.0 * ticks as f64 / per_second / IDLE.as_secs_f64()))
}

fn shims(dir: &DataDir) -> Vec<i32> {
    let is_shim = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(7).any(|w| w == b"__shim\0"))
    };
    crate::leftovers::processes(dir).into_iter().map(|(pid, _)| pid).filter(is_shim).collect()
}

fn memory_mib(pid: i32, field: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {field} of process {pid}"))? / 1024.0)
}

/// User and system time of a process, in clock ticks.
fn cpu_ticks(pid: i32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok(fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?)
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        assert_eq!(super::percentile(&mut values, 50), 25.0);
        assert_eq!(super::percentile(&mut values, 99), 50.0);
        assert_eq!(super::percentile(&mut [7.0], 99), 7.0);
    }
}
