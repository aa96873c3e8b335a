//! Queries answered by the real promtool and by ours: the suite does the work, this names the tool.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use clap::Args;

#[derive(Args)]
pub struct Promql {
    /// The real promtool
    #[arg(long, env = "PROMTOOL", default_value = "promtool")]
    promtool: PathBuf,
    /// How many random queries to ask besides the golden ones
    #[arg(long, default_value_t = 2000)]
    queries: u64,
    /// Which random queries
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(promql: &Promql) -> anyhow::Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "-p", "coracle-promql", "--test", "it", "compare", "--", "--nocapture"])
        .env("CORACLE_PROMTOOL", &promql.promtool)
        .env("CORACLE_COMPARE_QUERIES", promql.queries.to_string())
        .env("CORACLE_COMPARE_SEED", promql.seed.to_string())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "promtool and ours do not say the same");
    Ok(())
}
