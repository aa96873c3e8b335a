//! What a render costs: charts by the real Helm and by ours as processes, and by ours once the chart is loaded.

use std::{
    fmt::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};

use super::peer::cpu_of;

/// Renders of a loaded chart are repeated for so long, and so often at the most.
const LOADED_SECONDS: f64 = 0.02;
const LOADED_RENDERS: u32 = 20;
/// The charts that are named: the slowest as a process, and those whose render takes the most memory.
const NAMED: usize = 5;

/// Runs a command and prints what it took; a process of its own each time, so that the largest child is the only one.
#[derive(Debug, Args)]
pub struct Measure {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

impl Measure {
    pub fn run(&self) -> anyhow::Result<()> {
        let status = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("starting {}", self.command[0]))?;
        ensure!(status.success(), "{} failed", self.command[0]);
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        println!("{} {}", cpu_of(&usage), usage.max_rss());
        Ok(())
    }
}

/// What one process took.
#[derive(Clone, Copy)]
pub struct Cost {
    pub cpu_seconds: f64,
    pub memory_kib: u64,
}

/// Runs a command; nothing if it fails.
pub fn measured(command: &[String]) -> anyhow::Result<Option<Cost>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["compare", "measure", "--"])
        .args(command)
        .output()
        .context("starting this program once more")?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (cpu, memory) = text.trim().split_once(' ').context("two numbers")?;
    Ok(Some(Cost { cpu_seconds: cpu.parse()?, memory_kib: memory.parse()? }))
}

/// The processor seconds of one render, of several in a row.
pub fn repeated(own_cpu_seconds: impl Fn() -> anyhow::Result<f64>, mut render: impl FnMut()) -> anyhow::Result<f64> {
    render();
    let before = own_cpu_seconds()?;
    let mut count = 0;
    loop {
        render();
        count += 1;
        let spent = own_cpu_seconds()? - before;
        if spent > LOADED_SECONDS || count == LOADED_RENDERS {
            return Ok(spent / f64::from(count));
        }
    }
}

/// One chart with its defaults.
pub struct Measured {
    pub name: String,
    pub theirs: Cost,
    pub ours: Cost,
    pub loaded_seconds: f64,
}

impl Measured {
    fn factor(&self) -> f64 {
        self.theirs.cpu_seconds / self.ours.cpu_seconds.max(1e-5)
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

fn milliseconds(seconds: f64) -> String {
    let millis = Duration::from_secs_f64(seconds).as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// The figures as a part of the page.
pub fn write(peer: &str, measured: &[Measured]) -> String {
    let mut text = format!(
        "\n## Speed and memory\n\nMade by `cargo xtask compare helm DIR --speed` over {} charts with their defaults, one after the \
         other: each by {peer}\nas a process, by `coracle render helm` as a process, and in process with the chart loaded. \
         User and system time.\n\n| | ours | {peer} | factor |\n|---|---|---|---|\n",
        measured.len()
    );
    let theirs = median(measured.iter().map(|chart| chart.theirs.cpu_seconds).collect());
    let mut row = |name: &str, ours: String, theirs: String, factor: f64| {
        let _ = writeln!(text, "| {name} | {ours} | {theirs} | {factor:.1} |");
    };
    let ours = median(measured.iter().map(|chart| chart.ours.cpu_seconds).collect());
    let factor = median(measured.iter().map(Measured::factor).collect());
    row("median chart, as a process", milliseconds(ours), milliseconds(theirs), factor);
    let loaded = median(measured.iter().map(|chart| chart.loaded_seconds).collect());
    let factor = median(measured.iter().map(|c| c.theirs.cpu_seconds / c.loaded_seconds.max(1e-6)).collect());
    row("median chart, ours loaded", milliseconds(loaded), milliseconds(theirs), factor);
    let sum = |of: fn(&Measured) -> f64| measured.iter().map(of).sum::<f64>();
    let (all_ours, all_theirs) = (sum(|chart| chart.ours.cpu_seconds), sum(|chart| chart.theirs.cpu_seconds));
    row("all charts", format!("{all_ours:.2} s"), format!("{all_theirs:.2} s"), all_theirs / all_ours.max(1e-5));
    let mut sorted: Vec<&Measured> = measured.iter().collect();
    sorted.sort_by(|a, b| a.factor().total_cmp(&b.factor()));
    for chart in sorted.iter().take(NAMED) {
        let (ours, theirs) = (milliseconds(chart.ours.cpu_seconds), milliseconds(chart.theirs.cpu_seconds));
        row(&format!("among the least: `{}`", chart.name), ours, theirs, chart.factor());
    }
    text.push_str("\n| memory at most | ours | real | share |\n|---|---|---|---|\n");
    sorted.sort_by_key(|chart| std::cmp::Reverse(chart.theirs.memory_kib));
    for chart in sorted.iter().take(NAMED) {
        let (ours, theirs) = (chart.ours.memory_kib as f64 / 1024.0, chart.theirs.memory_kib as f64 / 1024.0);
        let _ =
            writeln!(text, "| `{}` | {ours:.0} MiB | {theirs:.0} MiB | {:.2} |", chart.name, ours / theirs.max(0.1));
    }
    text
}
