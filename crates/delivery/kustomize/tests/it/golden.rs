//! Golden cases: `tests/golden/*.txt` hold small trees and what the real kustomize made of them.
//!
//! A case begins with `=== its name`; files follow after lines of the form `-- path --`, and the recorded output after
//! `--> builds`, or nothing after `--> fails`. With `KUSTOMIZE` naming a real kustomize 5.8.2 and `HELM` a real Helm 4.3.1,
//! the recorded outputs are checked against them, and with `RECORD=1` besides, written anew.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_helm::{Lookup, NoCluster, World};
use coracle_kustomize::{ChartRequest, MemoryFiles, Options, build, helm::InProcess};

/// The cases' charts ask for nothing that changes.
struct StandingStill(NoCluster);

impl World for StandingStill {
    fn now(&mut self) -> (i64, u32) {
        (0, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.0
    }
}

#[derive(Clone)]
struct Case {
    name: String,
    files: Vec<(String, String)>,
    /// Nothing when the build fails.
    expected: Option<String>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the golden cases are missing");
    files
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in text.split("\n=== ").skip(1) {
        let (name, rest) = part.split_once('\n').unwrap();
        let (files, expected) = match rest.split_once("--> builds\n") {
            Some((files, expected)) => (files, Some(expected.to_owned())),
            None => (rest.split("--> fails").next().unwrap(), None),
        };
        let files = format!("\n{files}")
            .split("\n-- ")
            .skip(1)
            .map(|file| {
                let (path, content) = file.split_once(" --\n").unwrap();
                (path.to_owned(), format!("{}\n", content.trim_end_matches('\n')))
            })
            .collect();
        cases.push(Case { name: name.to_owned(), files, expected });
    }
    cases
}

fn write(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        text.push_str(&format!("\n=== {}\n", case.name));
        for (path, content) in &case.files {
            text.push_str(&format!("-- {path} --\n{content}"));
        }
        match &case.expected {
            Some(expected) => text.push_str(&format!("--> builds\n{expected}")),
            None => text.push_str("--> fails\n"),
        }
    }
    text
}

#[test]
fn every_case_comes_out_as_recorded() {
    let mut wrong = Vec::new();
    let world = |_: &ChartRequest| -> Box<dyn World + Send> { Box::new(StandingStill(NoCluster)) };
    let charts = InProcess {
        api_versions: Vec::new(),
        kube_version: None,
        only_deployed: false,
        worlds: &world,
        warnings: RefCell::default(),
    };
    let options = Options { charts: Some(&charts), ..Options::default() };
    for file in golden_files() {
        for case in parse(&std::fs::read_to_string(&file).unwrap()) {
            let files: MemoryFiles = case.files.iter().cloned().collect();
            let built = build(&files, "root", &options).map(|documents| documents.to_yaml());
            let name = format!("{}: {}", file.file_name().unwrap().display(), case.name);
            match (built, &case.expected) {
                (Ok(built), Some(expected)) if built == *expected => {}
                (Err(_), None) => {}
                (Ok(built), Some(expected)) => wrong.push(format!("{name}\n--- real\n{expected}--- ours\n{built}")),
                (Ok(built), None) => wrong.push(format!("{name}: fails with the real one\n--- ours\n{built}")),
                (Err(error), Some(_)) => wrong.push(format!("{name}: only ours fails\n{error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n\n{}", wrong.len(), wrong.join("\n"));
}

fn real(kustomize: &str, case: &Case) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in &case.files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let output = Command::new(kustomize)
        .args(["build", "--enable-helm", "--helm-command", &helm])
        .arg(directory.path().join("root"))
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_recorded_outputs_are_the_real_ones() {
    let Ok(kustomize) = std::env::var("KUSTOMIZE") else {
        eprintln!("left out: KUSTOMIZE does not name the real kustomize");
        return;
    };
    let records = std::env::var("RECORD").is_ok();
    for file in golden_files() {
        let mut cases = parse(&std::fs::read_to_string(&file).unwrap());
        for case in &mut cases {
            let output = real(&kustomize, case);
            assert!(records || output == case.expected, "{}: {} is not what was recorded", file.display(), case.name);
            case.expected = output;
        }
        if records {
            std::fs::write(&file, write(&cases)).unwrap();
        }
    }
}

/// `fields.txt` names every field of a kustomization and of what stands in one.
#[test]
fn every_field_has_a_recorded_case() {
    let texts: Vec<String> = golden_files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let is_used = |field: &str| {
        let mark = format!("{field}:");
        texts.iter().any(|text| {
            let mut places = text.match_indices(&mark).map(|(at, _)| text[..at].chars().next_back());
            places.any(|before| before.is_none_or(|char| !char.is_alphanumeric()))
        })
    };
    let missing: Vec<&str> = include_str!("fields.txt").split_whitespace().filter(|field| !is_used(field)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
