//! `coracle render`: charts and kustomizations to manifests, with the flags, output and exit codes of the tools that
//! people know, so that an alias is enough to switch.

mod arguments;
mod diff;
mod helm;
mod kustomize;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
pub struct Render {
    #[command(subcommand)]
    pub renderer: Renderer,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Renderer {
    /// Render a chart, as `helm template` does
    #[command(disable_version_flag = true)]
    Helm(Box<helm::Helm>),
    /// Render a kustomization, as `kustomize build` does
    #[command(disable_version_flag = true)]
    Kustomize(Box<kustomize::Kustomize>),
}

/// Renders what the words after `coracle render` ask for.
pub fn main(words: &[OsString]) -> ExitCode {
    match arguments::parse(words) {
        Ok(render) => run(&render),
        Err(code) => code,
    }
}

pub fn run(render: &Render) -> ExitCode {
    match &render.renderer {
        Renderer::Helm(helm) => helm::run(helm),
        Renderer::Kustomize(kustomize) => kustomize::run(kustomize),
    }
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
