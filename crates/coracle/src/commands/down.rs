//! `coracle down`: ends the engine and its containers; with `--purge` nothing of them stays.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cli::Down,
    engine::teardown,
    leftovers,
    paths::DataDir,
    state::{self},
};

/// How long the engine may take to end by itself.
const GRACE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub fn run(dir: &DataDir, down: Down) -> anyhow::Result<()> {
    if !dir.root().exists() {
        let left = leftovers::find(dir);
        if left.is_empty() {
            println!("nothing to do: there is no {}", dir.root().display());
            return Ok(());
        }
    }
    quietly(dir, down)?;
    if down.purge {
        println!("stopped, and nothing is left of {}", dir.root().display());
    } else {
        println!("stopped. Everything is kept in {}; `coracle up` starts it again", dir.root().display());
    }
    Ok(())
}

/// Does it without a word, but for what goes wrong.
pub fn quietly(dir: &DataDir, down: Down) -> anyhow::Result<()> {
    stop_engine(dir)?;
    teardown::containers(dir, !down.purge).context("ending the containers")?;
    if !down.purge {
        return Ok(());
    }
    teardown::files(dir)?;
    let left = leftovers::find(dir);
    if !left.is_empty() {
        bail!("these are left:\n  {}", left.join("\n  "));
    }
    Ok(())
}

/// Ends the engine's own process; its containers go on.
pub fn stop_engine(dir: &DataDir) -> anyhow::Result<()> {
    let Some(state) = state::running(dir) else { return Ok(()) };
    let pid = Pid::from_raw(state.pid);
    kill(pid, Signal::SIGTERM).with_context(|| format!("ending process {pid}"))?;
    let start = Instant::now();
    while state::is_running(dir) {
        if start.elapsed() > GRACE {
            kill(pid, Signal::SIGKILL).ok();
        }
        if start.elapsed() > GRACE * 2 {
            bail!("process {pid} does not end");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
