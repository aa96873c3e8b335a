//! Our renderers beside the real tools, over directories of public material: the same bytes, the same errors, and what
//! each costs.

pub mod kustomize;
mod process;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Compare {
    /// Build every kustomization below a directory with ours and the real kustomize
    Kustomize(kustomize::Kustomize),
}

pub fn run(compare: &Compare) -> anyhow::Result<()> {
    match compare {
        Compare::Kustomize(kustomize) => kustomize::run(kustomize),
    }
}
