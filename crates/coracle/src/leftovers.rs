//! What of an engine is still on this machine: looked for in the kernel's own lists, not in ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::paths::DataDir;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Hybrid hierarchies put ours one level below the controller's mount.
const CGROUP_DEPTH: usize = 3;

/// Everything that is left, a line each.
pub fn find(dir: &DataDir) -> Vec<String> {
    let mut left: Vec<String> =
        processes(dir).into_iter().map(|(pid, name)| format!("process {pid} ({name})")).collect();
    left.extend(mounts(dir).into_iter().map(|path| format!("mount {}", path.display())));
    left.extend(cgroups(&dir.instance()).into_iter().map(|path| format!("cgroup {}", path.display())));
    if dir.root().exists() {
        left.push(format!("directory {}", dir.root().display()));
    }
    left
}

/// Processes in our cgroups, and shims that hold files of ours open; not this one.
pub fn processes(dir: &DataDir) -> Vec<(i32, String)> {
    let instance = dir.instance();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        if pid == i32::try_from(std::process::id()).ok()? {
            return None;
        }
        let cgroups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let is_shim = command.windows(7).any(|word| word == b"__shim\0");
        let ours =
            cgroups.lines().any(|line| line.contains(&instance)) || is_shim && holds_files(&entry.path(), dir.root());
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        ours.then(|| (pid, name.trim().to_owned()))
    })
    .collect()
}

/// Whether a process has files below `root` open; a shim's command line names none of them.
fn holds_files(process: &Path, root: &Path) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|target| target.starts_with(root))
}

/// Mount points below the data directory; network namespaces are among them, since they are kept by mounts.
pub fn mounts(dir: &DataDir) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    points.filter(|point| point.starts_with(dir.root())).collect()
}

/// Our cgroup directories, in every hierarchy.
pub fn cgroups(instance: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(Path::new(CGROUP_ROOT), instance, CGROUP_DEPTH, &mut found);
    found
}

fn collect(dir: &Path, instance: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(instance) {
            found.push(entry.path());
        } else if depth > 1 {
            collect(&entry.path(), instance, depth - 1, found);
        }
    }
}

/// The kernel writes space, tab, newline and backslash in mount points as octal escapes.
fn unescape(point: &str) -> PathBuf {
    let mut plain = String::with_capacity(point.len());
    let mut rest = point;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        plain.push(code.map_or('\\', char::from));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape(r"/a\040b/c\134d"), PathBuf::from(r"/a b/c\d"));
        assert_eq!(unescape("/plain"), PathBuf::from("/plain"));
    }

    #[test]
    fn a_directory_that_is_there_is_left() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temporary.path()).unwrap();
        assert_eq!(find(&dir), [format!("directory {}", temporary.path().display())]);
    }
}
