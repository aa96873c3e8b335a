//! Golden cases: what the real tools make of inputs that are the project's own.

mod helm_functions;

use clap::Subcommand;

/// What to record.
#[derive(Subcommand)]
pub enum Record {
    /// The functions of Helm's templates (the real ones are named by HELM and HELM3)
    HelmFunctions,
}

pub fn run(record: &Record) -> anyhow::Result<()> {
    match record {
        Record::HelmFunctions => helm_functions::run(),
    }
}
