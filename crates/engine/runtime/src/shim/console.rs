//! A terminal made inside the container, so that its programs find it under its name.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use coracle_kernel::fds;
use rustix::termios::{Winsize, tcsetwinsize};

/// Both ends of a terminal of the container's own devpts, and the name of the inner one.
pub(super) struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
    pub name: String,
}

/// Call it where `/dev/pts` is the container's.
pub(super) fn open(size: Option<(u16, u16)>) -> io::Result<Console> {
    let master = OwnedFd::from(fs::File::options().read(true).write(true).open("/dev/pts/ptmx")?);
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let slave = rustix::fs::open(
        &name,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    if let Some((columns, rows)) = size {
        tcsetwinsize(&master, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 })?;
    }
    Ok(Console { master, slave, name })
}

/// Makes the inner end the controlling terminal and all three standard streams. The process must lead a session.
pub(super) fn take(slave: &OwnedFd, uid: u32) -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(slave)?;
    rustix::fs::fchown(slave, rustix::fs::Uid::from_raw(uid).into(), None)?;
    for number in 0..=2 {
        fds::place_stdio(slave.as_fd(), number)?;
    }
    Ok(())
}
