//! Metrics and rules through the front door: taken in, asked for in every form, served, given back; rules checked and
//! tested, with the exit codes that scripts look at.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, ensure};
use coracle_harness::wait_until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const TEXT: &str = "\
# TYPE jobs_done counter
jobs_done_total{queue=\"mail\"} 0 1700000000
jobs_done_total{queue=\"mail\"} 30 1700000060
jobs_done_total{queue=\"mail\"} 90 1700000120
jobs_done_total{queue=\"print\"} 5 1700000120
# EOF
";

/// A data directory of its own.
struct Home(TempDir);

impl Home {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(super::binary());
        command.arg("--data-dir").arg(self.0.path()).args(arguments).stdin(Stdio::null());
        for variable in ["CORACLE_METRICS_URL", "CORACLE_CONFIG"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(arguments).output().context("starting coracle")
    }

    /// What a command prints, which has to succeed.
    fn print(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn import(&self) -> anyhow::Result<()> {
        let mut import = self.command(&["metrics", "import"]);
        let mut child = import.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("its input")?.write_all(TEXT.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success());
        ensure!(output.stdout.starts_with(b"4 samples in 1 blocks"), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.0.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// `coracle metrics serve`, at a port of its own choice.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(home: &Home) -> anyhow::Result<Self> {
        let mut serve = home.command(&["metrics", "serve", "--listen=127.0.0.1:0", "--retention=100y"]);
        let mut child = serve.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        ensure!(url.starts_with("http://127.0.0.1:"), "{line}");
        Ok(Self { child, url })
    }

    /// Asks it to end; its exit code.
    fn stop(mut self) -> anyhow::Result<Option<i32>> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        wait_until("the server's end", || matches!(self.child.try_wait(), Ok(Some(_))))?;
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MOMENT: &str = "--time=1700000120";
const RANGE: [&str; 3] = ["--start=1700000000", "--end=1700000120", "--step=60"];

/// Every form of an answer, wherever it comes from.
fn check_answers(home: &Home, place: &[&str]) -> anyhow::Result<()> {
    let ask = |arguments: &[&str]| home.print(&[&["query", "promql"], arguments, place].concat());
    let table = ask(&["sort(jobs_done_total)", MOMENT])?;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SERIES", "VALUE"]);
    assert_eq!(rows[1..], [["jobs_done_total{queue=\"print\"}", "5"], ["jobs_done_total{queue=\"mail\"}", "90"]]);
    assert_eq!(ask(&["1 + 1"])?.trim(), "2");
    assert_eq!(ask(&["nothing_of_this_name"])?.trim(), "nothing matches");
    let json: serde_json::Value = serde_json::from_str(&ask(&["sum(jobs_done_total)", MOMENT, "--json"])?)?;
    assert_eq!(json["result"][0]["value"], serde_json::json!([1_700_000_120, "95"]));
    let range = ask(&[&["increase(jobs_done_total{queue=\"mail\"}[2m])"], &RANGE[..]].concat())?;
    assert_eq!(range.lines().count(), 3, "{range}");
    let plot = ask(&[&["jobs_done_total", "--plot"], &RANGE[..]].concat())?;
    assert!(plot.contains("● jobs_done_total{queue=\"mail\"}") && plot.contains("90.000 ┤"), "{plot}");
    let wrong = home.run(&[&["query", "promql", "sum(jobs_done_total"], place].concat())?;
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("1:20: parse error: unclosed left parenthesis"), "{said}");
    Ok(())
}

#[test]
fn samples_are_taken_in_asked_for_and_given_back() -> anyhow::Result<()> {
    let home = Home::new()?;
    let nothing = home.run(&["query", "promql", "up"])?;
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("there are no metrics in"));
    home.import()?;
    check_answers(&home, &[])?;
    let text = home.print(&["metrics", "export", "{queue=\"mail\"}"])?;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].starts_with("jobs_done_total{queue=\"mail\"} 30"), "{text}");
    assert_eq!(lines[3], "# EOF");
    // What was given back is what another place can take in.
    let (other, file) = (Home::new()?, home.file("export", &text)?);
    assert!(other.print(&["metrics", "import", &file])?.starts_with("3 samples"));
    assert_eq!(other.print(&["metrics", "export"])?, text);
    let cut = home.file("cut", "a 1 1700000000\n")?;
    let refused = Home::new()?.run(&["metrics", "import", &cut])?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ends without # EOF"));
    assert_eq!(refused.status.code(), Some(1));
    Ok(())
}

#[test]
fn a_server_answers_and_ends_well() -> anyhow::Result<()> {
    let home = Home::new()?;
    home.import()?;
    let served = Served::start(&home)?;
    check_answers(&home, &["--url", &served.url])?;
    // The directory is the server's as long as it runs.
    let taken = home.run(&["query", "promql", "up"])?;
    assert_eq!(taken.status.code(), Some(1), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(served.stop()?, Some(0));
    check_answers(&home, &[])
}

const RULES: &str = "\
groups:
- name: jobs
  rules:
  - {record: 'queue:jobs_done:rate', expr: 'sum by (queue) (rate(jobs_done_total[5m]))'}
  - {alert: Idle, expr: 'queue:jobs_done:rate == 0', for: 2m, annotations: {summary: '{{ $labels.queue }} is idle'}}
";

fn unit_test(value: &str) -> String {
    format!(
        "rule_files: [rules.yml]
tests:
- name: idle queues
  input_series: [{{series: 'jobs_done_total{{queue=\"mail\"}}', values: '7x10'}}]
  alert_rule_test:
  - {{eval_time: 9m, alertname: Idle, exp_alerts: [{{exp_labels: {{queue: mail}}, exp_annotations: {{summary: mail is idle}}}}]}}
  promql_expr_test:
  - {{expr: 'queue:jobs_done:rate', eval_time: 9m, exp_samples: [{{labels: 'queue:jobs_done:rate{{queue=\"mail\"}}', value: {value}}}]}}
"
    )
}

#[test]
fn rules_are_checked_and_tested() -> anyhow::Result<()> {
    let home = Home::new()?;
    let rules = home.file("rules.yml", RULES)?;
    let code = |arguments: &[&str]| anyhow::Ok(home.run(&[&["rules"], arguments].concat())?.status.code());
    assert!(home.print(&["rules", "check", &rules])?.contains("SUCCESS: 2 rules found"));
    let broken = home.file("broken.yml", &RULES.replace("rate(", "rat("))?;
    assert_eq!(code(&["check", &rules, &broken])?, Some(1));
    let twice = home.file(
        "twice.yml",
        &RULES
            .replace("alert: Idle", "record: 'queue:jobs_done:rate'")
            .replace(", for: 2m, annotations: {summary: '{{ $labels.queue }} is idle'}", ""),
    )?;
    assert_eq!(code(&["check", &twice])?, Some(0));
    assert_eq!(code(&["check", "--lint-fatal", &twice])?, Some(3));
    assert_eq!(code(&["check", "--lint-fatal", "--lint=none", &twice])?, Some(0));
    let good = home.file("good.yml", &unit_test("0"))?;
    assert!(home.print(&["rules", "test", &good])?.contains("SUCCESS"));
    let wrong = home.file("wrong.yml", &unit_test("1"))?;
    let junit = home.0.path().join("results.xml");
    let junit_option = format!("--junit={}", junit.display());
    assert_eq!(code(&["test", &junit_option, &good, &wrong])?, Some(1));
    let xml = std::fs::read_to_string(&junit)?;
    assert_eq!((xml.matches("<testsuite ").count(), xml.matches("<failure>").count()), (2, 1), "{xml}");
    assert_eq!(code(&["test", "--run=^other", &wrong])?, Some(0));
    assert!(Path::new(&rules).exists());
    Ok(())
}
