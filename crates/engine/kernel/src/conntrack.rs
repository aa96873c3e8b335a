//! The kernel's connection tracking table: finding and forgetting flows that were sent to an endpoint that is gone.

use std::net::{Ipv4Addr, SocketAddrV4};

use nix::errno::Errno;

use crate::netlink::{Error, Message, Socket, attribute};

const AF_INET: u8 = 2;
const CONNTRACK_GET: u16 = (1 << 8) | 1;
const CONNTRACK_DELETE: u16 = (1 << 8) | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// One tracked flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub protocol: u8,
    pub source: SocketAddrV4,
    /// Where the first packet wanted to go.
    pub destination: SocketAddrV4,
    /// Who really answers: differs from `destination` where it was translated.
    pub answering: SocketAddrV4,
    original: Vec<u8>,
    id: Vec<u8>,
}

/// All IPv4 flows of the socket's namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Flow>, Error> {
    let mut flows = Vec::new();
    let message = Message::new("list tracked flows", CONNTRACK_GET, 0, &[AF_INET, 0, 0, 0]);
    socket.dump(&message, |payload| flows.extend(payload.get(4..).and_then(parse)))?;
    Ok(flows)
}

/// Forgets a flow: its next packet is looked at afresh. A flow that ended meanwhile is fine.
pub fn delete(socket: &mut Socket, flow: &Flow) -> Result<(), Error> {
    let request = format!("forget flow {} to {}", flow.source, flow.destination);
    let message = Message::new(request, CONNTRACK_DELETE, 0, &[AF_INET, 0, 0, 0]).with(|attributes| {
        attributes.put(CTA_TUPLE_ORIG | 0x8000, &flow.original).put(CTA_ID, &flow.id);
    });
    match socket.request(&[message]) {
        Err(Error::Refused { errno: Errno::ENOENT, .. }) => Ok(()),
        other => other,
    }
}

fn parse(attributes: &[u8]) -> Option<Flow> {
    let original = attribute(attributes, CTA_TUPLE_ORIG)?;
    let (protocol, source, destination) = tuple(original)?;
    let (_, answering, _) = tuple(attribute(attributes, CTA_TUPLE_REPLY)?)?;
    let id = attribute(attributes, CTA_ID)?.to_vec();
    Some(Flow { protocol, source, destination, answering, original: original.to_vec(), id })
}

fn tuple(attributes: &[u8]) -> Option<(u8, SocketAddrV4, SocketAddrV4)> {
    let addresses = attribute(attributes, CTA_TUPLE_IP)?;
    let protocol = attribute(attributes, CTA_TUPLE_PROTO)?;
    let end = |ip, port| {
        let octets: [u8; 4] = attribute(addresses, ip)?.try_into().ok()?;
        // Protocols without ports have none here.
        let port = attribute(protocol, port).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
        Some(SocketAddrV4::new(Ipv4Addr::from(octets), port))
    };
    let number = *attribute(protocol, CTA_PROTO_NUM)?.first()?;
    Some((number, end(CTA_IP_V4_SRC, CTA_PROTO_SRC_PORT)?, end(CTA_IP_V4_DST, CTA_PROTO_DST_PORT)?))
}
