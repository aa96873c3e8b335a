//! The project's own chores.

mod ci;
mod compare;
mod conformance;
mod layers;
mod named;
mod real;
mod record;
mod swap;

use clap::Parser;

/// Chores of the Coracle project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Everything that must pass before a change lands: format, lints, tests
    Ci,
    /// Kubernetes' own tests against a private engine
    Conformance(conformance::Conformance),
    /// Whether the rooms depend on each other only the way the design says
    Layers,
    /// One half of the control plane at a time replaced by Kubernetes' own, and the same story told
    Swap(swap::Swap),
    /// Runs the real tools and ours on the same input, and says where they differ
    #[command(subcommand)]
    Compare(compare::Compare),
    /// Records golden cases with the real tools
    #[command(subcommand)]
    Record(record::Record),
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Ci => ci::run(),
        Chore::Conformance(chosen) => conformance::run(&chosen),
        Chore::Layers => layers::check(),
        Chore::Swap(chosen) => swap::run(&chosen),
        Chore::Compare(compare) => compare::run(&compare),
        Chore::Record(record) => record::run(&record),
    }
}
