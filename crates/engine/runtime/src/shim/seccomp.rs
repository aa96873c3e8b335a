//! `RuntimeDefault`: which system calls an ordinary container may make.
//!
//! An allow list with the contents other runtimes have agreed on. Calls that hang on a capability are there only with it. What is known and
//! not allowed fails with EPERM; what is newer than this list fails with ENOSYS, so that programs fall back to older calls.

use std::io;

use coracle_kernel::seccomp::Instruction;
use libc as nr;

use crate::spec::Seccomp;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const ARCH_X86_64: u32 = 0xc000_003e;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_FIRST_ARGUMENT: u32 = 16;
/// The last call this list was made with in view: `statmount`'s neighbourhood, Linux 6.13.
const LAST_KNOWN: u32 = 466;
/// CLONE_NEWNS and the other namespaces, CLONE_NEWTIME aside (it shares a bit with the exit signal).
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
const AF_VSOCK: u32 = 40;
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[rustfmt::skip]
const ALWAYS: &[i64] = &[
    nr::SYS_accept, nr::SYS_accept4, nr::SYS_access, nr::SYS_adjtimex, nr::SYS_alarm, nr::SYS_arch_prctl, nr::SYS_bind, nr::SYS_brk,
    nr::SYS_capget, nr::SYS_capset, nr::SYS_chdir, nr::SYS_chmod, nr::SYS_chown, nr::SYS_clock_adjtime, nr::SYS_clock_getres,
    nr::SYS_clock_gettime, nr::SYS_clock_nanosleep, nr::SYS_close, nr::SYS_close_range, nr::SYS_connect, nr::SYS_copy_file_range,
    nr::SYS_creat, nr::SYS_dup, nr::SYS_dup2, nr::SYS_dup3, nr::SYS_epoll_create, nr::SYS_epoll_create1, nr::SYS_epoll_ctl,
    nr::SYS_epoll_ctl_old, nr::SYS_epoll_pwait, nr::SYS_epoll_pwait2, nr::SYS_epoll_wait, nr::SYS_epoll_wait_old, nr::SYS_eventfd,
    nr::SYS_eventfd2, nr::SYS_execve, nr::SYS_execveat, nr::SYS_exit, nr::SYS_exit_group, nr::SYS_faccessat, nr::SYS_faccessat2,
    nr::SYS_fadvise64, nr::SYS_fallocate, nr::SYS_fanotify_mark, nr::SYS_fchdir, nr::SYS_fchmod, nr::SYS_fchmodat, nr::SYS_fchown,
    nr::SYS_fchownat, nr::SYS_fcntl, nr::SYS_fdatasync, nr::SYS_fgetxattr, nr::SYS_flistxattr, nr::SYS_flock, nr::SYS_fork,
    nr::SYS_fremovexattr, nr::SYS_fsetxattr, nr::SYS_fstat, nr::SYS_fstatfs, nr::SYS_fsync, nr::SYS_ftruncate, nr::SYS_futex,
    nr::SYS_futex_waitv, nr::SYS_futimesat, nr::SYS_getcpu, nr::SYS_getcwd, nr::SYS_getdents, nr::SYS_getdents64, nr::SYS_getegid,
    nr::SYS_geteuid, nr::SYS_getgid, nr::SYS_getgroups, nr::SYS_getitimer, nr::SYS_getpeername, nr::SYS_getpgid, nr::SYS_getpgrp,
    nr::SYS_getpid, nr::SYS_getppid, nr::SYS_getpriority, nr::SYS_getrandom, nr::SYS_getresgid, nr::SYS_getresuid, nr::SYS_getrlimit,
    nr::SYS_get_robust_list, nr::SYS_getrusage, nr::SYS_getsid, nr::SYS_getsockname, nr::SYS_getsockopt, nr::SYS_get_thread_area,
    nr::SYS_gettid, nr::SYS_gettimeofday, nr::SYS_getuid, nr::SYS_getxattr, nr::SYS_inotify_add_watch, nr::SYS_inotify_init,
    nr::SYS_inotify_init1, nr::SYS_inotify_rm_watch, nr::SYS_io_cancel, nr::SYS_ioctl, nr::SYS_io_destroy, nr::SYS_io_getevents,
    nr::SYS_ioprio_get, nr::SYS_ioprio_set, nr::SYS_io_setup, nr::SYS_io_submit, nr::SYS_kill, nr::SYS_landlock_add_rule,
    nr::SYS_landlock_create_ruleset, nr::SYS_landlock_restrict_self, nr::SYS_lchown, nr::SYS_lgetxattr, nr::SYS_link, nr::SYS_linkat,
    nr::SYS_listen, nr::SYS_listxattr, nr::SYS_llistxattr, nr::SYS_lremovexattr, nr::SYS_lseek, nr::SYS_lsetxattr, nr::SYS_lstat,
    nr::SYS_madvise, nr::SYS_membarrier, nr::SYS_memfd_create, nr::SYS_memfd_secret, nr::SYS_mincore, nr::SYS_mkdir, nr::SYS_mkdirat,
    nr::SYS_mknod, nr::SYS_mknodat, nr::SYS_mlock, nr::SYS_mlock2, nr::SYS_mlockall, nr::SYS_mmap, nr::SYS_modify_ldt,
    nr::SYS_mprotect, nr::SYS_mq_getsetattr, nr::SYS_mq_notify, nr::SYS_mq_open, nr::SYS_mq_timedreceive, nr::SYS_mq_timedsend,
    nr::SYS_mq_unlink, nr::SYS_mremap, nr::SYS_msgctl, nr::SYS_msgget, nr::SYS_msgrcv, nr::SYS_msgsnd, nr::SYS_msync, nr::SYS_munlock,
    nr::SYS_munlockall, nr::SYS_munmap, nr::SYS_name_to_handle_at, nr::SYS_nanosleep, nr::SYS_newfstatat, nr::SYS_open, nr::SYS_openat,
    nr::SYS_openat2, nr::SYS_pause, nr::SYS_pidfd_open, nr::SYS_pidfd_send_signal, nr::SYS_pipe, nr::SYS_pipe2, nr::SYS_pkey_alloc,
    nr::SYS_pkey_free, nr::SYS_pkey_mprotect, nr::SYS_poll, nr::SYS_ppoll, nr::SYS_prctl, nr::SYS_pread64, nr::SYS_preadv,
    nr::SYS_preadv2, nr::SYS_prlimit64, nr::SYS_process_mrelease, nr::SYS_process_vm_readv, nr::SYS_process_vm_writev, nr::SYS_pselect6,
    nr::SYS_ptrace, nr::SYS_pwrite64, nr::SYS_pwritev, nr::SYS_pwritev2, nr::SYS_read, nr::SYS_readahead, nr::SYS_readlink,
    nr::SYS_readlinkat, nr::SYS_readv, nr::SYS_recvfrom, nr::SYS_recvmmsg, nr::SYS_recvmsg, nr::SYS_remap_file_pages,
    nr::SYS_removexattr, nr::SYS_rename, nr::SYS_renameat, nr::SYS_renameat2, nr::SYS_restart_syscall, nr::SYS_rmdir, nr::SYS_rseq,
    nr::SYS_rt_sigaction, nr::SYS_rt_sigpending, nr::SYS_rt_sigprocmask, nr::SYS_rt_sigqueueinfo, nr::SYS_rt_sigreturn,
    nr::SYS_rt_sigsuspend, nr::SYS_rt_sigtimedwait, nr::SYS_rt_tgsigqueueinfo, nr::SYS_sched_getaffinity, nr::SYS_sched_getattr,
    nr::SYS_sched_getparam, nr::SYS_sched_get_priority_max, nr::SYS_sched_get_priority_min, nr::SYS_sched_getscheduler,
    nr::SYS_sched_rr_get_interval, nr::SYS_sched_setaffinity, nr::SYS_sched_setattr, nr::SYS_sched_setparam,
    nr::SYS_sched_setscheduler, nr::SYS_sched_yield, nr::SYS_select, nr::SYS_semctl, nr::SYS_semget, nr::SYS_semop, nr::SYS_semtimedop,
    nr::SYS_sendfile, nr::SYS_sendmmsg, nr::SYS_sendmsg, nr::SYS_sendto, nr::SYS_setfsgid, nr::SYS_setfsuid, nr::SYS_setgid,
    nr::SYS_setgroups, nr::SYS_setitimer, nr::SYS_setpgid, nr::SYS_setpriority, nr::SYS_setregid, nr::SYS_setresgid, nr::SYS_setresuid,
    nr::SYS_setreuid, nr::SYS_setrlimit, nr::SYS_set_robust_list, nr::SYS_setsid, nr::SYS_setsockopt, nr::SYS_set_thread_area,
    nr::SYS_set_tid_address, nr::SYS_setuid, nr::SYS_setxattr, nr::SYS_shmat, nr::SYS_shmctl, nr::SYS_shmdt, nr::SYS_shmget,
    nr::SYS_shutdown, nr::SYS_sigaltstack, nr::SYS_signalfd, nr::SYS_signalfd4, nr::SYS_socketpair, nr::SYS_splice, nr::SYS_stat,
    nr::SYS_statfs, nr::SYS_statx, nr::SYS_symlink, nr::SYS_symlinkat, nr::SYS_sync, nr::SYS_sync_file_range, nr::SYS_syncfs,
    nr::SYS_sysinfo, nr::SYS_tee, nr::SYS_tgkill, nr::SYS_time, nr::SYS_timer_create, nr::SYS_timer_delete, nr::SYS_timer_getoverrun,
    nr::SYS_timer_gettime, nr::SYS_timer_settime, nr::SYS_timerfd_create, nr::SYS_timerfd_gettime, nr::SYS_timerfd_settime,
    nr::SYS_times, nr::SYS_tkill, nr::SYS_truncate, nr::SYS_umask, nr::SYS_uname, nr::SYS_unlink, nr::SYS_unlinkat, nr::SYS_utime,
    nr::SYS_utimensat, nr::SYS_utimes, nr::SYS_vfork, nr::SYS_vmsplice, nr::SYS_wait4, nr::SYS_waitid, nr::SYS_write, nr::SYS_writev,
    // io_pgetevents, cachestat, fchmodat2, map_shadow_stack, futex_wake, futex_wait, futex_requeue
    333, 451, 452, 453, 454, 455, 456,
];

