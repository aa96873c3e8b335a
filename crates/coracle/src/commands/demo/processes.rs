//! The containers' processes as the machine sees them, found without asking the engine.

use std::fs;

use crate::engine::teardown::is_first_of_its_namespace;

/// The main processes of a pod's containers: those in its cgroups that are process 1 of their own namespace.
pub fn of_pod(uid: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<i32> =
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| is_main(*pid, uid)).collect();
    found.sort_unstable();
    found
}

fn is_main(pid: i32, uid: &str) -> bool {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroups.lines().any(|line| line.contains(uid)) && is_first_of_its_namespace(pid)
}
