//! `coracle rules`: rule files checked and tested, with promtool's files, output and exit codes.

mod glob;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueHint};
use coracle_clock::{Clock, SystemClock};
use coracle_promql::parser::Options;
use coracle_rules::{
    Files, file, lint,
    report::{Report, junit},
    unit_test::{self, Settings},
};

/// Valid rules that lints complain about, where lints are to be fatal.
const LINT_FAILURE: u8 = 3;

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
    /// Only tests with a name in which this regular expression matches
    #[arg(long, value_name = "REGEX")]
    pub run: Vec<String>,
    /// Show of alerts only what is missing and what is too much
    #[arg(long)]
    pub diff: bool,
    /// Show which tests run, and all samples at the end of each
    #[arg(long)]
    pub debug: bool,
    /// Write the results as JUnit's XML into a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub language: Language,
    /// Files of unit tests
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Check {
    /// What valid rules are looked at for
    #[arg(long, value_enum, value_name = "LINT", value_delimiter = ',', default_value = "duplicate-rules")]
    pub lint: Vec<Lint>,
    /// End with exit code 3 where a lint finds something
    #[arg(long)]
    pub lint_fatal: bool,
    #[command(flatten)]
    pub language: Language,
    /// Rule files [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lint {
    All,
    DuplicateRules,
    None,
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
    match &rules.action {
        Action::Test(test) => run_tests(test),
        Action::Check(check) => run_check(check),
    }
}

fn run_tests(test: &Test) -> ExitCode {
    let settings = Settings {
        options: test.language.options(),
        run: &test.run,
        ignore_unknown_fields: test.language.ignore_unknown_fields,
        diff: test.diff,
        debug: test.debug,
    };
    let mut reports = Vec::new();
    for path in &test.files {
        let report = unit_test::run(&Disk, path, settings);
        show(&report);
        reports.push((path.clone(), report));
    }
    if let Some(path) = &test.junit {
        let now = SystemClock.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if let Err(error) = std::fs::write(path, junit(&reports, &now)) {
            eprintln!("failed to write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if reports.iter().all(|(_, report)| report.passed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(report: &Report) {
    report.notes.iter().for_each(|note| eprintln!("{note}"));
    if report.passed() {
        println!("  SUCCESS");
    } else {
        eprintln!("  FAILED:");
        for failure in report.failures() {
            eprintln!("{failure}");
            println!();
        }
    }
    println!();
}

/// What is to be said of a rule file, from the worst to the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Wrong,
    Doubtful,
    Right,
}

fn run_check(check: &Check) -> ExitCode {
    let worst = if check.files.is_empty() {
        println!("Checking standard input");
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text).map(|_| text).map_err(|error| error.to_string());
        check_text(check, read, "")
    } else {
        let each = check.files.iter().map(|path| {
            println!("Checking {path}");
            check_text(check, Disk.read(path), &format!("{path}: "))
        });
        each.min().unwrap_or(Verdict::Right)
    };
    match worst {
        Verdict::Wrong => ExitCode::FAILURE,
        Verdict::Doubtful if check.lint_fatal => ExitCode::from(LINT_FAILURE),
        _ => ExitCode::SUCCESS,
    }
}

fn check_text(check: &Check, text: Result<String, String>, place: &str) -> Verdict {
    let Language { ignore_unknown_fields, .. } = check.language;
    let text = text.map_err(|error| vec![file::RuleError(error)]);
    let groups = match text.and_then(|text| file::parse(&text, check.language.options(), ignore_unknown_fields)) {
        Ok(groups) => groups,
        Err(errors) => {
            eprintln!("  FAILED:");
            errors.iter().for_each(|error| eprintln!("{place}{error}"));
            return Verdict::Wrong;
        }
    };
    let wants_lint = !check.lint.contains(&Lint::None);
    let complaint = wants_lint.then(|| lint::duplicates(&groups)).flatten();
    match &complaint {
        Some(complaint) => eprintln!("  FAILED:\n{complaint}"),
        None => {
            let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
            println!("  SUCCESS: {rules} rules found");
        }
    }
    println!();
    if complaint.is_some() { Verdict::Doubtful } else { Verdict::Right }
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("open {path}: {error}"))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let found = glob::find(Path::new(pattern));
        found.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }
}
