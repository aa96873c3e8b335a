//! `coracle rules`: rule files checked and tested, with promtool's files, output and exit codes.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand, ValueHint};
use coracle_promql::parser::Options;
use coracle_rules::{
    Files, file,
    unit_test::{self, Settings},
};

#[derive(Debug, Clone, Args)]
pub struct Rules {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Run unit tests of rules
    Test(Test),
    /// Check that rule files are valid
    Check(Check),
}

#[derive(Debug, Clone, Args)]
pub struct Test {
    /// Only tests whose name has this in it
    #[arg(long, value_name = "NAME")]
    pub run: Vec<String>,
    #[command(flatten)]
    pub language: Language,
    /// Files of unit tests
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Check {
    #[command(flatten)]
    pub language: Language,
    /// Rule files
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Language {
    /// Fields that nobody knows are no mistake
    #[arg(long)]
    pub ignore_unknown_fields: bool,
    /// Parts of PromQL that are still experimental
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub enable_feature: Vec<Feature>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "Prometheus' names for them")]
pub enum Feature {
    PromqlExperimentalFunctions,
    PromqlDurationExpr,
    PromqlExtendedRangeSelectors,
    PromqlBinopFillModifiers,
}

impl Language {
    fn options(&self) -> Options {
        let on = |feature| self.enable_feature.contains(&feature);
        Options {
            experimental_functions: on(Feature::PromqlExperimentalFunctions),
            duration_expressions: on(Feature::PromqlDurationExpr),
            extended_range_selectors: on(Feature::PromqlExtendedRangeSelectors),
            fill_modifiers: on(Feature::PromqlBinopFillModifiers),
        }
    }
}

pub fn run(rules: &Rules) -> ExitCode {
    let failed = match &rules.action {
        Action::Test(test) => run_tests(test),
        Action::Check(check) => check_files(check),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_tests(test: &Test) -> bool {
    let options = test.language.options();
    let settings = Settings { options, run: &test.run, ignore_unknown_fields: test.language.ignore_unknown_fields };
    let mut failed = false;
    for path in &test.files {
        let report = unit_test::run(&Disk, path, settings);
        for warning in &report.warnings {
            eprintln!("{warning}");
        }
        if report.failures.is_empty() {
            println!("  SUCCESS");
        } else {
            failed = true;
            eprintln!("  FAILED:");
            for failure in &report.failures {
                eprintln!("{failure}");
                println!();
            }
        }
        println!();
    }
    failed
}

fn check_files(check: &Check) -> bool {
    let mut failed = false;
    for path in &check.files {
        println!("Checking {path}");
        let text = Disk.read(path).map_err(|error| vec![file::RuleError(error)]);
        let parsed =
            text.and_then(|text| file::parse(&text, check.language.options(), check.language.ignore_unknown_fields));
        match parsed {
            Ok(groups) => {
                let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
                println!("  SUCCESS: {rules} rules found\n");
            }
            Err(errors) => {
                failed = true;
                eprintln!("  FAILED:");
                for error in errors {
                    eprintln!("{path}: {error}");
                }
            }
        }
    }
    failed
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("open {path}: {error}"))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let path = Path::new(pattern);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(['*', '?']) {
            return path.exists().then(|| pattern.to_owned()).into_iter().collect();
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let matching = entries.filter(|entry| matches_glob(&name, &entry.file_name().to_string_lossy()));
        let mut found: Vec<String> = matching.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
        found.sort();
        found
    }
}

/// `*` for any characters, `?` for one.
fn matches_glob(pattern: &str, name: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern_chars.as_str();
            (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| matches_glob(rest, &name[at..]))
        }
        Some(wanted) => {
            let mut name_chars = name.chars();
            name_chars.next().is_some_and(|c| wanted == '?' || wanted == c)
                && matches_glob(pattern_chars.as_str(), name_chars.as_str())
        }
    }
}
