//! The one room that may use unsafe code: thin, safe doors to Linux.

pub mod conntrack;
pub mod device_filter;
pub mod fds;
pub mod fork;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod rtnetlink;
pub mod seccomp;
