//! An unmodified kubectl, pointed at one engine.

use std::{
    ffi::OsString,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, ensure};

use crate::Engine;

/// kubectl with the rights of the engine's owner.
pub struct Kubectl<'a> {
    engine: &'a Engine,
    program: OsString,
}

impl<'a> Kubectl<'a> {
    /// `None`, with a word on standard error, where this machine has none.
    pub fn find(engine: &'a Engine) -> Option<Self> {
        let program = std::env::var_os("CORACLE_TEST_KUBECTL").unwrap_or_else(|| "kubectl".into());
        let found =
            Command::new(&program).args(["version", "--client"]).output().is_ok_and(|output| output.status.success());
        if !found {
            eprintln!("left out: no kubectl on this machine (CORACLE_TEST_KUBECTL names one)");
        }
        found.then_some(Self { engine, program })
    }

    /// kubectl as a command that reads nobody's settings and has no input.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", self.engine.kubeconfig())
            .env("HOME", self.engine.dir())
            .stdin(Stdio::null());
        command
    }

    /// What it printed; an error carries what it complained of.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.try_run(arguments)?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it, whatever comes of it.
    pub fn try_run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(arguments).output().context("starting kubectl")
    }
}
