//! Links, addresses and routes: the few rtnetlink requests that a routed pod network is made of.

use std::{
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::errno::Errno;

use crate::netlink::{CREATE, EXCLUSIVE, Error, Family, Message, REPLACE, Socket};

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IPV4_DEVCONF_FORWARDING: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;
const RTNH_F_ONLINK: u32 = 4;

/// How far an address or a route is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    Universe = 0,
    Link = 253,
}

/// The loopback device has the same index in every namespace.
pub const LOOPBACK: u32 = 1;

/// One IPv4 route of the main table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub destination: Ipv4Addr,
    pub prefix: u8,
    /// `None`: an unreachable route, which refuses at once what no better route takes.
    pub device: Option<u32>,
    pub gateway: Option<Ipv4Addr>,
    /// The source address of the node's own packets on this route.
    pub source: Option<Ipv4Addr>,
}

/// A socket for links, addresses and routes of one namespace.
#[derive(Debug)]
pub struct Links(Socket);

impl Links {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Socket::open(Family::Route).map(Self)
    }

    /// Carries out all `messages`; what exists already is left as it is.
    pub fn ensure(&mut self, messages: &[Message]) -> Result<(), Error> {
        match self.0.request(messages) {
            Err(Error::Refused { errno: Errno::EEXIST, .. }) if messages.len() > 1 => {
                // Only the first refusal is told, so look at each: an existing object must not hide another's error.
                messages.iter().try_for_each(|message| self.ensure(std::slice::from_ref(message)))
            }
            Err(Error::Refused { errno: Errno::EEXIST, .. }) => Ok(()),
            other => other,
        }
    }

    /// The index of the link of that name.
    pub fn index(&mut self, name: &str) -> Result<Option<u32>, Error> {
        let message =
            Message::new(format!("look up link {name}"), RTM_GETLINK, 0, &link_header(0, 0, 0)).with(|attributes| {
                attributes.put_str(IFLA_IFNAME, name);
            });
        let found = self.0.get(&message)?;
        Ok(found.and_then(|payload| Some(u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?))))
    }

    /// Removes the link of that name; a veth takes its peer with it. False: there was none.
    pub fn delete(&mut self, name: &str) -> Result<bool, Error> {
        let Some(index) = self.index(name)? else { return Ok(false) };
        let message = Message::new(format!("delete link {name}"), RTM_DELLINK, 0, &link_header(index, 0, 0));
        match self.0.request(&[message]) {
            Err(Error::Refused { errno: Errno::ENODEV, .. }) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

/// A bridge without ports: a device that can hold addresses and routes, on any kernel that has veth.
pub fn add_bridge(name: &str) -> Message {
    Message::new(format!("add bridge {name}"), RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, 0, 0)).with(|link| {
        link.put_str(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
            info.put_str(IFLA_INFO_KIND, "bridge");
        });
    })
}

/// A pair of devices: `name` here, `peer_name` in `peer_namespace`.
///
/// The peer is brought up from inside: asked for here, the kernel answers ENOTCONN.
pub fn add_veth(name: &str, peer_name: &str, peer_namespace: BorrowedFd<'_>) -> Message {
    Message::new(format!("add veth {name}"), RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, 0, 0)).with(|link| {
        link.put_str(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
            info.put_str(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(0, 0, 0))
                        .put_str(IFLA_IFNAME, peer_name)
                        .put_u32(IFLA_NET_NS_FD, peer_namespace.as_raw_fd().cast_unsigned());
                });
            });
        });
    })
}

/// Brings a link up.
pub fn set_up(index: u32) -> Message {
    Message::new(format!("bring link {index} up"), RTM_SETLINK, 0, &link_header(index, IFF_UP, IFF_UP))
}

/// Lets IPv4 packets that arrive on the link be forwarded. By netlink, since /proc/sys may be read-only.
pub fn set_forwarding(index: u32) -> Message {
    let request = format!("let link {index} forward");
    Message::new(request, RTM_SETLINK, 0, &link_header(index, 0, 0)).with(|link| {
        link.nest(IFLA_AF_SPEC, |families| {
            families.nest(u16::from(AF_INET), |inet| {
                inet.nest(IFLA_INET_CONF, |conf| {
                    conf.put_u32(IPV4_DEVCONF_FORWARDING, 1);
                });
            });
        });
    })
}

/// Keeps the link from making an IPv6 link-local address, and from the chatter that goes with it.
pub fn set_no_ipv6_address(index: u32) -> Message {
    let request = format!("keep link {index} without an IPv6 address");
    Message::new(request, RTM_SETLINK, 0, &link_header(index, 0, 0)).with(|link| {
        link.nest(IFLA_AF_SPEC, |families| {
            families.nest(u16::from(AF_INET6), |inet6| {
                inet6.put(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        });
    })
}

/// Gives a link one more /32 address.
pub fn add_address(index: u32, address: Ipv4Addr, scope: Scope) -> Message {
    let mut header = [0; 8];
    (header[0], header[1], header[3]) = (AF_INET, 32, scope as u8);
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let request = format!("add address {address} to link {index}");
    Message::new(request, RTM_NEWADDR, CREATE | REPLACE, &header).with(|address_attributes| {
        address_attributes.put(IFA_LOCAL, &address.octets()).put(IFA_ADDRESS, &address.octets());
    })
}

/// Adds a route, or replaces the one to the same destination.
pub fn add_route(route: &Route) -> Message {
    let (kind, scope) = match (route.device, route.gateway) {
        (None, _) => (RTN_UNREACHABLE, Scope::Universe),
        (Some(_), Some(_)) => (RTN_UNICAST, Scope::Universe),
        (Some(_), None) => (RTN_UNICAST, Scope::Link),
    };
    let flags = if route.gateway.is_some() { RTNH_F_ONLINK } else { 0 };
    let mut header = [AF_INET, route.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope as u8, kind, 0, 0, 0, 0];
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    let request = format!("add route to {}/{}", route.destination, route.prefix);
    Message::new(request, RTM_NEWROUTE, CREATE | REPLACE, &header).with(|attributes| {
        attributes.put(RTA_DST, &route.destination.octets());
        if let Some(device) = route.device {
            attributes.put_u32(RTA_OIF, device);
        }
        if let Some(gateway) = route.gateway {
            attributes.put(RTA_GATEWAY, &gateway.octets());
        }
        if let Some(source) = route.source {
            attributes.put(RTA_PREFSRC, &source.octets());
        }
    })
}

/// struct ifinfomsg.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = AF_UNSPEC;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}
