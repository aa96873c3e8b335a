//! What is known of each container, and the watch over its end.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, net::UnixStream};

use crate::{
    files,
    wire::{Frame, FrameReader, SavedState, socket_path, start_ticks},
};

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 128 and the signal's number where a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    /// The kernel killed at least one of its processes for want of memory.
    pub oom_killed: bool,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// Its shim had been killed too, so that nobody knows the code; it is given as 137.
    #[serde(default)]
    pub lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running { pid: i32, started_at: Timestamp },
    Exited(Exit),
}

#[derive(Debug, Clone)]
pub struct ContainerStatus {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// As in the spec.
    pub image: String,
    pub log: Option<PathBuf>,
    /// As in the spec, below the runtime's own.
    pub cgroup: String,
    pub state: State,
}

/// A container has ended.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub exit: Exit,
}

/// What an exit is called of which nothing but the fact is known.
const LOST_CODE: i32 = 137;
/// A shim that holds its lock but has written nothing yet is in the middle of a start.
const START_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// A process, and a descriptor that cannot come to mean another.
#[derive(Debug)]
pub(crate) struct Process {
    pub state: SavedState,
    /// `None` where it has ended.
    pub pidfd: Option<OwnedFd>,
}

impl Process {
    pub fn find(state: SavedState) -> Self {
        let pidfd = Pid::from_raw(state.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Only after the descriptor is open does the comparison mean anything.
        let pidfd = pidfd.filter(|_| start_ticks(state.pid) == Some(state.start_ticks));
        Self { state, pidfd }
    }

    pub fn signal(&self, number: i32) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(number)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("there is no signal {number}")))?;
        match self.pidfd.as_ref().map(|pidfd| rustix::process::pidfd_send_signal(pidfd, signal)) {
            Some(Err(error)) if error != rustix::io::Errno::SRCH => Err(error.into()),
            // Gone already is as good as signalled.
            _ => Ok(()),
        }
    }
}

/// What an engine finds in a container's directory.
pub(crate) enum Found {
    Ended(Exit),
    Running(SavedState),
    /// Its start was cut off; nothing runs.
    Nothing,
}

/// Looks at `dir`, waiting where a shim is just starting.
pub(crate) async fn look(dir: &Path) -> io::Result<Found> {
    let patience = tokio::time::Instant::now() + START_PATIENCE;
    loop {
        // Asked first: what a shim writes before it lets go must be seen.
        let shim_lives = shim_lives(dir)?;
        if let Some(exit) = files::read_json::<Exit>(&dir.join("exit.json"))? {
            return Ok(Found::Ended(exit));
        }
        if let Some(state) = files::read_json::<SavedState>(&dir.join("state.json"))? {
            return Ok(Found::Running(state));
        }
        if !shim_lives || tokio::time::Instant::now() > patience {
            return Ok(Found::Nothing);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Takes the directory's lock as the shim is going to hold it.
pub(crate) fn lock(dir: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    file.try_lock().map_err(io::Error::other)?;
    Ok(file)
}

pub(crate) fn shim_lives(dir: &Path) -> io::Result<bool> {
    match File::open(dir.join("lock")) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(std::fs::TryLockError::WouldBlock) => Ok(true),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A connection to the shim of the container in `dir`.
pub(crate) fn connect(dir: &Path) -> io::Result<UnixStream> {
    let directory = File::open(dir)?;
    let stream = StdUnixStream::connect(socket_path(&directory))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Waits until the container has ended: told by the shim, or seen by ourselves where that has been killed.
pub(crate) async fn ended(dir: &Path, state: SavedState) -> Exit {
    if let Ok(stream) = connect(dir)
        && let Some(exit) = told(stream).await
    {
        return exit;
    }
    if let Ok(Some(exit)) = files::read_json::<Exit>(&dir.join("exit.json")) {
        return exit;
    }
    // No shim any more. Its container may live on.
    if let Some(pidfd) = Process::find(state).pidfd
        && let Ok(pidfd) = crate::streams::watched(pidfd, tokio::io::Interest::READABLE)
    {
        let _ = pidfd.readable().await;
    }
    // The shim may have lived just long enough after all.
    if let Ok(Some(exit)) = files::read_json::<Exit>(&dir.join("exit.json")) {
        return exit;
    }
    let exit = Exit {
        code: LOST_CODE,
        signal: None,
        oom_killed: false,
        started_at: state.started_at,
        finished_at: now(),
        lost: true,
    };
    let _ = files::replace_json(&dir.join("exit.json"), &exit);
    exit
}

async fn told(mut stream: UnixStream) -> Option<Exit> {
    let mut frames = FrameReader::default();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => frames.push(&buffer[..n]),
        }
        for frame in frames.by_ref() {
            if let Frame::Exited(exit) = frame {
                return Some(exit);
            }
        }
    }
}

fn now() -> Timestamp {
    coracle_clock::Clock::now(&coracle_clock::SystemClock)
}
