//! The streams of a container's main process, by way of its shim, which keeps writing the log meanwhile.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::UnixStream,
    sync::{mpsc, oneshot},
};

use crate::{
    containers::{self, State},
    exec::ExecError,
    runtime::Runtime,
    streams::{Control, ProcessStreams, TerminalSize},
    wire::{Frame, FrameReader},
};

const BUFFER_BYTES: usize = 64 << 10;
const RESIZES: usize = 4;

impl Runtime {
    /// Output from now on; `stdin` where the container was asked to keep it open. Dropping the result detaches.
    pub async fn attach(&self, id: &str) -> Result<ProcessStreams, ExecError> {
        let entry = self.entry(id).map_err(|_| ExecError::NotFound(id.to_owned()))?;
        if !matches!(*entry.state.borrow(), State::Running { .. }) {
            return Err(ExecError::NotRunning(id.to_owned()));
        }
        let mut socket = containers::connect(&self.directory(id)).map_err(|_| ExecError::NotRunning(id.to_owned()))?;
        send(&mut socket, &Frame::Attach).await?;
        let tty = entry.spec.process.tty;
        let (stdin, their_stdin) = duplex(BUFFER_BYTES);
        let (stdout, their_stdout) = duplex(BUFFER_BYTES);
        let (stderr, their_stderr) = duplex(BUFFER_BYTES);
        let (resize, resizes) = mpsc::channel(RESIZES);
        let (exited, exit) = oneshot::channel();
        let bridge = Bridge { socket, stdout: their_stdout, stderr: their_stderr };
        let wants_stdin = entry.spec.stdin;
        let task = coracle_tasks::spawn("attach", async move {
            // A broken connection shows as the end of the streams.
            if let Ok(Some(code)) = bridge.run(wants_stdin.then_some(their_stdin), resizes).await {
                let _ = exited.send(code);
            }
        });
        Ok(ProcessStreams {
            stdin: wants_stdin.then(|| Box::new(stdin) as _),
            stdout: Some(Box::new(stdout)),
            stderr: (!tty).then(|| Box::new(stderr) as _),
            control: Control::Attached { resize, exit: Some(exit), bridge: task.abort_handle(), code: None },
        })
    }
}

struct Bridge {
    socket: UnixStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
}

impl Bridge {
    /// Until the container ends (its code), or the shim hangs up.
    async fn run(
        self,
        stdin: Option<DuplexStream>,
        resizes: mpsc::Receiver<TerminalSize>,
    ) -> std::io::Result<Option<i32>> {
        let Self { socket, mut stdout, mut stderr } = self;
        let (mut from_shim, mut to_shim) = socket.into_split();
        let upstream = async {
            let (mut stdin, mut resizes) = (stdin, Some(resizes));
            let mut buffer = vec![0; 8192];
            loop {
                let frame = tokio::select! {
                    read = read_from(stdin.as_mut(), &mut buffer) => match read? {
                        0 => { stdin = None; Frame::CloseStdin }
                        n => Frame::Stdin(buffer[..n].to_vec()),
                    },
                    size = next_of(resizes.as_mut()) => match size {
                        Some(TerminalSize { columns, rows }) => Frame::Resize { columns, rows },
                        None => { resizes = None; continue }
                    },
                };
                let mut bytes = Vec::new();
                frame.append_to(&mut bytes);
                to_shim.write_all(&bytes).await?;
            }
        };
        let downstream = async {
            let mut frames = FrameReader::default();
            let mut buffer = vec![0; 8192];
            loop {
                let n = from_shim.read(&mut buffer).await?;
                if n == 0 {
                    return Ok(None);
                }
                frames.push(&buffer[..n]);
                for frame in frames.by_ref() {
                    // Whoever dropped a stream does not want it; the others go on.
                    match frame {
                        Frame::Stdout(bytes) => drop(stdout.write_all(&bytes).await),
                        Frame::Stderr(bytes) => drop(stderr.write_all(&bytes).await),
                        Frame::Exited(exit) => return Ok(Some(exit.code)),
                        _ => {}
                    }
                }
            }
        };
        tokio::select! {
            ended = downstream => ended,
            failed = upstream => failed,
        }
    }
}

async fn read_from(stream: Option<&mut DuplexStream>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match stream {
        Some(stream) => stream.read(buffer).await,
        None => std::future::pending().await,
    }
}

async fn next_of(queue: Option<&mut mpsc::Receiver<TerminalSize>>) -> Option<TerminalSize> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

async fn send(socket: &mut UnixStream, frame: &Frame) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    frame.append_to(&mut bytes);
    socket.write_all(&bytes).await
}
