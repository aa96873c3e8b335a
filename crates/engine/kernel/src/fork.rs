//! A second process with namespaces of its own, and a file descriptor that stands for it.

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use rustix::process::Pid;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Forked {
    /// The new one.
    Child,
    /// The old one, which is now responsible for reaping `pid`.
    Parent {
        /// As seen from the old process' pid namespace.
        pid: Pid,
        /// Readable once the new process has ended; closed on exec.
        pidfd: OwnedFd,
    },
}

/// Namespaces the new process gets for itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewNamespaces {
    pub mount: bool,
    pub pid: bool,
    pub ipc: bool,
    pub uts: bool,
    pub net: bool,
}

/// `fork`, with new namespaces, and a pidfd that cannot come to mean another process.
///
/// Refused unless the caller is single-threaded: another thread may hold a lock that nobody would ever release in the child.
pub fn fork(namespaces: NewNamespaces) -> io::Result<Forked> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with several threads must not fork"));
    }
    let mut flags = libc::CLONE_PIDFD as u64;
    for (wanted, flag) in [
        (namespaces.mount, libc::CLONE_NEWNS),
        (namespaces.pid, libc::CLONE_NEWPID),
        (namespaces.ipc, libc::CLONE_NEWIPC),
        (namespaces.uts, libc::CLONE_NEWUTS),
        (namespaces.net, libc::CLONE_NEWNET),
    ] {
        if wanted {
            flags |= flag as u64;
        }
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args; it means a plain fork with no stack of its own.
    #[allow(unsafe_code)]
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = libc::SIGCHLD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // SAFETY: without CLONE_VM the child has a copy of all memory and goes on here; the check above says that no other thread's
    // state is cut off half way. `args` and `pidfd` outlive the call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us and nobody else knows its number.
            #[allow(unsafe_code)]
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid =
                Pid::from_raw(pid as i32).ok_or_else(|| io::Error::other("the kernel gave a process no number"))?;
            Ok(Forked::Parent { pid, pidfd })
        }
    }
}
