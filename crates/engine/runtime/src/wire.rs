//! What engine and shim say to each other: length-prefixed JSON over a unix socket, with file descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cgroup::Hierarchies,
    containers::Exit,
    spec::{ContainerSpec, ProcessSpec},
};

/// No message is longer: a spec with 1 MiB of environment fits.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// No message carries more descriptors.
const MAX_FDS: usize = 4;

/// First message to `__shim run`. With it: the held lock of the container's directory, then, for a build step, where output goes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunRequest {
    pub spec: ContainerSpec,
    /// `ROOT/containers/ID`.
    pub dir: PathBuf,
    /// `ROOT/images/layers`.
    pub layers_dir: PathBuf,
    /// The overlay's own two directories, on one file system.
    pub upper: PathBuf,
    pub work: PathBuf,
    pub hierarchies: Hierarchies,
    /// The absolute path of the container's cgroup.
    pub cgroup: String,
    /// Kill the container when the engine hangs up: a build step.
    pub tied: bool,
}

/// First message to `__shim exec`. With it: stdin, stdout, stderr, unless there is a terminal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub process: ProcessSpec,
    pub privileged: bool,
    pub pid: i32,
    /// In clock ticks since boot, so that a reused pid is noticed.
    pub start_ticks: u64,
    /// Whether the container has its own pid namespace, or one that is not the node's.
    pub join_pid: bool,
    pub hierarchies: Hierarchies,
    pub cgroup: String,
    pub terminal: Option<(u16, u16)>,
}

/// First message to `__shim pause`: hold a pid namespace open.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PauseRequest {
    pub hierarchies: Hierarchies,
    pub cgroup: String,
    /// Where the namespace is bind-mounted.
    pub target: PathBuf,
}

/// What a shim answers, in this order: at most one of the first two, then the third.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The command runs. With it, for an exec with a terminal: the terminal's master side.
    Started {
        pid: i32,
        start_ticks: u64,
        started_at: jiff::Timestamp,
    },
    Failed(Failure),
    Exited(Exit),
}

/// What the forked process tells its shim. After the last of these the socket closes itself on exec.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChildReport {
    /// With it: the terminal's two ends, the master first.
    Console,
    Failed(Failure),
}

/// Why there is no running command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The container was made but its command could not be executed: `StartError`.
    pub start: bool,
    /// 126 and 127 as in a shell, where the command itself is the reason.
    pub code: Option<i32>,
    pub message: String,
}

/// `state.json`: which process is the container's first.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SavedState {
    pub pid: i32,
    /// See [`start_ticks`].
    pub start_ticks: u64,
    pub started_at: jiff::Timestamp,
}

/// When a process was started, in clock ticks since boot: with its number, that names it for good.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it are numbers.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// The shim's socket in the container's directory.
pub(crate) const SOCKET: &str = "shim.sock";

/// A path to the socket that is short whatever the data directory is called: addresses have 108 bytes.
pub(crate) fn socket_path(directory: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// What goes over the shim's socket: one byte for the kind, four for the length, then the payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// From the engine: output from now on, please. Without it only the end is told.
    Attach,
    Stdin(Vec<u8>),
    CloseStdin,
    Resize {
        columns: u16,
        rows: u16,
    },
    /// From the shim.
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exited(Exit),
}

impl Frame {
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        let (kind, payload): (u8, std::borrow::Cow<'_, [u8]>) = match self {
            Self::Stdin(bytes) => (0, bytes.into()),
            Self::Stdout(bytes) => (1, bytes.into()),
            Self::Stderr(bytes) => (2, bytes.into()),
            Self::Resize { columns, rows } => (3, [columns.to_le_bytes(), rows.to_le_bytes()].concat().into()),
            Self::CloseStdin => (4, (&[][..]).into()),
            Self::Exited(exit) => (5, serde_json::to_vec(exit).unwrap_or_default().into()),
            Self::Attach => (6, (&[][..]).into()),
        };
        buffer.push(kind);
        buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&payload);
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        Some(match kind {
            0 => Self::Stdin(payload.to_vec()),
            1 => Self::Stdout(payload.to_vec()),
            2 => Self::Stderr(payload.to_vec()),
            3 => {
                let (columns, rows) = payload.split_at_checked(2)?;
                Self::Resize {
                    columns: u16::from_le_bytes(columns.try_into().ok()?),
                    rows: u16::from_le_bytes(rows.try_into().ok()?),
                }
            }
            4 => Self::CloseStdin,
            5 => Self::Exited(serde_json::from_slice(payload).ok()?),
            6 => Self::Attach,
            _ => return None,
        })
    }
}

/// Takes bytes as they come, gives whole frames. A frame that cannot be read is left out.
#[derive(Debug, Default)]
pub(crate) struct FrameReader(Vec<u8>);

impl FrameReader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl Iterator for FrameReader {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        loop {
            let (header, rest) = self.0.split_at_checked(5)?;
            let length = u32::from_le_bytes(header[1..].try_into().ok()?) as usize;
            let frame = Frame::decode(header[0], rest.get(..length)?);
            self.0.drain(..5 + length);
            if frame.is_some() {
                return frame;
            }
        }
    }
}

/// A socket that carries messages.
#[derive(Debug)]
pub(crate) struct Channel(pub UnixStream);

impl Channel {
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Self(a), Self(b)))
    }

    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let frame = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
        let mut sent = send_with_fds(self.0.as_fd(), &frame, fds)?;
        let mut stream = &self.0;
        while sent < frame.len() {
            sent += stream.write(&frame[sent..])?;
        }
        Ok(())
    }

    /// `None` where the other side has hung up.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut header = [0; 4];
        let (mut got, fds) = receive_with_fds(self.0.as_fd(), &mut header)?;
        if got == 0 {
            return Ok(None);
        }
        let mut stream = &self.0;
        while got < header.len() {
            match stream.read(&mut header[got..])? {
                0 => return Ok(None),
                n => got += n,
            }
        }
        let length = u32::from_le_bytes(header) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is too long")));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Some((serde_json::from_slice(&body)?, fds)))
    }
}

/// Sends at least one byte of `bytes`, and all of `fds`.
pub(crate) fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many file descriptors for one message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

pub(crate) fn receive_with_fds(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        a.send(&"hello", &[writer.as_fd()]).unwrap();
        drop(writer);
        let (text, fds) = b.receive::<String>().unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("hello", 1));
        rustix::io::write(&fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 8]).unwrap(), 1);
        drop(a);
        assert!(b.receive::<String>().unwrap().is_none());
    }
}
