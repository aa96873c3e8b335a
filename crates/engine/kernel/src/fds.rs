//! File descriptors as a whole: closing what must not leak, and taking over those a process was started with.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
};

/// Marks every descriptor from `first` up to be closed on exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: the call changes flags of descriptors, it closes none, so no owner loses its own.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes what this process was started with beyond the standard streams. Only for the first lines of `main`: nothing may have been opened
/// yet, by this program or by a library.
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: descriptors that nobody in this process has opened have no owner here who could be harmed.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A duplicate of this process' standard input, closed on exec, for programs whose standard input is a control socket.
pub fn duplicate_stdin() -> io::Result<OwnedFd> {
    // SAFETY: the standard library keeps descriptor 0 open for the life of the process.
    #[allow(unsafe_code)]
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    Ok(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?)
}

/// Makes `fd` the descriptor `number` (0, 1 or 2), kept open on exec.
pub fn place_stdio(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    assert!((0..=2).contains(&number), "only the standard streams are placed");
    // SAFETY: nobody owns the standard descriptors; whatever uses them expects them to be replaced.
    #[allow(unsafe_code)]
    let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    // dup2 onto itself would leave close-on-exec as it was.
    if std::os::fd::AsRawFd::as_raw_fd(&fd) == number {
        return Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?);
    }
    Ok(rustix::io::dup2(fd, &mut target)?)
}
