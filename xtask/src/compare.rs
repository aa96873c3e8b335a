//! Renders of real public trees by the real tools and by ours, side by side. Each difference is explained; the summary is
//! a page of the docs. What the real tools said is kept below `target/compare`, so that only ours is run anew.

pub mod case;
pub mod documents;
mod helm;
pub mod peer;
pub mod report;

use clap::Subcommand;

/// Which renderer to compare.
#[derive(Subcommand)]
pub enum Compare {
    /// Every chart below a directory, with its defaults and each ci/*values.yaml (the real ones are named by HELM and HELM3)
    Helm(helm::Arguments),
}

pub fn run(compare: &Compare) -> anyhow::Result<()> {
    match compare {
        Compare::Helm(arguments) => helm::run(arguments),
    }
}
