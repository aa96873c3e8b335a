//! The newcomer's working copy: the sample app, and what they change in it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::print::{self, Colour};

const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
const DOCKERFILE: &str = include_str!("../../../../../examples/hello/Dockerfile");
const SOURCE: &str = include_str!("../../../../../examples/hello/src/main.rs");

/// What `git push` said and how it ended.
pub struct Pushed {
    pub output: String,
    pub succeeded: bool,
}

/// A repository below `dir`, with the engine as its remote `origin`.
pub struct Repository(std::path::PathBuf);

impl Repository {
    /// The first commit: Dockerfile and app, no manifests.
    pub fn create(dir: &Path, remote: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(dir.join("src")).with_context(|| format!("directory {}", dir.display()))?;
        let repository = Self(dir.to_owned());
        repository.write("Dockerfile", DOCKERFILE)?;
        repository.write("src/main.rs", SOURCE)?;
        fs::write(dir.join("hello"), HELLO)?;
        fs::set_permissions(dir.join("hello"), fs::Permissions::from_mode(0o755))?;
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        repository.git(&["remote", "add", "origin", remote])?;
        repository.commit("Say hello in teal")?;
        Ok(repository)
    }

    pub fn write(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let path = self.0.join(path);
        fs::write(&path, content).with_context(|| format!("file {}", path.display()))
    }

    /// Commits all that changed; the commit's id.
    pub fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        self.head()
    }

    pub fn head(&self) -> anyhow::Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git here; what it printed, trimmed.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments).output().context("starting git")?;
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// `git push`, with what it says shown as it comes.
    pub fn push(&self, arguments: &[&str]) -> anyhow::Result<Pushed> {
        self.push_and(arguments, |line| println!("       {}", print::coloured(Colour::Dim, line)))
    }

    /// `git push`, with what it says kept for later.
    pub fn push_quietly(&self, arguments: &[&str]) -> anyhow::Result<Pushed> {
        self.push_and(arguments, |_| ())
    }

    fn push_and(&self, arguments: &[&str], show: impl Fn(&str)) -> anyhow::Result<Pushed> {
        let mut child = self
            .command(&[&["push"], arguments].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting git")?;
        let mut output = String::new();
        let stderr = child.stderr.take().context("git's output")?;
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            show(line.trim_end());
            output.push_str(&line);
            output.push('\n');
        }
        Ok(Pushed { output, succeeded: child.wait()?.success() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.0).args(arguments).stdin(Stdio::null());
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.com");
        }
        command
    }
}
