//! A working copy to commit to and push from, with the real git client.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, ensure};

/// A repository in a directory of its own.
pub struct Repository(tempfile::TempDir);

impl Repository {
    /// An empty one, on branch `main`.
    pub fn new() -> anyhow::Result<Self> {
        let repository = Self(tempfile::Builder::new().prefix("coracle-repository-").tempdir()?);
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(repository)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file; executable where it is a program.
    pub fn write(&self, path: &str, content: &[u8], executable: bool) -> anyhow::Result<()> {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        Ok(())
    }

    /// Commits all that is there; the commit's id.
    pub fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// The commit that is checked out.
    pub fn head(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.git(&["rev-parse", "HEAD"])?.stdout)?.trim().to_owned())
    }

    /// Runs git here; an error carries what it printed.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = self.try_git(arguments)?;
        ensure!(
            output.status.success(),
            "git {} ended with {}:\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    /// Runs git here, whatever comes of it.
    pub fn try_git(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// Git as a command that reads nobody's settings and asks nothing.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        for (name, value) in [("GIT_AUTHOR_NAME", "Ada"), ("GIT_COMMITTER_NAME", "Ada")] {
            command.env(name, value);
        }
        for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
            command.env(name, "ada@example.com");
        }
        command.env("GIT_TERMINAL_PROMPT", "0");
        command
    }
}
