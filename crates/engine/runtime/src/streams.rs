//! The standard streams of a process in a container, for whoever called for it.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::termios::{Winsize, tcsetwinsize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use crate::{exec::ExecError, wire::Report};

/// Bytes to the process.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// Bytes from the process.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

/// A process that was executed or attached to. Dropping it ends an executed process, and leaves an attached one alone.
///
/// The streams may be taken out and used elsewhere; closing `stdin` is dropping it.
pub struct ProcessStreams {
    pub stdin: Option<Input>,
    pub stdout: Option<Output>,
    /// `None` with a terminal: all is one stream.
    pub stderr: Option<Output>,
    pub(crate) control: Control,
}

pub(crate) enum Control {
    Executed {
        socket: UnixStream,
        received: Vec<u8>,
        terminal: Option<Terminal>,
        code: Option<i32>,
    },
    Attached {
        resize: mpsc::Sender<TerminalSize>,
        exit: Option<oneshot::Receiver<i32>>,
        bridge: AbortHandle,
        code: Option<i32>,
    },
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Self::Attached { bridge, .. } = self {
            bridge.abort();
        }
    }
}

impl ProcessStreams {
    /// No effect without a terminal.
    pub fn resize(&self, size: TerminalSize) {
        match &self.control {
            Control::Executed { terminal: Some(terminal), .. } => terminal.resize(size),
            Control::Executed { .. } => {}
            // A resize that finds the queue full is followed by another.
            Control::Attached { resize, .. } => drop(resize.try_send(size)),
        }
    }

    /// The exit code: 128 and the signal's number after a signal. Output may still be on its way. May be called again, and cancelled.
    pub async fn wait(&mut self) -> Result<i32, ExecError> {
        match &mut self.control {
            Control::Executed { code: Some(code), .. } | Control::Attached { code: Some(code), .. } => Ok(*code),
            Control::Executed { socket, received, code, .. } => {
                let exit = loop {
                    if let Some(Report::Exited(exit)) = parse(received) {
                        break exit;
                    }
                    if socket.read_buf(received).await.map_err(ExecError::Lost)? == 0 {
                        return Err(ExecError::Lost(io::ErrorKind::UnexpectedEof.into()));
                    }
                };
                Ok(*code.insert(exit.code))
            }
            Control::Attached { exit, code, .. } => {
                let receiver = exit.as_mut().ok_or_else(|| ExecError::Lost(io::ErrorKind::UnexpectedEof.into()))?;
                let ended = receiver.await.map_err(|_| ExecError::Lost(io::ErrorKind::UnexpectedEof.into()))?;
                *exit = None;
                Ok(*code.insert(ended))
            }
        }
    }
}

/// The one message a helper still has to send.
fn parse(received: &[u8]) -> Option<Report> {
    let (length, body) = received.split_first_chunk::<4>()?;
    serde_json::from_slice(body.get(..u32::from_le_bytes(*length) as usize)?).ok()
}

/// A descriptor whose readiness the runtime watches.
#[expect(
    deprecated,
    reason = "the newer call is unsafe for types that lie about their descriptor; an OwnedFd does not"
)]
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// The outer end of a terminal: one descriptor for both directions.
#[derive(Debug, Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    pub fn new(master: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self(Arc::new(watched(master, Interest::READABLE | Interest::WRITABLE)?)))
    }

    fn resize(&self, size: TerminalSize) {
        let size = Winsize { ws_col: size.columns, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(self.0.get_ref(), size);
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(n)) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has the inner end open any more: the end.
                Ok(Err(error)) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
