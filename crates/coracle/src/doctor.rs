//! What this machine lacks, and what to do about it.

use std::{fs, path::Path};

use anyhow::bail;
use nix::sched::CloneFlags;
use serde::Serialize;

use crate::{cli::Output, paths::DataDir, print};

/// For clone3, openat2 and mount_setattr.
const MIN_KERNEL: (u32, u32) = (5, 12);
const MIN_FREE_BYTES: u64 = 1 << 30;
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "devices"];

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It works, with less.
    Warning,
    /// The engine cannot run.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do, where something is missing.
    pub remedy: &'static str,
}

/// Prints every check; fails where the engine could not run.
pub fn run(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let checks = examine(dir);
    if output.json {
        print::json(&checks)?;
    } else {
        for check in &checks {
            let (mark, colour) = match check.outcome {
                Outcome::Ok => ("ok", print::Colour::Green),
                Outcome::Warning => ("warning", print::Colour::Yellow),
                Outcome::Missing => ("missing", print::Colour::Red),
            };
            println!("{} {:<12} {}", print::coloured(colour, &format!("{mark:>7}")), check.name, check.found);
            if check.outcome != Outcome::Ok {
                println!("{:>20} -> {}", "", check.remedy);
            }
        }
    }
    require(&checks)
}

/// Fails with everything that keeps the engine from running, in words.
pub fn require(checks: &[Check]) -> anyhow::Result<()> {
    let missing: Vec<String> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Missing)
        .map(|check| format!("  {}: {}\n    {}", check.name, check.found, check.remedy))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine cannot run the engine yet:\n{}", missing.join("\n"))
}

/// Looks at everything the engine needs.
pub fn examine(dir: &DataDir) -> Vec<Check> {
    vec![privileges(), kernel(), namespaces(), overlay(), cgroups(), packet_filter(), disk(dir), open_files()]
}

fn check(name: &'static str, outcome: Outcome, found: impl Into<String>, remedy: &'static str) -> Check {
    Check { name, outcome, found: found.into(), remedy }
}

fn privileges() -> Check {
    let user = nix::unistd::geteuid();
    let outcome = if user.is_root() { Outcome::Ok } else { Outcome::Missing };
    check("privileges", outcome, format!("user id {user}"), "run it as root, for example with sudo")
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.trim().parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let outcome = if version >= MIN_KERNEL { Outcome::Ok } else { Outcome::Missing };
    check("kernel", outcome, format!("Linux {}", release.trim()), "Linux 5.12 or newer is needed: upgrade the system")
}

/// Tries each kind of namespace on a thread of its own, which takes them with it when it ends.
fn namespaces() -> Check {
    let kinds = [
        ("net", CloneFlags::CLONE_NEWNET),
        ("mnt", CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
    ];
    let refused: Vec<String> = kinds
        .into_iter()
        .filter_map(|(name, flags)| {
            let tried = std::thread::spawn(move || nix::sched::unshare(flags & !CloneFlags::CLONE_FS)).join();
            match tried {
                Ok(Ok(())) => None,
                Ok(Err(errno)) => Some(format!("{name} ({})", errno.desc())),
                Err(_) => Some(format!("{name} (the probe died)")),
            }
        })
        .collect();
    let remedy =
        "run on the machine itself, or in a container with --privileged, with namespaces enabled in the kernel";
    if refused.is_empty() {
        check("namespaces", Outcome::Ok, "net, mnt, pid, ipc and uts can be made", remedy)
    } else {
        check("namespaces", Outcome::Missing, format!("cannot make: {}", refused.join(", ")), remedy)
    }
}

fn overlay() -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let remedy = "load it with `modprobe overlay`";
    if known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        check("overlay", Outcome::Ok, "overlay file system present", remedy)
    } else {
        check("overlay", Outcome::Missing, "no overlay file system in /proc/filesystems", remedy)
    }
}

fn cgroups() -> Check {
    let remedy = "mount cgroups (systemd does); on cgroup v2 the root must offer cpu, memory and pids";
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers");
    let (version, present): (_, Vec<String>) = match fs::read_to_string(unified) {
        Ok(list) => ("v2", list.split_whitespace().map(str::to_owned).collect()),
        Err(_) => {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            let v1 = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup"));
            (
                "v1",
                v1.flat_map(|line| line.split(' ').nth(3).unwrap_or_default().split(',')).map(str::to_owned).collect(),
            )
        }
    };
    let needed = CONTROLLERS.iter().filter(|name| version == "v1" || **name != "devices");
    let absent: Vec<&str> = needed.filter(|name| !present.iter().any(|p| p == *name)).copied().collect();
    if absent.is_empty() {
        check("cgroups", Outcome::Ok, format!("cgroup {version} with cpu, memory and pids"), remedy)
    } else {
        check("cgroups", Outcome::Missing, format!("cgroup {version} without {}", absent.join(", ")), remedy)
    }
}

/// A netfilter socket is refused where the kernel has no support for it at all.
fn packet_filter() -> Check {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let remedy = "load it with `modprobe nf_tables`; without it services are not balanced in the kernel";
    match socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter) {
        Ok(_) => check("nftables", Outcome::Ok, "netfilter answers", remedy),
        Err(errno) => check("nftables", Outcome::Missing, format!("no netfilter: {}", errno.desc()), remedy),
    }
}

fn disk(dir: &DataDir) -> Check {
    let remedy = "free some space, or choose another place with --data-dir";
    let existing = dir.root().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let outcome = if free < MIN_FREE_BYTES { Outcome::Warning } else { Outcome::Ok };
            check("disk", outcome, format!("{} MiB free at {}", free >> 20, existing.display()), remedy)
        }
        Err(errno) => check("disk", Outcome::Warning, format!("{}: {}", existing.display(), errno.desc()), remedy),
    }
}

fn open_files() -> Check {
    const ENOUGH: u64 = 8192;
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let outcome = if hard < ENOUGH { Outcome::Warning } else { Outcome::Ok };
    check("open files", outcome, format!("up to {hard}"), "raise the limit, for example with `ulimit -Hn 65536`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let checks = [
            check("kernel", Outcome::Ok, "Linux 6", "upgrade"),
            check("privileges", Outcome::Missing, "user id 1000", "run it as root"),
        ];
        expect_test::expect![[r#"
            this machine cannot run the engine yet:
              privileges: user id 1000
                run it as root"#]]
        .assert_eq(&require(&checks).unwrap_err().to_string());
    }
}
