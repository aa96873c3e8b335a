//! Netlink's common part: length-prefixed attributes, messages, and a socket that waits for every acknowledgement.
//!
//! A socket keeps the network namespace of the thread that opened it, so whoever holds one can work on that
//! namespace from any thread.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
            socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Big enough for a transaction with some ten thousand service endpoints.
const SEND_BUFFER_BYTES: usize = 32 << 20;
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
const READ_CHUNK_BYTES: usize = 128 << 10;
/// The kernel answers at once; this only keeps a lost answer from hanging the engine.
const ANSWER_TIMEOUT_S: i64 = 10;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;

/// Creates the object; fails with EEXIST when it exists and `REPLACE` is not set.
pub const CREATE: u16 = 0x400;
/// With [`CREATE`]: an existing object is an error.
pub const EXCLUSIVE: u16 = 0x200;
/// With [`CREATE`]: an existing object is replaced.
pub const REPLACE: u16 = 0x100;
/// With [`CREATE`]: adds behind what exists (rules of a chain).
pub const APPEND: u16 = 0x800;

/// What a netlink request can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket itself does not work.
    #[error("netlink socket: {0}")]
    Socket(Errno),
    /// The kernel refused one request.
    #[error("{request}: {errno}")]
    Refused { request: String, errno: Errno },
    /// The kernel's answer does not follow the protocol.
    #[error("netlink answer cut short")]
    Truncated,
}

impl Error {
    /// The kernel's own error number, where it gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Socket(errno) | Self::Refused { errno, .. } => Some(*errno),
            Self::Truncated => None,
        }
    }
}

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Route,
    Netfilter,
}

/// A growing list of attributes (or of a message's fixed header followed by them).
#[derive(Debug, Clone, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Appends `bytes` as they are: the fixed header that stands before a message's attributes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// One attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + ATTRIBUTE_HEADER_BYTES).expect("attributes are kept below 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// A number in the machine's byte order, as rtnetlink has them.
    pub fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number in network byte order, as nfnetlink has them.
    pub fn put_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// A string with its closing zero.
    pub fn put_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// An attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(kind | NLA_F_NESTED, &inner.0)
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// Reads attributes one after the other; ends at the first that does not fit.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A string attribute without its closing zero.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

/// One request, with a name that an error will carry.
#[derive(Debug, Clone)]
pub struct Message {
    kind: u16,
    flags: u16,
    request: String,
    body: Attributes,
}

impl Message {
    /// A request of type `kind` whose body starts with the fixed `header`.
    pub fn new(request: impl Into<String>, kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut body = Attributes::default();
        body.raw(header);
        Self { kind, flags, request: request.into(), body }
    }

    /// Fills in the attributes.
    pub fn with(mut self, fill: impl FnOnce(&mut Attributes)) -> Self {
        fill(&mut self.body);
        self
    }

    fn write(&self, out: &mut Vec<u8>, sequence: u32, extra_flags: u16) {
        let length = u32::try_from(HEADER_BYTES + self.body.0.len()).expect("a message is below 4 GiB");
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | extra_flags | NLM_F_REQUEST).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0u32.to_ne_bytes());
        out.extend_from_slice(&self.body.0);
    }
}

