//! Prometheus' own test scripts, read where Go keeps the module.

use std::path::PathBuf;

use super::script;

/// The release whose scripts are meant.
const MODULE: &str = "github.com/prometheus/prometheus@v0.313.5";

/// `CORACLE_PROMQLTEST` names the directory; else Go's module cache is looked into.
fn directory() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CORACLE_PROMQLTEST") {
        return Some(named.into());
    }
    let cache = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go/pkg/mod")))?;
    let found = cache.join(MODULE).join("promql/promqltest/testdata");
    found.is_dir().then_some(found)
}

#[test]
fn prometheus_scripts() {
    let Some(directory) = directory() else {
        eprintln!("left out: {MODULE} is not in Go's module cache and CORACLE_PROMQLTEST names no directory");
        return;
    };
    let only = std::env::var("CORACLE_PROMQLTEST_ONLY").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut evaluations, mut failures) = (0, Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "test")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let outcome = script::run(&std::fs::read_to_string(file).unwrap(), &script::options());
        println!("{name}: {} evaluations, {} failures", outcome.evaluations, outcome.failures.len());
        evaluations += outcome.evaluations;
        failures.extend(outcome.failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    println!("{evaluations} evaluations");
    assert!(failures.is_empty(), "{} of {evaluations} failed:\n{}", failures.len(), failures.join("\n"));
}
