//! What a running engine leaves for other commands to find: a lock for as long as it lives, and a file that says where it is.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use serde::{Deserialize, Serialize};

use crate::paths::DataDir;

/// How long the lock of a killed engine may outlive it, and one that starts may keep silent.
const LAST_BREATH: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the engine says of itself in `engine.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    pub pid: i32,
    pub version: String,
    /// Whether everything that was to start has started.
    pub ready: bool,
    pub urls: Urls,
}

/// Where an engine can be reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Urls {
    pub api: String,
    pub console: String,
    /// What `git push` takes, with `APP.git` after it; without the token.
    pub git: String,
    pub registry: String,
    pub gateway: String,
    pub gateway_tls: String,
}

/// The lock on a data directory; released when it is dropped or its process ends, however it ends.
/// Of the open file rather than of the process, so that asking who holds it takes nothing from anybody.
pub struct EngineLock(#[expect(dead_code, reason = "held, not read")] File);

impl EngineLock {
    /// Takes the lock, or says who has it.
    pub fn take(dir: &DataDir) -> anyhow::Result<Self> {
        let path = dir.lock();
        let file = open_lock(&path).with_context(|| format!("lock file {}", path.display()))?;
        let start = Instant::now();
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => {
                    forget(dir)?;
                    return Ok(Self(file));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(errno) => return Err(errno).with_context(|| format!("lock file {}", path.display())),
            }
            match read(dir) {
                Some(state) if lives(state.pid) => bail!(
                    "an engine already runs in {} (process {}). `coracle status` shows it; --data-dir starts another one beside it",
                    dir.root().display(),
                    state.pid
                ),
                _ if start.elapsed() < LAST_BREATH => std::thread::sleep(LOOK_AGAIN),
                _ => bail!("another engine is just starting or stopping in {}", dir.root().display()),
            }
        }
    }
}

/// Whether the process is there and more than a zombie. A killed process keeps its locks until its last thread is gone,
/// which is some milliseconds after it stopped being one.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn whole_file() -> libc::flock {
    let whole = |constant: i32| i16::try_from(constant).expect("a small constant");
    libc::flock { l_type: whole(libc::F_WRLCK), l_whence: whole(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

/// Whether some process holds the lock.
pub fn is_running(dir: &DataDir) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(dir.lock()) else { return false };
    let mut holder = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut holder)).is_ok() && i32::from(holder.l_type) != libc::F_UNLCK
}

/// The state of the engine that runs in `dir`, or `None` when none does.
pub fn running(dir: &DataDir) -> Option<EngineState> {
    if is_running(dir) { read(dir).filter(|state| lives(state.pid)) } else { None }
}

fn read(dir: &DataDir) -> Option<EngineState> {
    serde_json::from_slice(&fs::read(dir.state()).ok()?).ok()
}

/// Removes what an engine that is gone said of itself. Only for whoever knows that none runs.
pub fn forget(dir: &DataDir) -> anyhow::Result<()> {
    match fs::remove_file(dir.state()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.state().display()))
        }
        _ => Ok(()),
    }
}

/// Writes the state so that readers see the old one or the new one whole.
pub fn write(dir: &DataDir, state: &EngineState) -> anyhow::Result<()> {
    write_whole(&dir.state(), &serde_json::to_vec_pretty(state)?, 0o644)
}

/// Replaces a file by rename, made durable.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
