//! Queries answered by the real promtool, or a real Prometheus, and by ours: the suites do the work, this names the tools.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use clap::Args;

#[derive(Args)]
pub struct Promql {
    /// The real promtool
    #[arg(long, env = "PROMTOOL", default_value = "promtool")]
    promtool: PathBuf,
    /// Ask a real Prometheus over HTTP instead, over random samples
    #[arg(long)]
    server: bool,
    /// The real Prometheus
    #[arg(long, env = "PROMETHEUS", default_value = "prometheus")]
    prometheus: PathBuf,
    /// How many random queries to ask besides the golden ones
    #[arg(long, default_value_t = 2000)]
    queries: u64,
    /// Which random queries
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(promql: &Promql) -> anyhow::Result<()> {
    let (suite, test, variable, tool) = match promql.server {
        true => ("coracle-metrics", "side_by_side", "PROMETHEUS", &promql.prometheus),
        false => ("coracle-promql", "compare", "CORACLE_PROMTOOL", &promql.promtool),
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "-p", suite, "--test", "it", test, "--", "--nocapture"])
        .env(variable, tool)
        .env("CORACLE_COMPARE_QUERIES", promql.queries.to_string())
        .env("CORACLE_COMPARE_SEED", promql.seed.to_string())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "{} and ours do not say the same", tool.display());
    Ok(())
}
