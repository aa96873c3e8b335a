//! Kubernetes' own conformance tests against a private engine, and the page that tells what passed.
//!
//! The suite is not part of this repository: `e2e.test` and `ginkgo` come from a Kubernetes 1.35 tree, and are named by
//! environment variables. So are the static binaries of the images that some tests run.

mod images;
mod push;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use coracle_harness::Engine;
use serde::Deserialize;

use crate::named::{self, program};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFORMANCE.md");
/// The binaries, and what names them.
const E2E_TEST: &str = "CORACLE_E2E_TEST";
const GINKGO: &str = "CORACLE_GINKGO";
const KUBECTL: &str = "CORACLE_TEST_KUBECTL";

/// What to run.
#[derive(clap::Args)]
pub struct Conformance {
    /// A file with the full names of the tests to run, a line each
    #[arg(long, conflicts_with = "focus")]
    names: Option<PathBuf>,
    /// A regular expression for the names of the tests to run
    #[arg(long, default_value = r"\[Conformance\]")]
    focus: String,
    /// Tests at once
    #[arg(long, default_value_t = 4)]
    procs: u32,
    /// Write docs/CONFORMANCE.md
    #[arg(long)]
    write: bool,
}

/// Runs the tests, and fails when one of them does.
pub fn run(chosen: &Conformance) -> anyhow::Result<()> {
    let [e2e_test, ginkgo, kubectl] = [program(E2E_TEST)?, program(GINKGO)?, program(KUBECTL)?];
    let focus = match &chosen.names {
        Some(file) => any_of(&fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?),
        None => chosen.focus.clone(),
    };
    ensure!(Engine::is_possible(), "the engine needs root");
    let engine = Engine::start(&named::engine())?;
    let images = images::load(&engine, Path::new(&e2e_test))?;
    let outcome = Command::new(ginkgo)
        .env("KUBE_TEST_REPO_LIST", images)
        .arg(format!("--procs={}", chosen.procs))
        .arg(format!("--focus={focus}"))
        .args(["--no-color", "--silence-skips", "--timeout=2h", "--json-report=report.json"])
        .arg(format!("--output-dir={}", engine.dir().display()))
        .arg(e2e_test)
        .args(["--", "--provider=skeleton", "--allowed-not-ready-nodes=-1", "--minStartupPods=0", "--num-nodes=1"])
        .arg("--disable-log-dump")
        .arg(format!("--kubeconfig={}", engine.kubeconfig().display()))
        .arg(with_prefix("--kubectl-path=", &kubectl))
        .status()
        .context("starting ginkgo");
    let report = fs::read(engine.dir().join("report.json"));
    engine.run(&["down", "--purge"])?;
    outcome?;
    let mut specs = specs(&report.context("the suite left no report")?)?;
    specs.sort_by_key(Spec::name);
    let (passed, failed): (Vec<&Spec>, Vec<&Spec>) = specs.iter().partition(|spec| spec.state == "passed");
    for spec in &failed {
        println!("FAILED {}: {}", spec.name(), spec.reason());
    }
    println!("{} passed, {} failed", passed.len(), failed.len());
    if chosen.write {
        fs::write(PAGE, page(&passed, &failed)?).context("writing docs/CONFORMANCE.md")?;
    }
    if failed.is_empty() { Ok(()) } else { bail!("{} tests failed", failed.len()) }
}

fn with_prefix(prefix: &str, path: &OsStr) -> String {
    format!("{prefix}{}", Path::new(path).display())
}

/// A regular expression for exactly these names.
fn any_of(names: &str) -> String {
    let escape = |name: &str| -> String {
        let special = |c: char| "\\.+*?()|[]{}^$".contains(c);
        name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
    };
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| format!("{}$", escape(name))).collect::<Vec<_>>().join("|")
}

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "SpecReports", default)]
    specs: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    #[serde(default)]
    failure: Failure,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    message: String,
}

impl Spec {
    fn name(&self) -> String {
        let containers = self.container_hierarchy_texts.iter().flatten().map(String::as_str);
        containers.chain([self.leaf_node_text.as_str()]).collect::<Vec<_>>().join(" ")
    }

    /// The first line of what went wrong.
    fn reason(&self) -> &str {
        self.failure.message.trim().lines().next().unwrap_or_default()
    }
}

/// The tests that ran.
fn specs(report: &[u8]) -> anyhow::Result<Vec<Spec>> {
    let reports: Vec<Report> = serde_json::from_slice(report).context("the suite's report")?;
    let all = reports.into_iter().flat_map(|report| report.specs.unwrap_or_default());
    Ok(all.filter(|spec| spec.leaf_node_type == "It" && !matches!(&*spec.state, "skipped" | "pending")).collect())
}

fn page(passed: &[&Spec], failed: &[&Spec]) -> anyhow::Result<String> {
    let mut page = String::from(
        "# Conformance\n\nWritten by `cargo xtask conformance --write`, which runs Kubernetes 1.35's own tests against a fresh engine.\n\n",
    );
    writeln!(page, "{} passed, {} failed.\n\n## Failed\n", passed.len(), failed.len())?;
    for spec in failed {
        writeln!(page, "- {}: {}", spec.name(), spec.reason())?;
    }
    page.push_str("\n## Passed\n\n");
    for spec in passed {
        writeln!(page, "- {}", spec.name())?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(any_of("[a] b.\n\nc\n"), "\\[a\\] b\\.$|c$");
    }

    #[test]
    fn reports_are_read() {
        let report = br#"[{"SpecReports": [
            {"ContainerHierarchyTexts": ["[sig]", "x"], "LeafNodeType": "It", "LeafNodeText": "works", "State": "passed"},
            {"ContainerHierarchyTexts": null, "LeafNodeType": "It", "LeafNodeText": "breaks", "State": "failed", "Failure": {"Message": "because\nof"}},
            {"ContainerHierarchyTexts": null, "LeafNodeType": "It", "LeafNodeText": "left out", "State": "skipped"}
        ]}]"#;
        let specs = specs(report).unwrap();
        let shown: Vec<String> = specs.iter().map(|spec| format!("{} {}", spec.name(), spec.reason())).collect();
        assert_eq!(shown, ["[sig] x works ", "breaks because"]);
    }
}