/// One message as the kernel sent it.
struct Answer<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// A netlink socket of the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(family: Family) -> Result<Self, Error> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map_err(Error::Socket)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(Error::Socket)?;
        // Large transactions need large buffers; without the privilege the defaults carry small ones.
        let _ = setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER_BYTES);
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_S)).map_err(Error::Socket)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends all `messages` at once and waits until each is acknowledged. The first refusal is the error;
    /// rtnetlink carries out the others nevertheless.
    pub fn request(&mut self, messages: &[Message]) -> Result<(), Error> {
        let first = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.write(&mut out, self.sequence, NLM_F_ACK);
        }
        self.send(&out)?;
        let mut open = messages.len();
        let mut refused = None;
        while open > 0 {
            self.receive(|answer| {
                let index = answer.sequence.wrapping_sub(first) as usize;
                if answer.kind == NLMSG_ERROR && index < messages.len() {
                    open = open.saturating_sub(1);
                    if let Err(errno) = acknowledged(answer.payload)? {
                        refused
                            .get_or_insert_with(|| Error::Refused { request: messages[index].request.clone(), errno });
                    }
                }
                Ok(())
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends `messages` as one transaction between `begin` and `end`: all of them take effect, or none.
    pub fn transaction(&mut self, begin: &Message, messages: &[Message], end: &Message) -> Result<(), Error> {
        if messages.is_empty() {
            return Ok(());
        }
        let first = self.sequence.wrapping_add(1);
        let last = messages.len();
        let mut out = Vec::new();
        begin.write(&mut out, first, 0);
        for (index, message) in messages.iter().enumerate() {
            // Refusals are always told; only the last message needs an acknowledgement of success.
            let flags = if index + 1 == last { NLM_F_ACK } else { 0 };
            message.write(&mut out, first.wrapping_add(1 + index as u32), flags);
        }
        end.write(&mut out, first.wrapping_add(1 + last as u32), 0);
        self.sequence = first.wrapping_add(1 + last as u32);
        self.send(&out)?;
        let mut done = false;
        let mut refused = None;
        while !done {
            self.receive(|answer| {
                let index = answer.sequence.wrapping_sub(first) as usize;
                if answer.kind != NLMSG_ERROR || index > last + 1 {
                    return Ok(());
                }
                // An answer to the frame itself, or to the last message, is the last one to come.
                done |= index == 0 || index >= last;
                if let Err(errno) = acknowledged(answer.payload)? {
                    let request = index.checked_sub(1).and_then(|index| messages.get(index));
                    let request = request.map_or("netfilter transaction", |message| &message.request).to_owned();
                    refused.get_or_insert(Error::Refused { request, errno });
                }
                Ok(())
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks for one object; `None` when the kernel says that there is none.
    pub fn get(&mut self, message: &Message) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        let end = self.ask(message, NLM_F_ACK, |payload| found = Some(payload.to_vec()));
        match end {
            Err(Error::Refused { errno: Errno::ENODEV | Errno::ENOENT, .. }) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Asks for all objects of a kind and hands each one's payload to `each`.
    pub fn dump(&mut self, message: &Message, each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.ask(message, NLM_F_DUMP, each)
    }

    fn ask(&mut self, message: &Message, flags: u16, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut out = Vec::new();
        message.write(&mut out, sequence, flags);
        self.send(&out)?;
        let mut done = false;
        let mut refused = None;
        while !done {
            self.receive(|answer| {
                match answer.kind {
                    _ if answer.sequence != sequence => {}
                    NLMSG_DONE => done = true,
                    NLMSG_ERROR => {
                        done = true;
                        if let Err(errno) = acknowledged(answer.payload)? {
                            refused = Some(Error::Refused { request: message.request.clone(), errno });
                        }
                    }
                    _ => each(answer.payload),
                }
                Ok(())
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map_err(Error::Socket)?;
        Ok(())
    }

    fn receive(&self, mut each: impl FnMut(Answer<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut buffer = vec![0; READ_CHUNK_BYTES];
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                other => break other.map_err(Error::Socket)?,
            }
        };
        let mut bytes = &buffer[..length];
        while bytes.len() >= HEADER_BYTES {
            let total = u32_at(bytes, 0)? as usize;
            if total < HEADER_BYTES || total > bytes.len() {
                return Err(Error::Truncated);
            }
            let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
            each(Answer { kind, sequence: u32_at(bytes, 8)?, payload: &bytes[HEADER_BYTES..total] })?;
            bytes = bytes.get(total.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// What an NLMSG_ERROR payload says: zero is success.
fn acknowledged(payload: &[u8]) -> Result<Result<(), Errno>, Error> {
    let code = u32_at(payload, 0)?.cast_signed();
    Ok(if code == 0 { Ok(()) } else { Err(Errno::from_raw(-code)) })
}

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, Error> {
    let word = bytes.get(offset..offset + 4).ok_or(Error::Truncated)?;
    Ok(u32::from_ne_bytes(word.try_into().expect("four bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let mut list = Attributes::default();
        list.put_str(1, "abc").put_be32(2, 7).nest(3, |inner| {
            inner.put(4, &[9]);
        });
        let read: Vec<_> = attributes(&list.0).collect();
        assert_eq!(read[0], (1, &b"abc\0"[..]));
        assert_eq!(read[1], (2, &[0, 0, 0, 7][..]));
        assert_eq!(attributes(read[2].1).collect::<Vec<_>>(), [(4, &[9][..])]);
    }

    #[test]
    fn an_attribute_that_does_not_fit_ends_the_list() {
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
    }
}
