//! `cargo xtask compare kustomize DIR`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;

use super::process::{Run, run as run_process};

const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Words of our errors for what lies outside the tree, which neither of the two can get here.
const REMOTE: [&str; 3] = ["single files are not downloaded", "git fetch:", "nothing is fetched here"];
const WRITTEN_TO: &str = "docs/KUSTOMIZE-COMPARISON.md";

#[derive(Debug, Args)]
pub struct Kustomize {
    /// The directory with the trees; each directory in it that has a kustomization is built
    dir: PathBuf,
    /// Our command, called with a directory
    #[arg(long, default_value = "target/release/coracle render kustomize")]
    ours: String,
    /// Only directories with this in their path
    #[arg(long)]
    only: Option<String>,
    /// Build every Nth directory only
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Write the summary to docs/KUSTOMIZE-COMPARISON.md
    #[arg(long)]
    write: bool,
}

/// What came of building one tree with both.
enum Verdict {
    Same,
    BothFail {
        remote: bool,
    },
    /// The first lines that differ.
    Differs(String),
    OnlyOursFails(String),
    OnlyTheirsFails(String),
}

struct Tree {
    path: PathBuf,
    verdict: Verdict,
    ours: Duration,
    theirs: Duration,
}

pub fn run(options: &Kustomize) -> anyhow::Result<()> {
    let theirs = vec![real()?, "build".to_owned()];
    let ours: Vec<String> = options.ours.split_whitespace().map(str::to_owned).collect();
    let mut found = Vec::new();
    find(&options.dir, &mut found)?;
    found.sort();
    found.retain(|path| options.only.as_ref().is_none_or(|only| path.to_string_lossy().contains(only)));
    let found: Vec<PathBuf> = found.into_iter().step_by(options.every.max(1)).collect();
    ensure!(!found.is_empty(), "no kustomization below {}", options.dir.display());
    let mut trees = Vec::with_capacity(found.len());
    for (index, path) in found.iter().enumerate() {
        let tree = build(&ours, &theirs, path)?;
        let shown = path.strip_prefix(&options.dir).unwrap_or(path).display();
        if let Some(trouble) = tree.verdict.trouble() {
            println!("{shown}\n{trouble}");
        }
        if index % 50 == 49 {
            eprintln!("{} of {}", index + 1, found.len());
        }
        trees.push(tree);
    }
    let summary = summary(&trees, &options.dir);
    println!("{summary}");
    if options.write {
        std::fs::write(WRITTEN_TO, &summary).with_context(|| WRITTEN_TO.to_owned())?;
    }
    let wrong = trees.iter().filter(|tree| tree.verdict.trouble().is_some()).count();
    ensure!(wrong == 0, "{wrong} trees differ");
    Ok(())
}

fn real() -> anyhow::Result<String> {
    let named = std::env::var("KUSTOMIZE").ok();
    let path = named.unwrap_or_else(|| "target/tools/kustomize".to_owned());
    ensure!(Path::new(&path).exists(), "{path}: name the real kustomize (5.8.2) by KUSTOMIZE, or put it there");
    Ok(path)
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut has_kustomization = false;
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && name != ".git" {
            find(&entry.path(), found)?;
        } else if !kind.is_dir() && FILE_NAMES.iter().any(|known| name == *known) {
            has_kustomization = true;
        }
    }
    if has_kustomization {
        found.push(directory.to_owned());
    }
    Ok(())
}

fn build(ours: &[String], theirs: &[String], path: &Path) -> anyhow::Result<Tree> {
    let argument = path.to_string_lossy();
    let (ours, theirs) = (run_process(ours, &argument)?, run_process(theirs, &argument)?);
    let verdict = match (ours.succeeded, theirs.succeeded) {
        (true, true) if ours.stdout == theirs.stdout => Verdict::Same,
        (true, true) => Verdict::Differs(difference(&ours, &theirs)),
        (false, false) => Verdict::BothFail { remote: REMOTE.iter().any(|words| ours.stderr.contains(words)) },
        (false, true) => Verdict::OnlyOursFails(ours.stderr),
        (true, false) => Verdict::OnlyTheirsFails(last_lines(&theirs.stderr)),
    };
    Ok(Tree { path: path.to_owned(), verdict, ours: ours.cpu, theirs: theirs.cpu })
}

