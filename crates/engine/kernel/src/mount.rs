//! Attributes of whole mount trees, before anybody can see them.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// How a mount shares later mounts with its copies elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Private,
    /// Takes, but does not give.
    Slave,
    Shared,
}

/// What to change; `None` and `false` leave things as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes {
    pub read_only: bool,
    pub no_suid: bool,
    pub no_dev: bool,
    pub no_exec: bool,
    pub sharing: Option<Sharing>,
}

/// Changes the mount that `mount` is the root of, and those below it too where `recursive`. Linux 5.12.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> io::Result<()> {
    let mut set = 0;
    for (wanted, flag) in [
        (attributes.read_only, libc::MOUNT_ATTR_RDONLY),
        (attributes.no_suid, libc::MOUNT_ATTR_NOSUID),
        (attributes.no_dev, libc::MOUNT_ATTR_NODEV),
        (attributes.no_exec, libc::MOUNT_ATTR_NOEXEC),
    ] {
        if wanted {
            set |= flag;
        }
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: match attributes.sharing {
            None => 0,
            Some(Sharing::Private) => libc::MS_PRIVATE,
            Some(Sharing::Slave) => libc::MS_SLAVE,
            Some(Sharing::Shared) => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` outlives the call and its size is given.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
