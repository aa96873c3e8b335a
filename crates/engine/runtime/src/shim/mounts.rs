//! What a container sees mounted: kernel file systems, devices, volumes; and what is hidden from it.
//!
//! Targets are found with `openat2` inside the root, so no symbolic link of an image leads out of it; mounts are attached to the
//! descriptor that was found, so nothing can be swapped in between.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
};

use coracle_kernel::{
    device_filter::DeviceRule,
    mount::{Attributes, Sharing, set_attributes},
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

use crate::{
    cgroup::Hierarchies,
    rooted::{Rooted, split},
    spec::{Mount, MountKind, Propagation},
};

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Name, major, minor: what every container may use.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const DEV_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];
/// Directories of the node's `/dev` that a container has of its own.
const OWN_DEV_DIRECTORIES: [&str; 4] = ["pts", "shm", "mqueue", "fd"];

/// The device group's allow list. Every node may be made, few may be opened.
pub(super) fn device_rules(privileged: bool) -> Vec<DeviceRule> {
    let any = |character| DeviceRule {
        character,
        major: None,
        minor: None,
        read: privileged,
        write: privileged,
        mknod: true,
    };
    let mut rules = vec![any(true), any(false)];
    if privileged {
        return rules;
    }
    // The list above, then the terminal multiplexer and the terminals it makes.
    let opened = DEVICES.iter().map(|(_, major, minor)| (*major, Some(*minor))).chain([(5, Some(2)), (136, None)]);
    rules.extend(opened.map(|(major, minor)| DeviceRule {
        character: true,
        major: Some(major),
        minor,
        read: true,
        write: true,
        mknod: true,
    }));
    rules
}

/// The source of a bind mount, taken while still among the node's mounts, so that it stays their peer.
pub(super) struct Tree {
    fd: OwnedFd,
    directory: bool,
}

impl Tree {
    /// A detached copy of what is at `source`, with the mounts below it.
    pub fn copy(source: &Path) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let fd = open_tree(CWD, source, flags)?;
        let directory = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Directory;
        Ok(Self { fd, directory })
    }
}

/// Copies of all bind sources, in the order of `mounts`.
pub(super) fn copy_sources(mounts: &[Mount]) -> io::Result<Vec<Option<Tree>>> {
    let named = |source: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("mount source {}: {error}", source.display()))
    };
    mounts
        .iter()
        .map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => Tree::copy(source).map(Some).map_err(|error| named(source, error)),
            MountKind::Tmpfs { .. } => Ok(None),
        })
        .collect()
}

