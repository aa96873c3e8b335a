//! Charts.

use std::{
    any::Any,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, ensure};
use clap::Args;
use coracle_gotemplate::{Dict, Host, Str};
use coracle_helm::{
    Capabilities, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Shown, Warnings, World, load,
    on_deep_stack, template, values,
};

use super::{
    case::{Outcome, compare},
    peer::{Peer, own_cpu_seconds},
    report::Tally,
};

/// The release's name, and the Kubernetes everybody is told to render for.
const RELEASE: &str = "sample";
const KUBE_VERSION: &str = "1.37.0";

#[derive(Args)]
pub struct Arguments {
    /// Where the charts are
    directory: PathBuf,
    /// Only cases whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Where the summary goes
    #[arg(long, default_value = "docs/HELM-COMPARISON.md")]
    report: PathBuf,
    /// Where the real tools' runs are kept
    #[arg(long, default_value = "target/compare/helm")]
    kept: PathBuf,
    /// Prints every difference of every case
    #[arg(long)]
    explain: bool,
}

/// A chart with one set of values.
struct Case {
    name: String,
    chart: PathBuf,
    values: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let peers: Vec<(Peer, Flavour)> = [("helm4", "HELM", Flavour::Helm4), ("helm3", "HELM3", Flavour::Helm3)]
        .into_iter()
        .filter_map(|(name, variable, flavour)| Some((Peer::find(name, variable, &arguments.kept)?, flavour)))
        .collect();
    ensure!(!peers.is_empty(), "no real helm: name one by HELM or HELM3, or put it into target/tools");
    let only = |case: &Case| arguments.only.as_ref().is_none_or(|part| case.name.contains(part.as_str()));
    let cases: Vec<Case> = cases(&arguments.directory)?.into_iter().filter(only).collect();
    let mut page = String::from(
        "# Helm charts, by the real tool and by ours\n\nMade by `cargo xtask compare helm DIR` over public charts: the \
         defaults of each and every `ci/*values.yaml`. Lines that the real tool writes differently each time it runs are \
         masked.\n",
    );
    for (peer, flavour) in &peers {
        let tally = compare_all(&cases, peer, *flavour, arguments.explain)?;
        tally.write(&mut page);
    }
    print!("{page}");
    if arguments.only.is_none() {
        fs::write(&arguments.report, &page).with_context(|| format!("writing {}", arguments.report.display()))?;
    }
    Ok(())
}

fn compare_all(cases: &[Case], peer: &Peer, flavour: Flavour, explain: bool) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(&format!("Helm {}", flavour.version().trim_start_matches('v')));
    for (index, case) in cases.iter().enumerate() {
        if index % 100 == 0 {
            eprintln!("{}: {index} of {}", peer.name, cases.len());
        }
        let arguments = case.arguments();
        let theirs = peer.run(&case.name, 1, &arguments)?;
        let before = own_cpu_seconds()?;
        let ours = case.render(flavour);
        let spent = own_cpu_seconds()? - before;
        let verdict =
            compare(&theirs.outcome, &ours, |number| Ok(peer.run(&case.name, number, &arguments)?.outcome))?;
        if matches!((&theirs.outcome, &ours), (Outcome::Rendered(_), Outcome::Rendered(_))) {
            tally.cpu_seconds.push((theirs.cpu_seconds, spent));
        }
        if explain {
            println!("{}: {verdict:#?}", case.name);
        }
        tally.found.push((case.name.clone(), verdict));
    }
    Ok(tally)
}

/// Every chart that is not a dependency of another.
fn cases(root: &Path) -> anyhow::Result<Vec<Case>> {
    let mut charts = Vec::new();
    find_charts(root, &mut charts)?;
    charts.sort();
    let mut cases = Vec::new();
    for chart in charts {
        let path = chart.strip_prefix(root).unwrap_or(&chart).to_string_lossy().replace('/', "__");
        cases.push(Case { name: format!("{path}@defaults"), chart: chart.clone(), values: None });
        for values in value_files(&chart.join("ci"))? {
            let file = values.file_name().unwrap_or_default().to_string_lossy();
            cases.push(Case { name: format!("{path}@{file}"), chart: chart.clone(), values: Some(values.clone()) });
        }
    }
    Ok(cases)
}

fn find_charts(directory: &Path, charts: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let is_chart = directory.join("Chart.yaml").is_file();
    if is_chart {
        charts.push(directory.to_owned());
    }
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let entry = entry?;
        let is_dependencies = is_chart && entry.file_name() == "charts";
        if entry.file_type()?.is_dir() && !is_dependencies {
            find_charts(&entry.path(), charts)?;
        }
    }
    Ok(())
}

fn value_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("values.yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Case {
    fn arguments(&self) -> Vec<String> {
        let chart = self.chart.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["template", RELEASE, &chart, "--kube-version", KUBE_VERSION].map(str::to_owned).into();
        if let Some(values) = &self.values {
            arguments.extend(["-f".to_owned(), values.to_string_lossy().into_owned()]);
        }
        arguments
    }

    fn render(&self, flavour: Flavour) -> Outcome {
        let rendered = std::panic::catch_unwind(|| on_deep_stack(|| self.try_render(flavour)));
        match rendered {
            Ok(Ok(text)) => Outcome::Rendered(text),
            Ok(Err(error)) => Outcome::Failed(format!("Error: {error}")),
            Err(_) => Outcome::Failed("ours panicked".to_owned()),
        }
    }

    fn try_render(&self, flavour: Flavour) -> Result<String, String> {
        let mut capabilities = Capabilities::default_of(flavour);
        capabilities.kube_version = KubeVersion::parse(KUBE_VERSION)?;
        let values = match &self.values {
            Some(path) => {
                let text = fs::read(path).map_err(|error| error.to_string())?;
                values::read(&String::from_utf8_lossy(&text), flavour).map_err(|error| error.to_string())?
            }
            None => Rc::new(Dict::default()),
        };
        let mut warnings = Warnings::default();
        let chart = load(&self.chart, flavour, &mut warnings).map_err(|error| error.to_string())?;
        let request = Request {
            release: Release {
                name: RELEASE.to_owned(),
                namespace: "default".to_owned(),
                is_upgrade: false,
                revision: 1,
            },
            values,
            capabilities,
            flavour,
            skip_schema: false,
        };
        let output = template(&chart, &request, &mut Sandbox::default(), &mut warnings).map_err(|error| {
            let hint = if error.came_from_rendering() { "\n\nUse --debug flag to render out invalid YAML" } else { "" };
            format!("{error}{hint}")
        })?;
        Ok(output.text(Shown::default()))
    }
}

/// A world in which it is always the same second and chance follows a plan.
struct Sandbox {
    cluster: NoCluster,
    state: u64,
}

impl Default for Sandbox {
    fn default() -> Self {
        Sandbox { cluster: NoCluster, state: 0x9E37_79B9_7F4A_7C15 }
    }
}

impl World for Sandbox {
    fn now(&mut self) -> (i64, u32) {
        (1_700_000_000, 0)
    }

    fn zone(&self) -> Str {
        "UTC".into()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = (self.state >> 32) as u8;
        }
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.cluster
    }
}

impl Host for Sandbox {
    fn now(&mut self) -> (i64, u32) {
        World::now(self)
    }

    fn zone(&self) -> Str {
        World::zone(self)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        World::random(self, buffer);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
