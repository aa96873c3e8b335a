//! Renders of real public trees by the real tools and by ours, side by side. Each difference is explained; the summary is
//! a page of the docs. What the real tools said is kept below `target/compare`, so that only ours is run anew.

mod api;
pub mod case;
pub mod documents;
mod helm;
mod kustomize;
pub mod peer;
mod process;
mod promql;
pub mod report;
mod speed;

use clap::Subcommand;

/// Which renderer to compare.
#[derive(Subcommand)]
pub enum Compare {
    /// The API server beside kube-apiserver and etcd: throughput, times and memory
    Api(api::Api),
    /// Every chart below a directory, with its defaults and each ci/*values.yaml (the real ones are named by HELM and HELM3)
    Helm(helm::Arguments),
    /// Every kustomization below a directory (the real one is named by KUSTOMIZE)
    Kustomize(kustomize::Kustomize),
    /// PromQL: golden and random queries (the real promtool is named by PROMTOOL)
    Promql(promql::Promql),
    /// Run a command and print what it took
    #[command(hide = true)]
    Measure(speed::Measure),
}

pub fn run(compare: &Compare) -> anyhow::Result<()> {
    match compare {
        Compare::Api(api) => api::run(api),
        Compare::Helm(arguments) => helm::run(arguments),
        Compare::Kustomize(kustomize) => kustomize::run(kustomize),
        Compare::Promql(promql) => promql::run(promql),
        Compare::Measure(measure) => measure.run(),
    }
}
