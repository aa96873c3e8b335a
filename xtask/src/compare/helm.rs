//! Charts.

use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, ensure};
use clap::Args;
use coracle_gotemplate::{Dict, Str};
use coracle_helm::{
    Capabilities, Chart, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Shown, Warnings, World, load,
    on_deep_stack, template, values,
};

use super::{
    case::{Outcome, compare},
    peer::{Peer, own_cpu_seconds},
    report::Tally,
    speed::{self, Measured, measured, repeated},
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
    /// Only every Nth case
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Instead of comparing, measures what renders take
    #[arg(long)]
    speed: bool,
    /// Our command, which is called with the flags of `helm template`
    #[arg(long, default_value = "target/release/coracle render helm")]
    ours: String,
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
    let cases = cases(&arguments.directory)?.into_iter().filter(only).step_by(arguments.every.max(1));
    let cases: Vec<Case> = cases.collect();
    let part = if arguments.speed {
        measure_all(&cases, &peers[0].0, &arguments.ours)?
    } else {
        let mut part = String::new();
        for (peer, flavour) in &peers {
            compare_all(&cases, peer, *flavour, arguments)?.write(&mut part);
        }
        part
    };
    print!("{part}");
    if arguments.only.is_none() {
        write_page(arguments, &part)?;
    }
    Ok(())
}

/// Both commands write a part of the page each; the other's is kept.
fn write_page(arguments: &Arguments, part: &str) -> anyhow::Result<()> {
    let file = |is_speed: bool| arguments.kept.join(if is_speed { "speed.md" } else { "compared.md" });
    fs::create_dir_all(&arguments.kept).with_context(|| arguments.kept.display().to_string())?;
    fs::write(file(arguments.speed), part)?;
    let mut page = String::from(
        "# Helm charts, by the real tool and by ours\n\nMade by `cargo xtask compare helm DIR` over public charts: the \
         defaults of each and every `ci/*values.yaml`.\nLines that the real tool writes differently each time it runs are \
         masked.\n",
    );
    for is_speed in [false, true] {
        page.push_str(&fs::read_to_string(file(is_speed)).unwrap_or_default());
    }
    fs::write(&arguments.report, &page).with_context(|| format!("writing {}", arguments.report.display()))
}

/// Charts with their defaults, as the first of the real tools and ours render them.
fn measure_all(cases: &[Case], peer: &Peer, ours: &str) -> anyhow::Result<String> {
    let mut found = Vec::new();
    for (index, case) in cases.iter().filter(|case| case.values.is_none()).enumerate() {
        if index % 100 == 99 {
            eprintln!("{} charts", index + 1);
        }
        let arguments = case.arguments();
        let command = |words: Vec<String>, skip: usize| words.into_iter().chain(arguments.iter().skip(skip).cloned());
        let theirs: Vec<String> = command(vec![peer.program.to_string_lossy().into_owned()], 0).collect();
        let ours: Vec<String> = command(ours.split_whitespace().map(str::to_owned).collect(), 1).collect();
        let (Some(theirs), Some(ours)) = (measured(&theirs)?, measured(&ours)?) else { continue };
        let Some(loaded_seconds) = on_deep_stack(|| case.loaded_seconds(Flavour::Helm4))? else { continue };
        found.push(Measured { name: case.name.trim_end_matches("@defaults").to_owned(), theirs, ours, loaded_seconds });
    }
    Ok(speed::write("Helm 4.3.1", &found))
}

fn compare_all(cases: &[Case], peer: &Peer, flavour: Flavour, options: &Arguments) -> anyhow::Result<Tally> {
    // Errors without the warnings before them, and the same wherever the charts are.
    let without_place = |outcome: Outcome| match outcome {
        Outcome::Failed(text) => {
            let error = &text[text.find("Error: ").unwrap_or(0)..];
            Outcome::Failed(error.replace(&*options.directory.to_string_lossy(), "DIR"))
        }
        rendered => rendered,
    };
    let mut tally = Tally::new(&format!("Helm {}", flavour.version().trim_start_matches('v')));
    for (index, case) in cases.iter().enumerate() {
        if index % 100 == 0 {
            eprintln!("{}: {index} of {}", peer.name, cases.len());
        }
        let arguments = case.arguments();
        let run = peer.run(&case.name, 1, &arguments)?;
        let theirs = without_place(run.outcome);
        let before = own_cpu_seconds()?;
        let ours = without_place(case.render(flavour));
        let spent = own_cpu_seconds()? - before;
        let verdict = compare(&theirs, &ours, |number| Ok(peer.run(&case.name, number, &arguments)?.outcome))?;
        if matches!((&theirs, &ours), (Outcome::Rendered(_), Outcome::Rendered(_))) {
            tally.cpu_seconds.push((run.cpu_seconds, spent));
        }
        if options.explain {
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
        let request = self.request(flavour)?;
        let chart = load(&self.chart, flavour, &mut Warnings::default()).map_err(|error| error.to_string())?;
        render_loaded(&chart, &request)
    }

    fn request(&self, flavour: Flavour) -> Result<Request, String> {
        let mut capabilities = Capabilities::default_of(flavour);
        capabilities.kube_version = KubeVersion::parse(KUBE_VERSION)?;
        let values = match &self.values {
            Some(path) => {
                let text = fs::read(path).map_err(|error| error.to_string())?;
                values::read(&String::from_utf8_lossy(&text), flavour).map_err(|error| error.to_string())?
            }
            None => Rc::new(Dict::default()),
        };
        let release =
            Release { name: RELEASE.to_owned(), namespace: "default".to_owned(), is_upgrade: false, revision: 1 };
        Ok(Request { release, values, capabilities, flavour, skip_schema: false })
    }

    /// The processor seconds of one more render of the chart; nothing if it does not render.
    fn loaded_seconds(&self, flavour: Flavour) -> anyhow::Result<Option<f64>> {
        let (Ok(request), Ok(chart)) = (self.request(flavour), load(&self.chart, flavour, &mut Warnings::default()))
        else {
            return Ok(None);
        };
        if render_loaded(&chart, &request).is_err() {
            return Ok(None);
        }
        repeated(own_cpu_seconds, || drop(render_loaded(&chart, &request))).map(Some)
    }
}

fn render_loaded(chart: &Chart, request: &Request) -> Result<String, String> {
    let output = template(chart, request, &mut Sandbox::default(), &mut Warnings::default()).map_err(|error| {
        let hint = if error.came_from_rendering() { "\n\nUse --debug flag to render out invalid YAML" } else { "" };
        format!("{error}{hint}")
    })?;
    Ok(output.text(Shown::default()))
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
