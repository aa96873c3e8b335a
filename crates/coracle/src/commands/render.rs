//! `coracle render`: charts and kustomizations to manifests, with the flags, output and exit codes of the tools that
//! people know, so that an alias is enough to switch.

mod diff;
mod helm;
mod kustomize;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
pub struct Render {
    #[command(subcommand)]
    pub renderer: Renderer,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Renderer {
    /// Render a chart, as `helm template` does
    Helm(Box<helm::Helm>),
    /// Render a kustomization, as `kustomize build` does
    Kustomize(Box<kustomize::Kustomize>),
}

pub fn run(render: &Render) -> ExitCode {
    match &render.renderer {
        Renderer::Helm(helm) => helm::run(helm),
        Renderer::Kustomize(kustomize) => kustomize::run(kustomize),
    }
}
