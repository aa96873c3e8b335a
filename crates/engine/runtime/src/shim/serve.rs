//! The shim's long middle: output into the log and to whoever is attached, input from there, and the moment of the end.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use coracle_clock::{Clock, SystemClock};
use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, WaitOptions, WaitStatus, wait},
    termios::{Winsize, tcsetwinsize},
};

use super::log::{Log, Stream};
use crate::{
    cgroup::Group,
    containers::Exit,
    spec::{ContainerSpec, Namespace},
    wire::{Channel, Frame, FrameReader},
};

const READ_BYTES: usize = 32 << 10;
/// An attached client that lets this much pile up is cut off; the log has it all.
const MAX_BACKLOG_BYTES: usize = 1 << 20;
/// Input is not read from clients while this much waits for the container.
const MAX_INPUT_BYTES: usize = 64 << 10;
/// How often orphans are reaped where the container has no pid namespace of its own to do that.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// How long the last output may take to arrive after the end.
const DRAIN: Duration = Duration::from_millis(500);

/// Our ends of the container's standard streams.
pub(super) enum Output {
    /// A build step writes straight to the engine.
    None,
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
    /// The inner end is kept so that the terminal outlives programs that close it.
    Terminal {
        master: OwnedFd,
        slave: Option<OwnedFd>,
    },
}

struct Client {
    stream: UnixStream,
    incoming: FrameReader,
    outgoing: Vec<u8>,
    /// Attached rather than only watching for the end.
    attached: bool,
    gone: bool,
}

pub(super) struct Container {
    pub pid: Pid,
    pub started_at: Timestamp,
    pidfd: OwnedFd,
    output: Output,
    log: Option<Log<SystemClock>>,
    listener: UnixListener,
    clients: Vec<Client>,
    input: Vec<u8>,
    stdin_once: bool,
    /// Close the container's stdin once `input` is empty.
    close_stdin: bool,
    own_pid_namespace: bool,
    status: Option<WaitStatus>,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    End,
    Control,
    Listener,
    Out(Stream),
    Terminal,
    Stdin,
    Client(usize),
}

impl Container {
    pub fn new(
        pid: Pid,
        pidfd: OwnedFd,
        started_at: Timestamp,
        spec: &ContainerSpec,
        output: Output,
        log: Option<Log<SystemClock>>,
        listener: UnixListener,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        match &output {
            Output::None => {}
            Output::Pipes { stdin, stdout, stderr } => {
                [stdin, stdout, stderr].into_iter().flatten().try_for_each(|fd| rustix::io::ioctl_fionbio(fd, true))?;
            }
            Output::Terminal { master, .. } => rustix::io::ioctl_fionbio(master, true)?,
        }
        Ok(Self {
            pid,
            started_at,
            pidfd,
            output,
            log,
            listener,
            clients: Vec::new(),
            input: Vec::new(),
            stdin_once: spec.stdin_once,
            close_stdin: false,
            own_pid_namespace: spec.namespaces.pid == Namespace::New,
            status: None,
        })
    }

    /// Until the first process has ended and its output is all read.
    pub fn watch(&mut self, control: &Channel, tied: bool, group: &Group) -> Exit {
        let mut hung_up = false;
        let timeout = if self.own_pid_namespace { None } else { Timespec::try_from(REAP_EVERY).ok() };
        loop {
            for (source, flags) in self.wait(timeout.as_ref(), (!hung_up).then_some(control)) {
                match source {
                    Source::Control => {
                        // The engine says nothing more on this socket; it only ever closes it.
                        hung_up = true;
                        if tied {
                            group.kill();
                        }
                    }
                    Source::End => {}
                    other => self.handle(other, flags),
                }
            }
            self.clients.retain(|client| !client.gone);
            self.reap();
            if let Some(status) = self.status {
                return self.end(status, group);
            }
        }
    }