/// The container's root, seen from outside it.
pub(super) struct Root(Rooted);

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        Rooted::open(path).map(Self)
    }

    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn find(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.0.find(Path::new(path), flags)
    }

    /// The directory at `path`, made where absent, with its parents.
    pub fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.0.directory(Path::new(path))
    }

    /// Whatever is at `path` but a directory, made as an empty file where absent.
    fn file(&self, path: &str) -> io::Result<OwnedFd> {
        match self.find(path, OFlags::PATH) {
            Ok(found) => return Ok(found),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let (parent, name) = split(Path::new(path))?;
        let parent = self.0.directory(parent)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        drop(openat(&parent, name, flags, Mode::from_raw_mode(0o644))?);
        Ok(self.find(path, OFlags::PATH)?)
    }

    fn attach(&self, tree: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(tree, "", target, "", flags)?)
    }

    /// A fresh file system at `path`.
    fn mount_new(
        &self,
        path: &str,
        kind: &str,
        options: &[(&str, &str)],
        attributes: MountAttrFlags,
    ) -> io::Result<OwnedFd> {
        let named = |error: rustix::io::Errno| {
            io::Error::new(io::Error::from(error).kind(), format!("mounting {kind} on {path}: {error}"))
        };
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(named)?;
        for (key, value) in options {
            if value.is_empty() {
                fsconfig_set_flag(&context, *key).map_err(named)?;
            } else {
                fsconfig_set_string(&context, *key, *value).map_err(named)?;
            }
        }
        fsconfig_create(&context).map_err(named)?;
        let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(named)?;
        self.attach(&mounted, &self.directory(path)?)?;
        Ok(mounted)
    }

    /// `/proc`, `/dev` and its kin, `/sys`, the container's own control groups.
    pub fn mount_kernel_file_systems(&self, plan: &KernelPlan<'_>) -> io::Result<()> {
        let quiet =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let no_suid = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let no_exec = no_suid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        self.mount_new("/proc", "proc", &[], quiet)?;
        let dev = self.mount_new("/dev", "tmpfs", &[("mode", "755"), ("size", "65536k")], no_suid)?;
        make_devices(&dev, plan.privileged)?;
        self.mount_new("/dev/pts", "devpts", &[("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")], no_exec)?;
        self.mount_new("/dev/mqueue", "mqueue", &[], quiet)?;
        match plan.shm {
            Some(tree) => self.attach(&tree.fd, &self.directory("/dev/shm")?)?,
            None => drop(self.mount_new("/dev/shm", "tmpfs", &[("mode", "1777"), ("size", "65536k")], quiet)?),
        }
        let read_only = if plan.privileged { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        self.mount_new("/sys", "sysfs", &[], quiet | read_only)?;
        self.mount_cgroups(plan)
    }

    fn mount_cgroups(&self, plan: &KernelPlan<'_>) -> io::Result<()> {
        let base = "/sys/fs/cgroup";
        let relative = plan.cgroup.trim_start_matches('/');
        if plan.hierarchies.v1.contains_key("memory") {
            let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            self.mount_new(base, "tmpfs", &[("mode", "755")], quiet)?;
            let mut seen = BTreeMap::new();
            for (controller, mount) in &plan.hierarchies.v1 {
                let name = mount.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if seen.insert(mount, ()).is_none() {
                    self.bind_group(&mount.join(relative), &format!("{base}/{name}"), plan.privileged)?;
                }
                if name != *controller && !controller.contains('=') {
                    let _ = symlinkat(&name, self.directory(base)?, controller.as_str());
                }
            }
            Ok(())
        } else if let Some(mount) = &plan.hierarchies.v2 {
            self.bind_group(&mount.join(relative), base, plan.privileged)
        } else {
            Ok(())
        }
    }

    fn bind_group(&self, group: &Path, target: &str, writable: bool) -> io::Result<()> {
        let tree = Tree::copy(group)?;
        let attributes = Attributes {
            read_only: !writable,
            no_suid: true,
            no_dev: true,
            no_exec: true,
            sharing: Some(Sharing::Private),
        };
        set_attributes(tree.fd.as_fd(), attributes, true)?;
        self.attach(&tree.fd, &self.directory(target)?)
    }

    /// The mounts that were asked for, shallow ones first.
    pub fn mount_volumes(&self, mounts: &[Mount], sources: &[Option<Tree>]) -> io::Result<()> {
        let mut order: Vec<usize> = (0..mounts.len()).collect();
        order.sort_by_key(|index| mounts[*index].destination.split('/').filter(|part| !part.is_empty()).count());
        for index in order {
            let mount = &mounts[index];
            self.mount_volume(mount, sources[index].as_ref())
                .map_err(|error| io::Error::new(error.kind(), format!("mount {}: {error}", mount.destination)))?;
        }
        Ok(())
    }

    fn mount_volume(&self, mount: &Mount, source: Option<&Tree>) -> io::Result<()> {
        match (&mount.kind, source) {
            (MountKind::Bind { propagation, recursive_read_only, .. }, Some(tree)) => {
                let sharing = match propagation {
                    Propagation::Private => Some(Sharing::Private),
                    Propagation::HostToContainer => Some(Sharing::Slave),
                    Propagation::Bidirectional => None,
                };
                set_attributes(tree.fd.as_fd(), Attributes { sharing, ..Attributes::default() }, true)?;
                if mount.read_only {
                    set_attributes(
                        tree.fd.as_fd(),
                        Attributes { read_only: true, ..Attributes::default() },
                        *recursive_read_only,
                    )?;
                }
                let target =
                    if tree.directory { self.directory(&mount.destination)? } else { self.file(&mount.destination)? };
                self.attach(&tree.fd, &target)
            }
            (MountKind::Tmpfs { size_bytes, mode }, _) => {
                let mode = format!("{:o}", mode.unwrap_or(0o1777));
                let size = size_bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
                let mut options = vec![("mode", mode.as_str())];
                if !size.is_empty() {
                    options.push(("size", &size));
                }
                let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                if mount.read_only {
                    attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
                }
                self.mount_new(&mount.destination, "tmpfs", &options, attributes).map(drop)
            }
            (MountKind::Bind { source, .. }, None) => {
                Err(io::Error::other(format!("{} was not opened", source.display())))
            }
        }
    }

    /// Puts `/dev/console` on top of the container's own terminal.
    pub fn mount_console(&self, name: &str) -> io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let terminal = open_tree(self.find(name, OFlags::PATH)?, "", flags)?;
        self.attach(&terminal, &self.file("/dev/console")?)
    }

    /// Namespaced kernel settings; the rest of `/proc/sys` becomes read-only afterwards.
    pub fn set_sysctls(&self, sysctls: &BTreeMap<String, String>) -> io::Result<()> {
        for (name, value) in sysctls {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("sysctl {name}={value}: {error}"));
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let file = self.find(&path, OFlags::WRONLY).map_err(|e| named(e.into()))?;
            io::Write::write_all(&mut fs::File::from(file), value.as_bytes()).map_err(named)?;
        }
        Ok(())
    }

    /// Hides what tells about, or changes, the node.
    pub fn mask(&self) -> io::Result<()> {
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        for path in READ_ONLY {
            let Some(target) = self.find_if_present(path)? else { continue };
            let tree = open_tree(&target, "", clone)?;
            set_attributes(tree.as_fd(), Attributes { read_only: true, ..Attributes::default() }, true)?;
            self.attach(&tree, &target)?;
        }
        let mut empty: Option<OwnedFd> = None;
        for path in MASKED {
            let Some(target) = self.find_if_present(path)? else { continue };
            if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory {
                // One empty file system, shown in several places.
                let tree = match &empty {
                    Some(first) => open_tree(first, "", clone)?,
                    None => self.mount_new_detached()?,
                };
                self.attach(&tree, &target)?;
                empty.get_or_insert(tree);
            } else {
                let null = open_tree(self.find("/dev/null", OFlags::PATH)?, "", clone)?;
                self.attach(&null, &target)?;
            }
        }
        Ok(())
    }

    fn mount_new_detached(&self) -> io::Result<OwnedFd> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?)
    }

    fn find_if_present(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        match self.find(path, OFlags::PATH) {
            Ok(found) => Ok(Some(found)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn make_read_only(&self) -> io::Result<()> {
        set_attributes(self.as_fd(), Attributes { read_only: true, ..Attributes::default() }, false)
    }

    /// From here on `/` is the container's, and nothing else is reachable.
    pub fn enter(self) -> io::Result<()> {
        rustix::process::fchdir(&self.0)?;
        // The old root ends up on top of the new one, and is taken off.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

/// What decides how the kernel's own file systems look.
pub(super) struct KernelPlan<'a> {
    pub privileged: bool,
    pub shm: Option<&'a Tree>,
    pub hierarchies: &'a Hierarchies,
    pub cgroup: &'a str,
}

fn make_devices(dev: &OwnedFd, privileged: bool) -> io::Result<()> {
    for (name, major, minor) in DEVICES {
        mknodat(dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(major, minor))?;
    }
    for (name, target) in DEV_LINKS {
        symlinkat(target, dev, name)?;
    }
    if privileged { copy_devices(Path::new("/dev"), dev) } else { Ok(()) }
}

/// The node's device nodes, for a privileged container.
fn copy_devices(from: &Path, to: &OwnedFd) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() {
            if OWN_DEV_DIRECTORIES.iter().any(|own| name == *own) {
                continue;
            }
            match mkdirat(to, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let below = openat(to, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            copy_devices(&entry.path(), &below)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            let metadata = entry.metadata()?;
            let file_type = if kind.is_char_device() { FileType::CharacterDevice } else { FileType::BlockDevice };
            match mknodat(to, &name, file_type, Mode::from_raw_mode(metadata.mode() & 0o777), metadata.rdev()) {
                Ok(()) => {
                    let owner = (rustix::fs::Uid::from_raw(metadata.uid()), rustix::fs::Gid::from_raw(metadata.gid()));
                    rustix::fs::chownat(to, &name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