/// Bit number of a capability, and what may be called with it.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(u32, &[i64])] = &[
    (2, &[nr::SYS_open_by_handle_at]),
    (16, &[nr::SYS_delete_module, nr::SYS_init_module, nr::SYS_finit_module]),
    (17, &[nr::SYS_iopl, nr::SYS_ioperm]),
    (18, &[nr::SYS_chroot]),
    (19, &[nr::SYS_kcmp, nr::SYS_pidfd_getfd, nr::SYS_process_madvise]),
    (20, &[nr::SYS_acct]),
    (21, &[
        nr::SYS_bpf, nr::SYS_clone, nr::SYS_clone3, nr::SYS_fanotify_init, nr::SYS_fsconfig, nr::SYS_fsmount, nr::SYS_fsopen,
        nr::SYS_fspick, nr::SYS_lookup_dcookie, nr::SYS_mount, nr::SYS_mount_setattr, nr::SYS_move_mount, nr::SYS_open_tree,
        nr::SYS_perf_event_open, nr::SYS_quotactl, nr::SYS_setdomainname, nr::SYS_sethostname, nr::SYS_setns, nr::SYS_syslog,
        nr::SYS_umount2, nr::SYS_unshare,
    ]),
    (22, &[nr::SYS_reboot]),
    (23, &[nr::SYS_get_mempolicy, nr::SYS_mbind, nr::SYS_set_mempolicy]),
    (25, &[nr::SYS_settimeofday, nr::SYS_clock_settime]),
    (26, &[nr::SYS_vhangup]),
    (34, &[nr::SYS_syslog]),
    (38, &[nr::SYS_perf_event_open]),
    (39, &[nr::SYS_bpf]),
];

