//! A private engine for a scenario test: its own data directory, its own ports, gone when the test ends.
//!
//! The engine is the real binary, started the way a person starts it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

mod disk;
mod git;
mod kubectl;

pub use disk::SmallDisk;
pub use git::Repository;
pub use kubectl::Kubectl;

/// How long an engine may take to start or stop before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running engine of the test's own.
pub struct Engine {
    binary: PathBuf,
    dir: PathBuf,
    /// What `up` is told beside where to listen.
    flags: Vec<String>,
    status: Value,
    /// Removed with the engine, where it made it itself.
    _own_dir: Option<tempfile::TempDir>,
}

impl Engine {
    /// Starts `binary up --detach` in a fresh directory, on free ports, and returns when it is ready.
    pub fn start(binary: &Path) -> anyhow::Result<Self> {
        Self::start_with(binary, &[])
    }

    /// The same with more flags for `up`.
    pub fn start_with(binary: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("coracle-").tempdir()?;
        Self::begin(binary, dir.path().to_owned(), Some(dir), flags)
    }

    /// The same in a directory of the caller's.
    pub fn start_in(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        Self::begin(binary, dir.to_owned(), None, &[])
    }

    fn begin(binary: &Path, dir: PathBuf, own_dir: Option<tempfile::TempDir>, flags: &[&str]) -> anyhow::Result<Self> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut engine = Self { binary: binary.to_owned(), dir, flags, status: Value::Null, _own_dir: own_dir };
        engine.up()?;
        Ok(engine)
    }

    /// Whether this process may start engines at all; says on standard error why a test is left out when not.
    pub fn is_possible() -> bool {
        let possible = nix::unistd::geteuid().is_root();
        if !possible {
            eprintln!("left out: starting containers needs root");
        }
        possible
    }

    /// Starts it again, in the same directory and on the same ports.
    pub fn up(&mut self) -> anyhow::Result<()> {
        let listen: &[&str] = if self.status.is_null() {
            &[
                "--listen=127.0.0.1:0",
                "--api-listen=127.0.0.1:0",
                "--gateway-listen=127.0.0.1:0",
                "--gateway-tls-listen=127.0.0.1:0",
            ]
        } else {
            &[]
        };
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.run(&[&["up", "--detach"], listen, &flags].concat())?;
        self.status = serde_json::from_slice(&self.run(&["status", "--json"])?.stdout)?;
        ensure!(self.status["ready"] == true, "the engine says it is not ready: {}", self.status);
        Ok(())
    }

    /// Runs the binary against this engine's directory; an error carries what it printed.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(arguments).output()?;
        if !output.status.success() {
            bail!(
                "coracle {} ended with {}:\n{}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output)
    }

    /// The binary as a command with this engine's directory set.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("CORACLE_DATA_DIR", &self.dir).env_remove("CORACLE_CONFIG").stdin(Stdio::null());
        command
    }

    /// The engine's data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The engine's process.
    pub fn pid(&self) -> i32 {
        self.status["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or_default()
    }

    /// One of the addresses `coracle status` lists, such as `gateway`.
    pub fn url(&self, name: &str) -> &str {
        self.status["urls"][name].as_str().unwrap_or_default()
    }

    /// The file that leads kubectl to this engine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// An API client with the rights of the engine's owner.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        Ok(coracle_client::from_kubeconfig(&self.kubeconfig()).await?)
    }

    /// Where `git push` goes for an app, token included.
    pub fn git_url(&self, app: &str) -> anyhow::Result<String> {
        let token = std::fs::read_to_string(self.dir.join("token"))?;
        let (scheme, rest) = self.url("git").split_once("://").context("the engine lists no Git address")?;
        Ok(format!("{scheme}://coracle:{}@{}/{app}.git", token.trim(), rest.trim_end_matches('/')))
    }

    /// Kills the engine's own process with SIGKILL, and waits until it is gone.
    pub fn kill(&self) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        wait_until("the engine's process is gone", || !process_is_alive(self.pid()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["down", "--purge"]) {
            eprintln!("taking the test's engine down: {error:#}");
        }
    }
}

/// Whether a process is there and not a zombie.
pub fn process_is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Looks until `condition` holds; an error names what was waited for.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition() {
        ensure!(start.elapsed() < PATIENCE, "waited {} s in vain until {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
