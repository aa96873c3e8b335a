//! One run of a program: what it printed, and the CPU time it took.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};

/// What a run gave. Runs must not overlap: the CPU time is that of all children since the last.
pub struct Run {
    pub succeeded: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub cpu: Duration,
}

pub fn run(command: &[String], argument: &str) -> anyhow::Result<Run> {
    let (program, arguments) = command.split_first().context("an empty command")?;
    let before = children_cpu()?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(argument)
        // Nothing is fetched: what would be fails at once, with both.
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let mut errors = child.stderr.take().context("the error output was asked for")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stdout = Vec::new();
    child.stdout.take().context("the output was asked for")?.read_to_end(&mut stdout)?;
    let status = child.wait()?;
    let stderr = reader.join().map_err(|_| anyhow::anyhow!("reading {program}'s errors"))??;
    Ok(Run {
        succeeded: status.success(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        cpu: children_cpu()?.saturating_sub(before),
    })
}

fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |seconds: i64, micros: i64| Duration::from_micros((seconds * 1_000_000 + micros).unsigned_abs());
    let (user, system) = (usage.user_time(), usage.system_time());
    Ok(micros(user.tv_sec(), user.tv_usec()) + micros(system.tv_sec(), system.tv_usec()))
}
