//! What processes have used so far, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context;

/// The kernel's clock for processor time, on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of processes together, all their threads, in user space and in the kernel.
pub fn processor(pids: &[u32]) -> anyhow::Result<Duration> {
    let ticks = pids.iter().map(|pid| ticks(*pid)).sum::<anyhow::Result<u64>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; what follows its closing parenthesis are numbers, user and system time the 12th and 13th.
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let mut times = numbers.split_whitespace().skip(11);
    let mut next = || times.next().context("a process has times")?.parse::<u64>().map_err(anyhow::Error::from);
    Ok(next()? + next()?)
}

/// Resident memory of processes together, in MiB.
pub fn resident_mib(pids: &[u32]) -> anyhow::Result<f64> {
    pids.iter().map(|pid| resident_kib(*pid)).sum::<anyhow::Result<f64>>().map(|kib| kib / 1024.0)
}

fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
