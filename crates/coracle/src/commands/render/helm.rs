//! `coracle render helm`: what `helm template` prints.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueHint};

/// The flags of `helm template`.
#[derive(Debug, Clone, Args)]
pub struct Helm {
    /// [NAME] CHART: the release's name, and the chart's directory or archive
    #[arg(value_name = "NAME CHART", num_args = 1..=2, required = true)]
    pub arguments: Vec<String>,
    /// Instead of the manifests, print how they differ from those in OTHER
    #[arg(long, value_name = "OTHER", value_hint = ValueHint::FilePath)]
    pub diff: Option<PathBuf>,
}

pub fn run(helm: &Helm) -> ExitCode {
    eprintln!("Error: {}: charts are not rendered yet", helm.arguments.join(" "));
    ExitCode::FAILURE
}
