//! The steps, in the order they are told, and what must hold after each.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{
    load::{Load, spread},
    processes,
    repository::Repository,
    world::World,
};
use crate::{
    cli::Down,
    commands::down,
    leftovers,
    paths::DataDir,
    print::{self, Colour},
};

const REQUESTS: usize = 600;
const FAIR_SHARE_PERCENT: std::ops::RangeInclusive<f64> = 25.0..=42.0;

/// The telling: a line a step, with its time.
pub struct Story {
    steps: usize,
    began: Instant,
    details: Vec<String>,
}

impl Story {
    pub fn begin() -> Self {
        Self { steps: 0, began: Instant::now(), details: Vec::new() }
    }

    /// Tells one step; the error of a step that does not hold names it.
    pub fn step<T>(&mut self, what: &str, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = self.announce(what);
        let result = act();
        self.conclude(what, start, result)
    }

    /// The same for a step that waits.
    pub async fn step_async<T>(
        &mut self,
        what: &str,
        act: impl AsyncFnOnce(&mut Vec<String>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = self.announce(what);
        let mut details = Vec::new();
        let result = act(&mut details).await;
        self.details = details;
        self.conclude(what, start, result)
    }

    fn announce(&mut self, what: &str) -> Instant {
        self.steps += 1;
        println!("{:>4}  {}", self.steps, print::coloured(Colour::Bold, what));
        Instant::now()
    }

    fn conclude<T>(&mut self, what: &str, start: Instant, result: anyhow::Result<T>) -> anyhow::Result<T> {
        let took = start.elapsed().as_secs_f64();
        for detail in self.details.drain(..) {
            println!("      {detail}");
        }
        match &result {
            Ok(_) => println!("      {} {took:.2} s", print::coloured(Colour::Green, "holds")),
            Err(error) => println!("      {} {took:.2} s: {error:#}", print::coloured(Colour::Red, "does not hold")),
        }
        result.with_context(|| format!("step {} ({what}) does not hold", self.steps))
    }

    pub fn end(&self) {
        println!("\n{} steps in {:.1} s", self.steps, self.began.elapsed().as_secs_f64());
    }
}

/// Steps 1 to 9.
pub async fn tell(story: &mut Story, mut world: World) -> anyhow::Result<()> {
    story.step_async("the engine starts", async |said| world.start(said).await).await?;
    let repository = Repository::create(world.workspace(), &world.remote()?)?;
    let first = repository.head()?;

    story
        .step_async("git push of a Dockerfile and an app", async |said| {
            let pushed = repository.push(&["--set-upstream", "origin", "main"])?;
            ensure!(pushed.succeeded, "git push failed");
            for word in ["remote:", "sha256:", "ready", "healthy", &world.app_url()] {
                ensure!(pushed.output.contains(word), "the push output does not say {word:?}");
            }
            world.await_app(3, "teal").await?;
            said.push(format!("the app answers at {}", world.app_url()));
            Ok(())
        })
        .await?;
    story.step_async("600 requests are balanced over 3 replicas", async |said| balanced(&world, said)).await?;
    story.step_async("a replica is killed under load", async |said| crash(&world, said).await).await?;
    story.step_async("the engine is killed under load", async |said| adopt(&mut world, said).await).await?;
    story
        .step_async("a commit with manifests: 5 replicas in purple, rolled out under load", async |said| {
            manifests(&repository, "purple", None)?;
            repository.commit("Bring our own manifests")?;
            let load = Load::start(&world.gateway()?);
            let pushed = repository.push(&["origin", "main"]);
            let arrived = world.await_app(5, "purple").await;
            let answered = load.stop().all_answered()?;
            ensure!(pushed?.succeeded, "git push failed");
            arrived?;
            said.push(format!("{answered} requests meanwhile, none failed"));
            Ok(())
        })
        .await?;
    story
        .step_async("a commit whose app exits at start", async |said| {
            manifests(&repository, "red", Some("no configuration in /etc/hello"))?;
            repository.commit("Read the configuration from a file")?;
            let load = Load::start(&world.gateway()?);
            let pushed = repository.push(&["origin", "main"])?;
            let answered = load.stop().all_answered()?;
            for word in ["fatal: no configuration in /etc/hello", "BackOff", "still"] {
                ensure!(pushed.output.contains(word), "the push output does not say {word:?}");
            }
            world.await_app(5, "purple").await?;
            said.push(format!("the old version answered all {answered} requests meanwhile"));
            Ok(())
        })
        .await?;
    story
        .step_async("git revert, then the first commit again", async |said| {
            repository.git(&["revert", "--no-edit", "HEAD"])?;
            let reverted = repository.push(&["origin", "main"])?;
            ensure!(reverted.succeeded, "git push of the revert failed");
            world.await_app(5, "purple").await?;
            let start = Instant::now();
            let back = repository.push(&["--force", "origin", &format!("{first}:main")])?;
            ensure!(back.succeeded, "git push of the first commit failed");
            world.await_app(3, "teal").await?;
            said.push(format!("the first commit was back in {:.2} s", start.elapsed().as_secs_f64()));
            for (name, pushed) in [("revert", &reverted), ("first commit", &back)] {
                ensure!(!pushed.output.contains("COPY"), "the {name} was built again");
            }
            Ok(())
        })
        .await?;
    story.step_async("somebody scales it by hand", async |said| drift(&world, said).await).await
}

fn balanced(world: &World, said: &mut Vec<String>) -> anyhow::Result<()> {
    let pods = spread(&world.gateway()?, REQUESTS)?;
    ensure!(pods.len() == 3, "{} pods answered instead of 3: {pods:?}", pods.len());
    for (pod, count) in &pods {
        let percent = 100.0 * *count as f64 / REQUESTS as f64;
        ensure!(FAIR_SHARE_PERCENT.contains(&percent), "{pod} answered {percent:.1} % of the requests");
        said.push(format!("{pod}  {percent:.1} %"));
    }
    Ok(())
}

async fn crash(world: &World, said: &mut Vec<String>) -> anyhow::Result<()> {
    let pod = world.pods().await?.into_iter().next().context("no pod")?;
    let victim = *processes::of_pod(&pod.uid).first().context("the pod has no process")?;
    let load = Load::start(&world.gateway()?);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let start = Instant::now();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL)?;
    let back = world.await_restart(&pod).await;
    let took = start.elapsed();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answered = load.stop().all_answered()?;
    back?;
    said.push(format!("process {victim} of {} killed; ready again after {} ms", pod.name, took.as_millis()));
    said.push(format!("{answered} requests meanwhile, none failed"));
    Ok(())
}

