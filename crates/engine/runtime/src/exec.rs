//! One more process in a running container: interactive, or captured for probes and hooks.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe},
};

use crate::{
    containers::State,
    launch::{LaunchError, launch},
    runtime::Runtime,
    spec::{Namespace, ProcessSpec, User},
    streams::{Control, Output, ProcessStreams, Terminal, TerminalSize},
    wire::ExecRequest,
};

/// How long output may still arrive once the process has ended: something in the background may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error("container {0} not found")]
    NotFound(String),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("no command")]
    NoCommand,
    /// `code` is what a shell would say: 126, 127.
    #[error("{message}")]
    Start { message: String, code: Option<i32> },
    #[error("command timed out after {0:?}")]
    TimedOut(Duration),
    #[error("starting the command: {0}")]
    Io(#[from] io::Error),
    #[error("the process was lost: {0}")]
    Lost(io::Error),
}

/// What to execute. Where nothing is said, things are as for the container's main process.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to the container's own.
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<User>,
    pub stdin: bool,
    pub terminal: Option<TerminalSize>,
}

/// A captured command's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    pub code: i32,
    /// Standard output and error as they came, cut off at the limit.
    pub output: Vec<u8>,
    pub truncated: bool,
}

impl Runtime {
    /// Starts the command; the streams are the caller's.
    pub async fn exec(&self, id: &str, spec: ExecSpec) -> Result<ProcessStreams, ExecError> {
        if spec.args.is_empty() {
            return Err(ExecError::NoCommand);
        }
        let request = self.exec_request(id, &spec)?;
        if let Some(size) = spec.terminal {
            return self.exec_in_terminal(request, size, spec.stdin).await;
        }
        let (their_stdin, stdin) = if spec.stdin {
            let (theirs, ours) = pipes()?;
            (theirs, Some(pipe::Sender::from_owned_fd(ours)?))
        } else {
            (OwnedFd::from(std::fs::File::open("/dev/null")?), None)
        };
        let (stdout, their_stdout) = pipes()?;
        let (stderr, their_stderr) = pipes()?;
        let control = self.launch_exec(request, vec![their_stdin, their_stdout, their_stderr]).await?.0;
        Ok(ProcessStreams {
            stdin: stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Some(Box::new(pipe::Receiver::from_owned_fd(stdout)?)),
            stderr: Some(Box::new(pipe::Receiver::from_owned_fd(stderr)?)),
            control: Control::Executed { socket: control, received: Vec::new(), terminal: None, code: None },
        })
    }

    async fn exec_in_terminal(
        &self,
        mut request: ExecRequest,
        size: TerminalSize,
        stdin: bool,
    ) -> Result<ProcessStreams, ExecError> {
        request.terminal = Some((size.columns, size.rows));
        request.process.tty = true;
        let (socket, master) = self.launch_exec(request, Vec::new()).await?;
        let master = master.ok_or_else(|| ExecError::Lost(io::Error::other("no terminal was handed over")))?;
        let terminal = Terminal::new(master)?;
        Ok(ProcessStreams {
            stdin: stdin.then(|| Box::new(terminal.clone()) as _),
            stdout: Some(Box::new(terminal.clone())),
            stderr: None,
            control: Control::Executed { socket, received: Vec::new(), terminal: Some(terminal), code: None },
        })
    }

    /// Runs the command to its end, for probes and hooks. After `timeout` it is killed.
    pub async fn exec_capture(
        &self,
        id: &str,
        args: &[String],
        timeout: Duration,
        limit_bytes: usize,
    ) -> Result<ExecOutput, ExecError> {
        let work = self.capture(id, args, limit_bytes);
        tokio::time::timeout(timeout, work).await.map_err(|_| ExecError::TimedOut(timeout))?
    }

    async fn capture(&self, id: &str, args: &[String], limit_bytes: usize) -> Result<ExecOutput, ExecError> {
        let request = self.exec_request(id, &ExecSpec { args: args.to_vec(), ..ExecSpec::default() })?;
        if args.is_empty() {
            return Err(ExecError::NoCommand);
        }
        // One pipe for both streams keeps their order.
        let (output, theirs) = pipes()?;
        let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
        let second = rustix::io::fcntl_dupfd_cloexec(&theirs, 3).map_err(io::Error::from)?;
        let (socket, _) = self.launch_exec(request, vec![null, theirs, second]).await?;
        let mut streams = ProcessStreams {
            stdin: None,
            stdout: None,
            stderr: None,
            control: Control::Executed { socket, received: Vec::new(), terminal: None, code: None },
        };
        let mut collected = ExecOutput { code: 0, output: Vec::new(), truncated: false };
        let mut output: Output = Box::new(pipe::Receiver::from_owned_fd(output)?);
        tokio::select! {
            code = streams.wait() => collected.code = code?,
            // At its end there is still the code to wait for.
            () = collect(&mut output, &mut collected, limit_bytes) => collected.code = streams.wait().await?,
        }
        let _ = tokio::time::timeout(DRAIN, collect(&mut output, &mut collected, limit_bytes)).await;
        Ok(collected)
    }

    fn exec_request(&self, id: &str, spec: &ExecSpec) -> Result<ExecRequest, ExecError> {
        let entry = self.entry(id).map_err(|_| ExecError::NotFound(id.to_owned()))?;
        let running = matches!(*entry.state.borrow(), State::Running { .. });
        let process = entry.process.as_ref().filter(|_| running).ok_or_else(|| ExecError::NotRunning(id.to_owned()))?;
        let main = &entry.spec.process;
        Ok(ExecRequest {
            process: ProcessSpec {
                args: spec.args.clone(),
                env: main.env.iter().chain(&spec.env).cloned().collect(),
                cwd: spec.cwd.clone().unwrap_or_else(|| main.cwd.clone()),
                user: spec.user.clone().unwrap_or_else(|| main.user.clone()),
                tty: false,
                ..main.clone()
            },
            privileged: entry.spec.privileged,
            pid: process.state.pid,
            start_ticks: process.state.start_ticks,
            join_pid: entry.spec.namespaces.pid != Namespace::Host,
            hierarchies: self.inner.hierarchies.clone(),
            cgroup: self.cgroup_path(&entry.spec.cgroup),
            terminal: None,
        })
    }

    async fn launch_exec(
        &self,
        request: ExecRequest,
        stdio: Vec<OwnedFd>,
    ) -> Result<(UnixStream, Option<OwnedFd>), ExecError> {
        let shim = self.inner.options.shim.clone();
        let launched = tokio::task::spawn_blocking(move || {
            let fds: Vec<_> = stdio.iter().map(AsFd::as_fd).collect();
            launch(&shim, "exec", &request, &fds)
        });
        let (channel, _, fds) = launched.await.map_err(io::Error::other)?.map_err(|error| match error {
            LaunchError::Io(error) => ExecError::Io(error),
            LaunchError::Failed(failure) => ExecError::Start { message: failure.message, code: failure.code },
        })?;
        channel.0.set_nonblocking(true)?;
        Ok((UnixStream::from_std(channel.0)?, fds.into_iter().next()))
    }
}

fn pipes() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Until the end; what is over the limit is read and thrown away, so that the process can go on.
async fn collect(from: &mut Output, into: &mut ExecOutput, limit_bytes: usize) {
    let mut buffer = vec![0; 8192];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        let kept = n.min(limit_bytes - into.output.len());
        into.output.extend_from_slice(&buffer[..kept]);
        into.truncated |= kept < n;
    }
}
