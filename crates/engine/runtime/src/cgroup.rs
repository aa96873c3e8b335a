//! Control groups of both versions behind one door: make, limit, join, count, kill, remove.
//!
//! One path names a group in every hierarchy in use. On a version 1 (or hybrid) machine those are the controllers we set or read,
//! systemd's own hierarchy and the bare version 2 one, so that an init system does not take our containers for the engine's processes.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use coracle_kernel::device_filter::{self, DeviceRule};
use serde::{Deserialize, Serialize};

use crate::{spec::Resources, stats::Stats};

/// Version 1 controllers we set or read. Others stay with the engine's own group.
const V1_CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "devices", "name=systemd"];
const V2_CONTROLLERS: &str = "+cpu +memory +pids";
/// What the kernel's quota files count in.
const CPU_PERIOD_US: u64 = 100_000;
/// A group can be removed a moment after its last process has gone.
const REMOVE_ATTEMPTS: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// Where this machine has its control groups mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchies {
    /// Controller to mount point.
    pub v1: BTreeMap<String, PathBuf>,
    pub v2: Option<PathBuf>,
}

impl Hierarchies {
    pub fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(mount_point) = before.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut after = after.split(' ');
            match after.next() {
                Some("cgroup2") => found.v2 = found.v2.or(Some(mount_point)),
                Some("cgroup") => {
                    let options = after.nth(1).unwrap_or_default();
                    for controller in options.split(',').filter(|o| V1_CONTROLLERS.contains(o)) {
                        found.v1.entry(controller.to_owned()).or_insert_with(|| mount_point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Version 2 alone: it carries the limits.
    fn unified(&self) -> bool {
        !self.v1.contains_key("memory")
    }

    /// The group named `path` (absolute, as in `/proc/PID/cgroup`), whether it exists or not.
    pub fn group(&self, path: &str) -> Group {
        let relative = path.trim_start_matches('/');
        let mut v1: BTreeMap<String, PathBuf> = BTreeMap::new();
        if !self.unified() {
            v1.extend(self.v1.iter().map(|(controller, mount)| (controller.clone(), mount.join(relative))));
        }
        Group {
            v1,
            v2: self.v2.as_ref().map(|mount| mount.join(relative)),
            v2_mount: self.v2.clone(),
            unified: self.unified(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cgroup {path}: {source}")]
pub struct CgroupError {
    path: String,
    source: io::Error,
}

impl CgroupError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self { path: path.display().to_string(), source }
    }
}

/// One group, in every hierarchy.
#[derive(Debug, Clone)]
pub struct Group {
    v1: BTreeMap<String, PathBuf>,
    v2: Option<PathBuf>,
    v2_mount: Option<PathBuf>,
    unified: bool,
}

impl Group {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        // Co-mounted controllers share a directory; doing things to it twice does no harm.
        self.v1.values().chain(&self.v2)
    }

    pub fn create(&self) -> Result<(), CgroupError> {
        for directory in self.directories() {
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(directory).map_err(CgroupError::at(directory))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(CgroupError::at(directory))?,
            }
        }
        if let (true, Some(directory), Some(mount)) = (self.unified, &self.v2, &self.v2_mount) {
            let mut ancestors: Vec<&Path> =
                directory.ancestors().skip(1).take_while(|a| a.starts_with(mount)).collect();
            ancestors.reverse();
            for ancestor in ancestors {
                let file = ancestor.join("cgroup.subtree_control");
                let enabled = fs::read_to_string(&file).map_err(CgroupError::at(&file))?;
                if !["cpu", "memory", "pids"].iter().all(|c| enabled.split_whitespace().any(|e| e == *c)) {
                    fs::write(&file, V2_CONTROLLERS).map_err(CgroupError::at(&file))?;
                }
            }
        }
        Ok(())
    }

    pub fn limit(&self, resources: &Resources) -> Result<(), CgroupError> {
        for (file, value) in if self.unified { self.v2_settings(resources) } else { self.v1_settings(resources) } {
            fs::write(&file, value).map_err(CgroupError::at(&file))?;
        }
        Ok(())
    }

    fn v1_settings(&self, resources: &Resources) -> Vec<(PathBuf, String)> {
        let mut settings = Vec::new();
        let mut set = |controller: &str, file: &str, value: Option<u64>| {
            if let (Some(directory), Some(value)) = (self.v1.get(controller), value) {
                settings.push((directory.join(file), value.to_string()));
            }
        };
        set("cpu", "cpu.shares", resources.cpu_shares);
        set("cpu", "cpu.cfs_period_us", resources.cpu_quota_us.map(|_| CPU_PERIOD_US));
        set("cpu", "cpu.cfs_quota_us", resources.cpu_quota_us);
        set("memory", "memory.limit_in_bytes", resources.memory_limit_bytes);
        set("pids", "pids.max", resources.pids_limit);
        settings
    }

    fn v2_settings(&self, resources: &Resources) -> Vec<(PathBuf, String)> {
        let Some(directory) = &self.v2 else { return Vec::new() };
        let mut settings = Vec::new();
        let mut set =
            |file: &str, value: Option<String>| settings.extend(value.map(|value| (directory.join(file), value)));
        set("cpu.weight", resources.cpu_shares.map(|shares| weight_from_shares(shares).to_string()));
        set("cpu.max", resources.cpu_quota_us.map(|quota| format!("{quota} {CPU_PERIOD_US}")));
        set("memory.max", resources.memory_limit_bytes.map(|bytes| bytes.to_string()));
        set("pids.max", resources.pids_limit.map(|pids| pids.to_string()));
        settings
    }

    /// One process over the limit takes the whole container with it, as the kubelet asks for. Version 2 only.
    pub fn kill_as_one(&self) -> Result<(), CgroupError> {
        if let (true, Some(directory)) = (self.unified, &self.v2) {
            let file = directory.join("memory.oom.group");
            fs::write(&file, "1").map_err(CgroupError::at(&file))?;
        }
        Ok(())
    }

    /// Refuses all devices but those of `rules`.
    pub fn allow_devices(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        if let (true, Some(directory)) = (self.unified, &self.v2) {
            let group = fs::File::open(directory).map_err(CgroupError::at(directory))?;
            return device_filter::attach(group.as_fd(), rules).map_err(CgroupError::at(directory));
        }
        let Some(directory) = self.v1.get("devices") else { return Ok(()) };
        let deny = directory.join("devices.deny");
        fs::write(&deny, "a").map_err(CgroupError::at(&deny))?;
        let allow = directory.join("devices.allow");
        for rule in rules {
            fs::write(&allow, v1_device_line(rule)).map_err(CgroupError::at(&allow))?;
        }
        Ok(())
    }

    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        for directory in self.directories() {
            let file = directory.join("cgroup.procs");
            fs::write(&file, pid.to_string()).map_err(CgroupError::at(&file))?;
        }
        Ok(())
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = match (self.unified, &self.v2) {
            (true, Some(directory)) => directory.join("memory.events"),
            _ => self.v1.get("memory").map(|d| d.join("memory.oom_control")).unwrap_or_default(),
        };
        keyed(&fs::read_to_string(file).unwrap_or_default(), "oom_kill").unwrap_or(0)
    }

    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let read = |directory: Option<&PathBuf>, file: &str| {
            let path = directory.cloned().unwrap_or_default().join(file);
            fs::read_to_string(&path).map_err(CgroupError::at(&path))
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        if self.unified {
            let directory = self.v2.as_ref();
            let usage = number(read(directory, "memory.current")?);
            let memory = read(directory, "memory.stat")?;
            return Ok(Stats {
                cpu_usage_ns: keyed(&read(directory, "cpu.stat")?, "usage_usec").unwrap_or(0) * 1000,
                memory_usage_bytes: usage,
                memory_working_set_bytes: usage.saturating_sub(keyed(&memory, "inactive_file").unwrap_or(0)),
                memory_rss_bytes: keyed(&memory, "anon").unwrap_or(0),
                page_faults: keyed(&memory, "pgfault").unwrap_or(0),
                major_page_faults: keyed(&memory, "pgmajfault").unwrap_or(0),
                pids: number(read(directory, "pids.current")?),
            });
        }
        let usage = number(read(self.v1.get("memory"), "memory.usage_in_bytes")?);
        let memory = read(self.v1.get("memory"), "memory.stat")?;
        Ok(Stats {
            cpu_usage_ns: number(read(self.v1.get("cpuacct"), "cpuacct.usage")?),
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(keyed(&memory, "total_inactive_file").unwrap_or(0)),
            memory_rss_bytes: keyed(&memory, "total_rss").unwrap_or(0),
            page_faults: keyed(&memory, "total_pgfault").unwrap_or(0),
            major_page_faults: keyed(&memory, "total_pgmajfault").unwrap_or(0),
            pids: read(self.v1.get("pids"), "pids.current").map(number).unwrap_or(0),
        })
    }

    /// Everything in the group, not in groups below it.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .directories()
            .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    pub fn exists(&self) -> bool {
        self.directories().any(|directory| directory.exists())
    }

    /// SIGKILL to all in the group and below it. At once where the kernel can, else round by round: a process may fork meanwhile.
    pub fn kill(&self) {
        if let Some(directory) = &self.v2
            && fs::write(directory.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for group in self.with_descendants() {
            for pid in group.processes() {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
    }

    /// This group and all below it, deepest first.
    fn with_descendants(&self) -> Vec<Group> {
        let mut names: Vec<std::ffi::OsString> = self
            .directories()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        names.dedup();
        let mut groups: Vec<Group> = names.iter().flat_map(|name| self.child(name).with_descendants()).collect();
        groups.push(self.clone());
        groups
    }

    fn child(&self, name: &std::ffi::OsStr) -> Group {
        Group {
            v1: self.v1.iter().map(|(controller, directory)| (controller.clone(), directory.join(name))).collect(),
            v2: self.v2.as_ref().map(|directory| directory.join(name)),
            v2_mount: self.v2_mount.clone(),
            unified: self.unified,
        }
    }

    /// Removes the group's directories, killing what is left in them. Groups below it must be gone.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for directory in self.directories() {
            let mut attempt = 0;
            while let Err(error) = fs::remove_dir(directory) {
                match error.kind() {
                    io::ErrorKind::NotFound => break,
                    io::ErrorKind::ResourceBusy if attempt < REMOVE_ATTEMPTS => {
                        self.kill();
                        std::thread::sleep(REMOVE_PAUSE);
                        attempt += 1;
                    }
                    _ => return Err(CgroupError::at(directory)(error)),
                }
            }
        }
        Ok(())
    }

    /// Removes the group and all below it.
    pub fn remove_tree(&self) -> Result<(), CgroupError> {
        self.with_descendants().iter().try_for_each(Group::remove)
    }
}

/// The mapping all runtimes use: 2..=262144 shares to 1..=10000.
fn weight_from_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn v1_device_line(rule: &DeviceRule) -> String {
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    let mut access = String::new();
    for (wanted, letter) in [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')] {
        if wanted {
            access.push(letter);
        }
    }
    format!("{} {}:{} {access}", if rule.character { 'c' } else { 'b' }, number(rule.major), number(rule.minor))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn hierarchies_are_read_from_mountinfo() {
        let hybrid = "\
30 25 0:26 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio";
        let found = Hierarchies::parse(hybrid);
        expect![[r#"
            {
              "v1": {
                "cpu": "/sys/fs/cgroup/cpu,cpuacct",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
                "memory": "/sys/fs/cgroup/memory",
                "name=systemd": "/sys/fs/cgroup/systemd"
              },
              "v2": "/sys/fs/cgroup/unified"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&found).unwrap());
        assert!(!found.unified());
        assert!(Hierarchies::parse("29 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").unified());
    }

    #[test]
    fn limits_are_spelled_as_each_version_wants() {
        let resources = Resources {
            cpu_shares: Some(102),
            cpu_quota_us: Some(50_000),
            memory_limit_bytes: Some(1 << 20),
            pids_limit: Some(7),
        };
        let spell = |hierarchies: Hierarchies| {
            let group = hierarchies.group("/coracle-1/x");
            let settings = if group.unified { group.v2_settings(&resources) } else { group.v1_settings(&resources) };
            settings.iter().map(|(file, value)| format!("{} {value}\n", file.display())).collect::<String>()
        };
        expect![[r#"
            /cg/coracle-1/x/cpu.weight 4
            /cg/coracle-1/x/cpu.max 50000 100000
            /cg/coracle-1/x/memory.max 1048576
            /cg/coracle-1/x/pids.max 7
        "#]]
        .assert_eq(&spell(Hierarchies { v1: BTreeMap::new(), v2: Some("/cg".into()) }));
        let v1 = ["cpu", "memory", "pids"].map(|c| (c.to_owned(), Path::new("/cg").join(c)));
        expect![[r#"
            /cg/cpu/coracle-1/x/cpu.shares 102
            /cg/cpu/coracle-1/x/cpu.cfs_period_us 100000
            /cg/cpu/coracle-1/x/cpu.cfs_quota_us 50000
            /cg/memory/coracle-1/x/memory.limit_in_bytes 1048576
            /cg/pids/coracle-1/x/pids.max 7
        "#]]
        .assert_eq(&spell(Hierarchies { v1: v1.into(), v2: None }));
    }

    #[test]
    fn device_lines() {
        let null = DeviceRule { character: true, major: Some(1), minor: Some(3), read: true, write: true, mknod: true };
        assert_eq!(v1_device_line(&null), "c 1:3 rwm");
        assert_eq!(
            v1_device_line(&DeviceRule { major: None, minor: None, read: false, write: false, ..null }),
            "c *:* m"
        );
    }
}
