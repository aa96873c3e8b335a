//! The project's own chores.

mod ci;
mod compare;
mod layers;

use clap::Parser;

/// Chores of the Coracle project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Everything that must pass before a change lands: format, lints, tests
    Ci,
    /// Whether the rooms depend on each other only the way the design says
    Layers,
    /// Our renderers beside the real tools, over public material
    #[command(subcommand)]
    Compare(compare::Compare),
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Ci => ci::run(),
        Chore::Layers => layers::check(),
        Chore::Compare(compare) => compare::run(&compare),
    }
}
