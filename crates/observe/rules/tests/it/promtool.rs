//! promtool's own test files, read where Go keeps the module: the same ones have to pass and to fail.

use std::path::PathBuf;

use coracle_rules::{
    Files,
    unit_test::{Settings, run},
};

const MODULE: &str = "github.com/prometheus/prometheus@v0.313.5";

fn directory() -> Option<PathBuf> {
    let cache = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go/pkg/mod")))?;
    let found = cache.join(MODULE).join("cmd/promtool/testdata");
    found.is_dir().then_some(found)
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("open {path}: {error}"))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        std::fs::exists(pattern).unwrap_or(false).then(|| pattern.to_owned()).into_iter().collect()
    }
}

#[test]
fn promtool_files() {
    let Some(directory) = directory() else {
        eprintln!("left out: {MODULE} is not in Go's module cache");
        return;
    };
    let cases = [
        ("unittest.yml", &[][..], true),
        ("long-period.yml", &[], true),
        ("bad-input-series.yml", &[], false),
        ("bad-promql.yml", &[], false),
        ("bad-rules-syntax-test.yml", &[], false),
        ("bad-rules-error-test.yml", &[], false),
        ("failing.yml", &[], false),
        ("at-modifier-test.yml", &[], true),
        ("negative-offset-test.yml", &[], true),
        ("no-test-group-interval.yml", &[], true),
        ("start-time-test.yml", &[], true),
        ("rules_run.yml", &[], false),
        ("rules_run.yml", &["correct", "wrong"], false),
        ("rules_run.yml", &["correct"], true),
        ("rules_run.yml", &["wrong"], false),
        ("rules_run_no_fuzzy.yml", &[], false),
        ("rules_run_fuzzy.yml", &["correct"], true),
        ("rules_run_fuzzy.yml", &["wrong"], false),
    ];
    let mut wrong = Vec::new();
    for (file, names, passes) in cases {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let settings = Settings { run: &names, ..Settings::default() };
        let report = run(&Disk, &directory.join(file).to_string_lossy(), settings);
        if report.passed() != passes {
            wrong.push(format!("{file} {names:?}: expected to pass: {passes}, got {report:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