    fn wait(&self, timeout: Option<&Timespec>, control: Option<&Channel>) -> Vec<(Source, PollFlags)> {
        let mut sources = vec![Source::End, Source::Listener];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(control) = control {
            add(Source::Control, control.0.as_fd(), PollFlags::IN);
        }
        match &self.output {
            Output::None => {}
            Output::Pipes { stdin, stdout, stderr } => {
                if let Some(fd) = stdout {
                    add(Source::Out(Stream::Stdout), fd.as_fd(), PollFlags::IN);
                }
                if let Some(fd) = stderr {
                    add(Source::Out(Stream::Stderr), fd.as_fd(), PollFlags::IN);
                }
                if let (Some(fd), false) = (stdin, self.input.is_empty()) {
                    add(Source::Stdin, fd.as_fd(), PollFlags::OUT);
                }
            }
            Output::Terminal { master, .. } => {
                let input = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
                add(Source::Terminal, master.as_fd(), PollFlags::IN | input);
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            if self.input.len() < MAX_INPUT_BYTES {
                flags |= PollFlags::IN;
            }
            if !client.outgoing.is_empty() {
                flags |= PollFlags::OUT;
            }
            add(Source::Client(index), client.stream.as_fd(), flags);
        }
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        sources.into_iter().zip(fds.iter().map(PollFd::revents)).filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn handle(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Out(stream) => self.read_pipe(stream),
            Source::Terminal => {
                if flags.contains(PollFlags::OUT) {
                    self.feed();
                }
                if flags.intersects(PollFlags::IN | PollFlags::HUP) {
                    self.read_terminal();
                }
            }
            Source::Stdin => self.feed(),
            Source::Client(index) => self.hear(index, flags),
            Source::End | Source::Control => {}
        }
    }

    /// One chunk; the pipe is given up at its end.
    fn read_pipe(&mut self, stream: Stream) {
        let Output::Pipes { stdout, stderr, .. } = &mut self.output else { return };
        let end = if stream == Stream::Stdout { stdout } else { stderr };
        match end.as_ref().map(read_chunk) {
            Some(Chunk::Data(bytes)) => self.publish(stream, &bytes),
            Some(Chunk::Ended) => *end = None,
            Some(Chunk::Nothing) | None => {}
        }
    }

    fn read_terminal(&mut self) {
        let Output::Terminal { master, .. } = &self.output else { return };
        if let Chunk::Data(bytes) = read_chunk(master) {
            self.publish(Stream::Stdout, &bytes);
        }
    }

    fn publish(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            // A full disk must not end the container.
            let _ = log.write(stream, bytes);
        }
        let frame = match stream {
            Stream::Stdout => Frame::Stdout(bytes.to_vec()),
            Stream::Stderr => Frame::Stderr(bytes.to_vec()),
        };
        for client in self.clients.iter_mut().filter(|client| client.attached) {
            client.send(&frame);
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client {
                    stream,
                    incoming: FrameReader::default(),
                    outgoing: Vec::new(),
                    attached: false,
                    gone: false,
                });
            }
        }
    }

    fn hear(&mut self, index: usize, flags: PollFlags) {
        let client = &mut self.clients[index];
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let mut buffer = [0; 4096];
        match client.stream.read(&mut buffer) {
            Ok(0) => client.gone = true,
            Ok(n) => client.incoming.push(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => client.gone = true,
        }
        self.close_stdin |= client.gone && client.attached && self.stdin_once;
        for frame in client.incoming.by_ref() {
            match frame {
                Frame::Attach => client.attached = true,
                Frame::Stdin(bytes) => self.input.extend_from_slice(&bytes),
                Frame::Resize { columns, rows } => {
                    if let Output::Terminal { master, .. } = &self.output {
                        let _ =
                            tcsetwinsize(master, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 });
                    }
                }
                Frame::CloseStdin => self.close_stdin |= self.stdin_once,
                // Ours to send.
                Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exited(_) => client.gone = true,
            }
        }
        self.feed();
    }

    /// As much input as the container takes now.
    fn feed(&mut self) {
        let target = match &self.output {
            Output::Pipes { stdin: Some(stdin), .. } => stdin.as_fd(),
            Output::Terminal { master, .. } => master.as_fd(),
            _ => {
                self.input.clear();
                return;
            }
        };
        while !self.input.is_empty() {
            match rustix::io::write(target, &self.input) {
                Ok(n) => drop(self.input.drain(..n)),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.input.clear(),
            }
        }
        if self.close_stdin
            && let Output::Pipes { stdin, .. } = &mut self.output
        {
            *stdin = None;
        }
    }

    /// All that has ended: the first process, and orphans that came to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                self.status = Some(status);
            }
        }
    }

    fn end(&mut self, status: WaitStatus, group: &Group) -> Exit {
        let finished_at = SystemClock.now();
        if !self.own_pid_namespace {
            // Nothing of the container outlives its first process.
            group.kill();
        }
        if let Output::Terminal { slave, .. } = &mut self.output {
            *slave = None;
        }
        self.drain();
        if let Some(log) = &mut self.log {
            let _ = log.finish();
        }
        let signal = status.terminating_signal();
        let code = signal.map_or_else(|| status.exit_status().unwrap_or(255), |signal| 128 + signal);
        let oom_killed = code != 0 && group.oom_kills() > 0;
        Exit { code, signal, oom_killed, started_at: self.started_at, finished_at, lost: false }
    }

    fn drain(&mut self) {
        let until = Instant::now() + DRAIN;
        loop {
            let open = match &self.output {
                Output::Pipes { stdout, stderr, .. } => stdout.is_some() || stderr.is_some(),
                Output::Terminal { .. } => true,
                Output::None => false,
            };
            let left = until.saturating_duration_since(Instant::now());
            if !open || left.is_zero() {
                return;
            }
            let ready = match &self.output {
                Output::Terminal { master, .. } => match read_chunk(master) {
                    Chunk::Data(bytes) => {
                        self.publish(Stream::Stdout, &bytes);
                        continue;
                    }
                    // Without any inner end open, nothing more can come.
                    Chunk::Ended | Chunk::Nothing => return,
                },
                _ => self.wait(Timespec::try_from(left).ok().as_ref(), None),
            };
            for (source, _) in ready {
                if let Source::Out(stream) = source {
                    self.read_pipe(stream);
                }
            }
        }
    }

    /// The end, to everybody who is connected.
    pub fn announce(&mut self, exit: &Exit) {
        for client in &mut self.clients {
            // Whoever has not read all yet gets a moment, then the rest is in the log.
            let _ = client.stream.set_nonblocking(false);
            let _ = client.stream.set_write_timeout(Some(DRAIN));
            client.send(&Frame::Exited(exit.clone()));
        }
    }
}

impl Client {
    fn send(&mut self, frame: &Frame) {
        frame.append_to(&mut self.outgoing);
        self.flush();
        if self.outgoing.len() > MAX_BACKLOG_BYTES {
            self.gone = true;
        }
    }

    fn flush(&mut self) {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return,
                Ok(n) => drop(self.outgoing.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    self.outgoing.clear();
                }
            }
        }
    }
}

enum Chunk {
    Data(Vec<u8>),
    Nothing,
    Ended,
}

fn read_chunk(fd: &OwnedFd) -> Chunk {
    let mut buffer = vec![0; READ_BYTES];
    match rustix::io::read(fd, &mut buffer) {
        Ok(0) => Chunk::Ended,
        Ok(n) => {
            buffer.truncate(n);
            Chunk::Data(buffer)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Chunk::Nothing,
        Err(_) => Chunk::Ended,
    }
}
