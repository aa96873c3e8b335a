//! Taking away what an engine leaves on the machine when its process is gone: containers, mounts, namespaces, cgroups, files.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{leftovers, paths::DataDir};

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long the apps may take to end by themselves when their data is kept.
const GRACE: Duration = Duration::from_secs(10);

/// Ends every process of ours, then takes away the mounts and cgroups they lived in. Files stay.
/// With `gently`, the containers are asked to end first.
pub fn containers(dir: &DataDir, gently: bool) -> anyhow::Result<()> {
    if gently {
        ask_to_end(dir);
    }
    end_processes(dir)?;
    // Inner mounts come later in the kernel's table than what they are mounted on.
    for point in leftovers::mounts(dir).iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", point.display()))?;
    }
    for cgroup in leftovers::cgroups(&dir.instance()) {
        remove_cgroup(&cgroup)?;
    }
    Ok(())
}

/// Removes the data directory, once nothing runs in it.
pub fn files(dir: &DataDir) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir.root()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.root().display()))
        }
        _ => Ok(()),
    }
}

/// SIGTERM to the first process of each container, and a moment to heed it.
fn ask_to_end(dir: &DataDir) {
    let mains: Vec<i32> = leftovers::processes(dir)
        .into_iter()
        .map(|(pid, _)| pid)
        .filter(|pid| is_first_of_its_namespace(*pid))
        .collect();
    for pid in &mains {
        kill(Pid::from_raw(*pid), Signal::SIGTERM).ok();
    }
    let start = Instant::now();
    while start.elapsed() < GRACE && mains.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether a process is number 1 in a process namespace below this one.
pub fn is_first_of_its_namespace(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    ids.split_whitespace().count() > 1 && ids.split_whitespace().last() == Some("1")
}

/// Kills until nobody is left: a process may have been starting another one.
fn end_processes(dir: &DataDir) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let left = leftovers::processes(dir);
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("these processes do not end: {left:?}");
        }
        for (pid, _) in left {
            // It may have ended by itself since.
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Removes a cgroup and those below it; the kernel takes a moment to let go of one whose last process has just ended.
fn remove_cgroup(path: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    let start = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(LOOK_AGAIN),
            Err(error) => return Err(error).with_context(|| format!("removing cgroup {}", path.display())),
        }
    }
}
