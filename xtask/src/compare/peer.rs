//! Real tools: run once, and remembered.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::case::Outcome;

/// A real tool whose runs are kept in a directory.
pub struct Peer {
    pub name: &'static str,
    pub program: PathBuf,
    kept: PathBuf,
}

/// What a tool made, and the processor time it took.
pub struct Run {
    pub outcome: Outcome,
    pub cpu_seconds: f64,
}

impl Peer {
    /// The tool named by an environment variable, or one in `target/tools`.
    pub fn find(name: &'static str, variable: &str, kept: &Path) -> Option<Peer> {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools").join(variable.to_lowercase());
        let program = named.or_else(|| installed.exists().then_some(installed))?;
        Some(Peer { name, program, kept: kept.join(name) })
    }

    /// The `number`-th run (from 1) of a case, from memory if it has been run before.
    pub fn run(&self, case: &str, number: usize, arguments: &[String]) -> anyhow::Result<Run> {
        fs::create_dir_all(&self.kept).with_context(|| format!("making {}", self.kept.display()))?;
        let file = |kind: &str| self.kept.join(format!("{case}.{kind}"));
        let (output, failed, cpu) = (file(&format!("{number}.out")), file("failed"), file(&cpu_kind(number)));
        if !cpu.exists() {
            self.run_anew(arguments, &output, &file("err"), &failed, &cpu)?;
        }
        let cpu_seconds = fs::read_to_string(&cpu)?.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let outcome =
            if output.exists() { Outcome::Rendered(read(&output)?) } else { Outcome::Failed(read(&file("err"))?) };
        Ok(Run { outcome, cpu_seconds })
    }

    fn run_anew(
        &self,
        arguments: &[String],
        output: &Path,
        err: &Path,
        failed: &Path,
        cpu: &Path,
    ) -> anyhow::Result<()> {
        let before = children_cpu_seconds()?;
        let status = Command::new(&self.program)
            .args(arguments)
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(fs::File::create(output)?)
            .stderr(fs::File::create(err)?)
            .status()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let spent = children_cpu_seconds()? - before;
        if !status.success() {
            fs::rename(output, failed)?;
        }
        fs::write(cpu, format!("{spent:.4}"))?;
        Ok(())
    }
}

fn cpu_kind(number: usize) -> String {
    if number == 1 { "cpu".to_owned() } else { format!("{number}.cpu") }
}

/// Processor time of all children that have ended.
fn children_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds(UsageWho::RUSAGE_CHILDREN)
}

/// Processor time of this process.
pub fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds(UsageWho::RUSAGE_SELF)
}

fn cpu_seconds(who: UsageWho) -> anyhow::Result<f64> {
    getrusage(who).context("asking the kernel for processor times").map(|usage| cpu_of(&usage))
}

pub fn cpu_of(usage: &Usage) -> f64 {
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