/// The filter for a process with these capabilities; `None` where there is none.
pub(super) fn filter(seccomp: Seccomp, capabilities: u64) -> Option<Vec<Instruction>> {
    match seccomp {
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(compile(capabilities)),
    }
}

pub(super) fn install(filter: &[Instruction]) -> io::Result<()> {
    coracle_kernel::seccomp::install(filter)
}

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

fn errno(number: i32) -> Instruction {
    plain(RETURN, ERRNO | number as u32)
}

fn compile(capabilities: u64) -> Vec<Instruction> {
    let mut allowed: Vec<u32> = ALWAYS.iter().map(|n| *n as u32).collect();
    for (capability, calls) in WITH_CAPABILITY {
        if capabilities & (1 << capability) != 0 {
            allowed.extend(calls.iter().map(|n| *n as u32));
        }
    }
    allowed.sort_unstable();
    allowed.dedup();
    let mut program = vec![
        plain(LOAD, OFFSET_ARCH),
        jump(JUMP_EQUAL, ARCH_X86_64, 1, 0),
        errno(libc::ENOSYS),
        plain(LOAD, OFFSET_NUMBER),
        // Newer than the list, or of the x32 interface.
        jump(JUMP_GREATER, LAST_KNOWN, 0, 1),
        errno(libc::ENOSYS),
    ];
    for (first, last) in ranges(&allowed) {
        program.push(jump(JUMP_GREATER_EQUAL, first, 0, 2));
        program.push(jump(JUMP_GREATER, last, 1, 0));
        program.push(plain(RETURN, ALLOW));
    }
    if !allowed.contains(&(nr::SYS_clone as u32)) {
        program.extend(by_argument(nr::SYS_clone, &[jump(JUMP_ANY_BIT, NAMESPACE_FLAGS, 1, 0), plain(RETURN, ALLOW)]));
        // Its flags are behind a pointer, where no filter can look; programs fall back to clone.
        program.extend([jump(JUMP_EQUAL, nr::SYS_clone3 as u32, 0, 1), errno(libc::ENOSYS)]);
    }
    program.extend(by_argument(nr::SYS_socket, &[jump(JUMP_EQUAL, AF_VSOCK, 1, 0), plain(RETURN, ALLOW)]));
    let known: Vec<Instruction> =
        PERSONALITIES.iter().flat_map(|p| [jump(JUMP_EQUAL, *p, 0, 1), plain(RETURN, ALLOW)]).collect();
    program.extend(by_argument(nr::SYS_personality, &known));
    program.push(errno(libc::EPERM));
    program
}