async fn adopt(world: &mut World, said: &mut Vec<String>) -> anyhow::Result<()> {
    let before = world.pods().await?;
    let pids = |pods: &[super::world::PodFacts]| -> Vec<Vec<i32>> {
        pods.iter().map(|pod| processes::of_pod(&pod.uid)).collect()
    };
    let pids_before = pids(&before);
    let load = Load::start(&world.service().await?);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.kill_engine()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pids_orphaned = pids(&before);
    let killed = world.engine_pid()?;
    world.start(said).await?;
    ensure!(world.engine_pid()? != killed, "the engine that was killed still speaks");
    let after = world.await_settled(before.len()).await;
    let answered = load.stop().all_answered()?;
    let after = after?;
    ensure!(pids_orphaned == pids_before, "the containers' processes changed: {pids_before:?}, then {pids_orphaned:?}");
    ensure!(pids(&after) == pids_before, "the containers were started anew: {pids_before:?}, then {:?}", pids(&after));
    ensure!(before == after, "the pods changed: {before:?}, then {after:?}");
    said.push(format!("all {} pods were adopted with their processes, restart counts unchanged", after.len()));
    said.push(format!("{answered} requests to the service meanwhile, none failed"));
    Ok(())
}

async fn drift(world: &World, said: &mut Vec<String>) -> anyhow::Result<()> {
    let start = Instant::now();
    world.scale(1).await?;
    world.await_drift_healed(3).await?;
    said.push(format!("scaled to 1 by hand: noticed and put right after {} ms", start.elapsed().as_millis()));
    world.set_self_heal(false).await?;
    world.scale(2).await?;
    world.await_sync("OutOfSync").await?;
    world.await_replicas(2).await?;
    said.push("with self-heal off: shown as OutOfSync, and left at 2".to_owned());
    world.set_self_heal(true).await?;
    world.await_drift_healed(3).await
}

fn manifests(repository: &Repository, colour: &str, failure: Option<&str>) -> anyhow::Result<()> {
    let failure = failure
        .map(|reason| format!("\n            - name: FAIL_AT_START\n              value: {reason}"))
        .unwrap_or_default();
    repository.write("kustomization.yaml", include_str!("manifests/kustomization.yaml"))?;
    repository.write("service.yaml", include_str!("manifests/service.yaml"))?;
    repository.write("ingress.yaml", include_str!("manifests/ingress.yaml"))?;
    let deployment =
        include_str!("manifests/deployment.yaml").replace("COLOUR_VALUE", colour).replace("FAILURE", &failure);
    repository.write("deployment.yaml", &deployment)
}

/// Step 10.
pub fn purge(dir: &DataDir) -> anyhow::Result<()> {
    down::run(dir, Down { purge: true })?;
    let left = leftovers::find(dir);
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}
