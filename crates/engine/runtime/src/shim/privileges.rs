//! Giving up what a process need not have: capabilities, user, groups, limits.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::spec::{Capabilities, ProcessSpec, Rlimit};

/// By bit number, as the kernel counts them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What every container runtime grants where nothing is said.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

fn bit(name: &str) -> Result<u64, String> {
    let bare = name.to_ascii_uppercase();
    let bare = bare.strip_prefix("CAP_").unwrap_or(&bare);
    let number = NAMES.iter().position(|n| *n == bare).ok_or_else(|| format!("unknown capability {name:?}"))?;
    Ok(1 << number)
}

/// The set as bits: the default, with `drop` taken away and `add` put in; `ALL` in either is done first.
pub(super) fn capability_mask(capabilities: &Capabilities, privileged: bool) -> Result<u64, String> {
    let every = (1 << NAMES.len()) - 1;
    if privileged {
        return Ok(every);
    }
    let has_all = |names: &[String]| names.iter().any(|n| n.eq_ignore_ascii_case("ALL"));
    let named = |names: &[String]| names.iter().filter(|n| !n.eq_ignore_ascii_case("ALL")).map(|n| bit(n)).sum_bits();
    let mut mask = DEFAULT.iter().map(|n| bit(n)).sum_bits()?;
    if has_all(&capabilities.add) {
        mask = every;
    }
    if has_all(&capabilities.drop) {
        mask = 0;
    }
    Ok((mask | named(&capabilities.add)?) & !named(&capabilities.drop)?)
}

trait SumBits {
    fn sum_bits(self) -> Result<u64, String>;
}

impl<I: Iterator<Item = Result<u64, String>>> SumBits for I {
    fn sum_bits(mut self) -> Result<u64, String> {
        self.try_fold(0, |mask, bit| Ok(mask | bit?))
    }
}

/// What there is to give: the kernel refuses masks with more than the process has.
fn available() -> io::Result<u64> {
    Ok(rustix::thread::capabilities(None)?.permitted.bits() & known_to_kernel())
}

/// The capabilities the running kernel knows: it refuses to drop others.
fn known_to_kernel() -> u64 {
    let last =
        std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let last = last.unwrap_or(NAMES.len() as u32 - 1).min(62);
    (1 << (last + 1)) - 1
}

/// Becomes the process' user with just the capabilities of `mask`.
///
/// A user other than root loses them on exec, as with every runtime; they stay in the bounding set.
pub(super) fn become_user(process: &ProcessSpec, mask: u64) -> io::Result<()> {
    let (known, available) = (known_to_kernel(), available()?);
    for number in 0..64 {
        let one = 1 << number;
        if known & one != 0 && mask & one == 0 {
            rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(one))?;
        }
    }
    rustix::thread::set_keep_capabilities(true)?;
    let user = &process.user;
    let mut groups: Vec<Gid> = vec![Gid::from_raw(user.gid)];
    groups.extend(user.groups.iter().filter(|g| **g != user.gid).map(|g| Gid::from_raw(*g)));
    setgroups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let held = CapabilitySet::from_bits_retain(mask & available);
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() },
    )?;
    rustix::thread::set_keep_capabilities(false)?;
    Ok(())
}

/// How willingly the kernel ends this process when memory runs out. An engine without CAP_SYS_RESOURCE cannot make anything safer than
/// itself; then the process is as safe as the engine.
pub(super) fn set_oom_score(score: i32) -> io::Result<()> {
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

pub(super) fn set_limits(limits: &[Rlimit]) -> Result<(), String> {
    use rustix::process::{Resource, setrlimit};
    for limit in limits {
        let resource = match limit.name.to_ascii_lowercase().trim_start_matches("rlimit_") {
            "cpu" => Resource::Cpu,
            "fsize" => Resource::Fsize,
            "data" => Resource::Data,
            "stack" => Resource::Stack,
            "core" => Resource::Core,
            "rss" => Resource::Rss,
            "nproc" => Resource::Nproc,
            "nofile" => Resource::Nofile,
            "memlock" => Resource::Memlock,
            "as" => Resource::As,
            "locks" => Resource::Locks,
            "sigpending" => Resource::Sigpending,
            "msgqueue" => Resource::Msgqueue,
            "nice" => Resource::Nice,
            "rtprio" => Resource::Rtprio,
            "rttime" => Resource::Rttime,
            _ => return Err(format!("unknown resource limit {:?}", limit.name)),
        };
        let value = rustix::process::Rlimit { current: Some(limit.soft), maximum: Some(limit.hard) };
        setrlimit(resource, value).map_err(|e| format!("resource limit {}: {e}", limit.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> String {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let mask = capability_mask(&Capabilities { add: own(add), drop: own(drop) }, false);
        mask.map_or_else(
            |error| error,
            |mask| (0..NAMES.len()).filter(|n| mask & (1 << n) != 0).map(|n| NAMES[n]).collect::<Vec<_>>().join(" "),
        )
    }

    #[test]
    fn adding_and_dropping() {
        let default = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP";
        assert_eq!(names(&[], &[]), default);
        assert_eq!(names(&["CAP_NET_ADMIN"], &["ALL"]), "NET_ADMIN");
        assert_eq!(names(&["net_bind_service"], &["all"]), "NET_BIND_SERVICE");
        assert_eq!(names(&[], &["MKNOD", "cap_net_raw"]), default.replace(" MKNOD", "").replace(" NET_RAW", ""));
        assert!(!names(&["ALL"], &["SYS_ADMIN"]).contains("SYS_ADMIN"));
        assert_eq!(names(&["FLYING"], &[]), "unknown capability \"FLYING\"");
    }
}