/// `checks` on the low half of the first argument of one call; where they all fall through, it is refused.
fn by_argument(call: i64, checks: &[Instruction]) -> Vec<Instruction> {
    let skipped = checks.len() as u8 + 2;
    let mut program = vec![jump(JUMP_EQUAL, call as u32, 0, skipped), plain(LOAD, OFFSET_FIRST_ARGUMENT)];
    program.extend_from_slice(checks);
    program.push(errno(libc::EPERM));
    program
}

fn ranges(sorted: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, by running it as the kernel would.
    fn answer(program: &[Instruction], arch: u32, number: i64, argument: u32) -> String {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let i = program[at];
            at += 1;
            let holds = match i.code {
                LOAD => {
                    accumulator = match i.operand {
                        OFFSET_NUMBER => number as u32,
                        OFFSET_ARCH => arch,
                        _ => argument,
                    };
                    continue;
                }
                RETURN if i.operand == ALLOW => return "allow".into(),
                RETURN => return nix::errno::Errno::from_raw((i.operand & 0xffff) as i32).to_string(),
                JUMP_EQUAL => accumulator == i.operand,
                JUMP_GREATER => accumulator > i.operand,
                JUMP_GREATER_EQUAL => accumulator >= i.operand,
                JUMP_ANY_BIT => accumulator & i.operand != 0,
                other => panic!("opcode {other:#x}"),
            };
            at += usize::from(if holds { i.jump_true } else { i.jump_false });
        }
    }

    #[test]
    fn what_may_be_called() {
        let ordinary = compile(0);
        let ask =
            |number, argument| answer(&ordinary, ARCH_X86_64, number, argument).split(':').next().unwrap().to_owned();
        for number in ALWAYS {
            assert_eq!(ask(*number, 0), "allow", "call {number}");
        }
        for number in [
            nr::SYS_mount,
            nr::SYS_bpf,
            nr::SYS_reboot,
            nr::SYS_kexec_load,
            nr::SYS_io_uring_setup,
            nr::SYS_keyctl,
            nr::SYS_swapon,
        ] {
            assert_eq!(ask(number, 0), "EPERM", "call {number}");
        }
        assert_eq!(ask(nr::SYS_clone, 0x0010_0011), "allow");
        assert_eq!(ask(nr::SYS_clone, libc::CLONE_NEWUSER as u32), "EPERM");
        assert_eq!(ask(nr::SYS_clone3, 0), "ENOSYS");
        assert_eq!(ask(nr::SYS_socket, libc::AF_INET as u32), "allow");
        assert_eq!(ask(nr::SYS_socket, AF_VSOCK), "EPERM");
        assert_eq!(ask(nr::SYS_personality, 8), "allow");
        assert_eq!(ask(nr::SYS_personality, 4), "EPERM");
        assert_eq!(ask(500, 0), "ENOSYS");
        assert_eq!(ask(0x4000_0000, 0), "ENOSYS");
        assert!(answer(&ordinary, 0x4000_0003, 1, 0).starts_with("ENOSYS"));
        let mighty = compile(1 << 21);
        assert_eq!(answer(&mighty, ARCH_X86_64, nr::SYS_mount, 0), "allow");
        assert_eq!(answer(&mighty, ARCH_X86_64, nr::SYS_clone3, 0), "allow");
    }
}