impl Verdict {
    fn trouble(&self) -> Option<String> {
        match self {
            Verdict::Same | Verdict::BothFail { .. } => None,
            Verdict::Differs(lines) => Some(lines.clone()),
            Verdict::OnlyOursFails(reason) => Some(format!("  only ours fails: {reason}")),
            Verdict::OnlyTheirsFails(reason) => Some(format!("  only the real one fails: {reason}")),
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# Warning")).collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}

/// The first lines that differ, with the object they are in.
fn difference(ours: &Run, theirs: &Run) -> String {
    let (ours, theirs) = (String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&theirs.stdout));
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let at = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs).unwrap_or(ours.len().min(theirs.len()));
    let start = theirs[..at.min(theirs.len())].iter().rposition(|line| *line == "---").map_or(0, |line| line + 1);
    let document = theirs[start..].iter().take_while(|line| **line != "---");
    let object: Vec<&str> = document
        .copied()
        .filter(|line| line.starts_with("kind: ") || line.starts_with("  name: "))
        .take(2)
        .map(str::trim)
        .collect();
    let mut text = format!("  line {} ({})", at + 1, object.join(", "));
    for (sign, lines) in [('-', &theirs), ('+', &ours)] {
        for line in lines.iter().skip(at).take(3) {
            let _ = write!(text, "\n  {sign} {line}");
        }
    }
    text
}

fn summary(trees: &[Tree], root: &Path) -> String {
    let count = |fits: fn(&Verdict) -> bool| trees.iter().filter(|tree| fits(&tree.verdict)).count();
    let mut text = String::from(
        "# Kustomizations, side by side\n\nWritten by `cargo xtask compare kustomize DIR --write`, which builds every \
         kustomization below a directory with ours\nand with the real kustomize 5.8.2, as processes, one after the \
         other, and compares byte for byte. Nothing is fetched: trees\nwith remote bases fail with both.\n\n\
         | | trees |\n|---|---|\n",
    );
    let rows = [
        ("all", trees.len()),
        ("byte-identical", count(|verdict| matches!(verdict, Verdict::Same))),
        ("both fail, for what is remote", count(|verdict| matches!(verdict, Verdict::BothFail { remote: true }))),
        ("both fail, for another reason", count(|verdict| matches!(verdict, Verdict::BothFail { remote: false }))),
        ("differ", count(|verdict| matches!(verdict, Verdict::Differs(_)))),
        ("only ours fails", count(|verdict| matches!(verdict, Verdict::OnlyOursFails(_)))),
        ("only the real one fails", count(|verdict| matches!(verdict, Verdict::OnlyTheirsFails(_)))),
    ];
    for (name, number) in rows {
        let _ = writeln!(text, "| {name} | {number} |");
    }
    text.push_str(&costs(trees));
    text.push_str(&by_repository(trees, root));
    text
}

/// CPU time of the trees both build, user and system.
fn costs(trees: &[Tree]) -> String {
    let built: Vec<&Tree> = trees.iter().filter(|tree| matches!(tree.verdict, Verdict::Same)).collect();
    if built.is_empty() {
        return String::new();
    }
    let mut factors: Vec<f64> =
        built.iter().map(|tree| tree.theirs.as_secs_f64() / tree.ours.as_secs_f64().max(0.000_1)).collect();
    factors.sort_by(f64::total_cmp);
    let sum = |of: fn(&Tree) -> Duration| built.iter().map(|tree| of(tree)).sum::<Duration>();
    let median = |of: fn(&Tree) -> Duration| {
        let mut all: Vec<Duration> = built.iter().map(|tree| of(tree)).collect();
        all.sort();
        all[all.len() / 2]
    };
    format!(
        "\nCPU time of those that are identical:\n\n| | ours | real | factor |\n|---|---|---|---|\n\
         | all together | {:.2} s | {:.2} s | {:.1} |\n| median tree | {:.1} ms | {:.1} ms | {:.1} |\n\
         | smallest factor | | | {:.1} |\n",
        sum(|tree| tree.ours).as_secs_f64(),
        sum(|tree| tree.theirs).as_secs_f64(),
        sum(|tree| tree.theirs).as_secs_f64() / sum(|tree| tree.ours).as_secs_f64().max(0.000_1),
        median(|tree| tree.ours).as_secs_f64() * 1e3,
        median(|tree| tree.theirs).as_secs_f64() * 1e3,
        factors[factors.len() / 2],
        factors[0],
    )
}

fn by_repository(trees: &[Tree], root: &Path) -> String {
    let mut repositories: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for tree in trees {
        let relative = tree.path.strip_prefix(root).unwrap_or(&tree.path);
        let name = relative.components().next().map(|part| part.as_os_str().to_string_lossy().replace('+', "/"));
        let row = repositories.entry(name.unwrap_or_default()).or_default();
        match tree.verdict {
            Verdict::Same => row[0] += 1,
            Verdict::BothFail { .. } => row[1] += 1,
            _ => row[2] += 1,
        }
    }
    let mut text = String::from("\n| repository | identical | both fail | other |\n|---|---|---|---|\n");
    for (name, [same, failed, other]) in repositories {
        let _ = writeln!(text, "| {name} | {same} | {failed} | {other} |");
    }
    text
}
