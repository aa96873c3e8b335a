//! A Dockerfile's `RUN`: a command on top of some layers, whose changes stay behind in a directory.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::{UnixStream, unix::pipe},
};

use crate::{
    containers, files,
    images::UserError,
    launch::{LaunchError, launch},
    runtime::Runtime,
    spec::{ContainerSpec, Mount, Namespace, Namespaces, ProcessSpec, Resources},
    wire::Report,
};

/// A longer line is shown in pieces.
const MAX_LINE_BYTES: u64 = 16 << 10;
/// How long a killed command may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// One command. Its layers must be unpacked: [`crate::Images::unpack_layer`].
#[derive(Debug, Clone)]
pub struct BuildStep {
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
    /// Takes the changes, as an overlay's upper directory does: deletions are character devices 0/0, replaced directories are marked by
    /// the attribute `trusted.overlay.opaque`.
    pub upper: PathBuf,
    /// Empty, on the same file system; left empty.
    pub work: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    /// As in `USER`; empty is root.
    pub user: String,
    /// A network namespace to work in; without it there is none but an idle loopback.
    pub network: Option<PathBuf>,
    /// `/etc/resolv.conf` and the like.
    pub mounts: Vec<Mount>,
    pub resources: Resources,
    /// The command is killed after this long.
    pub timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildStepError {
    #[error("command timed out after {0:?}")]
    TimedOut(Duration),
    /// `code` is what a shell would say: 126, 127.
    #[error("{message}")]
    Start { message: String, code: Option<i32> },
    #[error(transparent)]
    User(#[from] UserError),
    #[error("running the command: {0}")]
    Io(#[from] io::Error),
}

impl Runtime {
    /// Runs the command to its end and returns its exit code. Dropping the future kills it.
    pub async fn run_build_step(
        &self,
        step: BuildStep,
        mut on_line: impl FnMut(&str) + Send,
    ) -> Result<i32, BuildStepError> {
        let timeout = step.timeout;
        let (output, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let runtime = self.clone();
        let under_way = self.inner.launching.clone().read_owned().await;
        let launched = tokio::task::spawn_blocking(move || {
            let _under_way = under_way;
            runtime.launch_step(step, theirs)
        });
        let (mut control, id) = launched.await.map_err(io::Error::other)??;
        let lines = read_lines(BufReader::new(pipe::Receiver::from_owned_fd(output)?), &mut on_line);
        let in_time = tokio::time::timeout(timeout, async {
            lines.await?;
            exit_of(&mut control).await
        });
        let result = match in_time.await {
            Ok(code) => code.map_err(BuildStepError::from),
            Err(_) => {
                let group = self.group(&format!("builds/{id}"));
                tokio::task::spawn_blocking(move || group.kill()).await.map_err(io::Error::other)?;
                // Nothing may hold the upper directory when this returns.
                let _ = tokio::time::timeout(KILL_PATIENCE, exit_of(&mut control)).await;
                Err(BuildStepError::TimedOut(timeout))
            }
        };
        let dir = self.inner.options.root.join("builds").join(id);
        let _ = tokio::task::spawn_blocking(move || files::remove_tree(&dir)).await;
        result
    }

    fn launch_step(&self, step: BuildStep, output: OwnedFd) -> Result<(UnixStream, String), BuildStepError> {
        let id = format!("{}-{}", std::process::id(), next_number());
        let user = self.inner.images.user_of_layers(&step.layers, &step.user)?;
        let dir = self.inner.options.root.join("builds").join(&id);
        fs::create_dir_all(&dir)?;
        let lock = containers::lock(&dir)?;
        let spec = ContainerSpec {
            id: id.clone(),
            labels: Default::default(),
            image: String::new(),
            layers: step.layers,
            process: ProcessSpec {
                args: step.args,
                env: step.env,
                cwd: step.cwd,
                user,
                tty: false,
                capabilities: Default::default(),
                no_new_privs: false,
                seccomp: crate::spec::Seccomp::RuntimeDefault,
                rlimits: Vec::new(),
                oom_score_adj: 500,
            },
            namespaces: Namespaces {
                net: step.network.map_or(Namespace::New, Namespace::Path),
                hostname: Some("build".into()),
                ..Namespaces::default()
            },
            mounts: step.mounts,
            read_only_root: false,
            privileged: false,
            unmasked_proc: false,
            cgroup: format!("builds/{id}"),
            resources: step.resources,
            log: None,
            stdin: false,
            stdin_once: false,
            sysctls: Default::default(),
        };
        let request =
            crate::wire::RunRequest { dir: dir.clone(), upper: step.upper, work: step.work, ..self.request(spec) };
        let launched = launch(&self.inner.options.shim, "run", &request, &[lock.as_fd(), output.as_fd()]);
        let channel = match launched {
            Ok((channel, _, _)) => channel,
            Err(error) => {
                let _ = files::remove_tree(&dir);
                return Err(match error {
                    LaunchError::Io(error) => error.into(),
                    LaunchError::Failed(failure) => {
                        BuildStepError::Start { message: failure.message, code: failure.code }
                    }
                });
            }
        };
        channel.0.set_nonblocking(true)?;
        Ok((UnixStream::from_std(channel.0)?, id))
    }
}

fn next_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Lines until nobody holds the other end. A progress bar's carriage returns end lines too.
async fn read_lines(mut output: BufReader<pipe::Receiver>, on_line: &mut (impl FnMut(&str) + Send)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut output).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
        if n == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        for part in text.trim_end_matches(['\n', '\r']).split('\r') {
            on_line(part);
        }
    }
}

async fn exit_of(control: &mut UnixStream) -> io::Result<i32> {
    let length = control.read_u32_le().await?;
    let mut body = vec![0; length as usize];
    control.read_exact(&mut body).await?;
    match serde_json::from_slice(&body)? {
        Report::Exited(exit) => Ok(exit.code),
        Report::Started { .. } | Report::Failed(_) => Err(io::Error::other("the shim answered out of turn")),
    }
}
