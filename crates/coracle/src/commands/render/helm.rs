//! `coracle render helm`: what `helm template` prints.

mod flags;
mod output;

use std::{path::Path, process::ExitCode, rc::Rc};

use coracle_clock::{Clock, SystemClock};
use coracle_gotemplate::{Dict, Str};
use coracle_helm::{
    Capabilities, Excerpt, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Warnings, World, load,
    on_deep_stack, on_main_stack, release_name, template, values::options::Options,
};

use nix::sys::resource::{Resource, getrlimit};

pub use flags::Helm;

/// What a main thread usually has.
const USUAL_STACK_BYTES: u64 = 8 << 20;

/// Why nothing was rendered.
enum Failure {
    /// What a person reads after `Error: `.
    Told(String),
    /// Templates nest deeper than this thread's stack.
    TooDeep(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Told(message)
    }
}

pub fn run(helm: &Helm) -> ExitCode {
    let rendered = if may_stay_here(helm) { on_main_stack(|| render(helm)) } else { on_deep_stack(|| render(helm)) };
    let rendered = match rendered {
        Err(Failure::TooDeep(_)) => on_deep_stack(|| render(helm)),
        rendered => rendered,
    };
    match rendered {
        Ok(code) => code,
        Err(Failure::Told(message) | Failure::TooDeep(message)) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether to try on this thread first: its stack is of the usual size, and all input can be read a second time.
fn may_stay_here(helm: &Helm) -> bool {
    let stack = getrlimit(Resource::RLIMIT_STACK).map_or(0, |(bytes, _)| bytes);
    stack >= USUAL_STACK_BYTES && !helm.values.iter().any(|path| path.trim() == "-")
}

fn render(helm: &Helm) -> Result<ExitCode, Failure> {
    helm.refuse_what_needs_a_cluster()?;
    let flavour = if helm.helm3 { Flavour::Helm3 } else { Flavour::Helm4 };
    let mut capabilities = Capabilities::default_of(flavour);
    if let Some(version) = &helm.kube_version {
        capabilities.kube_version =
            KubeVersion::parse(version).map_err(|error| format!("invalid kube version '{version}': {error}"))?;
    }
    capabilities.api_versions.extend(helm.api_versions.iter().cloned());
    let (name, chart) = name_and_chart(helm)?;
    let path = Path::new(chart);
    if !path.exists() {
        return Err(missing_chart(chart).into());
    }
    let values = values(helm, flavour)?;
    let mut warnings = Warnings::default();
    let chart =
        load(path, flavour, &mut warnings).map_err(|error| with_line(error.to_string(), error.excerpt().as_ref()))?;
    let request = Request {
        release: Release {
            name,
            namespace: helm.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            is_upgrade: helm.is_upgrade,
            revision: 1,
        },
        values,
        capabilities,
        flavour,
        skip_schema: helm.skip_schema_validation,
    };
    let rendered = template(&chart, &request, &mut ThisMachine::default(), &mut warnings);
    let rendered = rendered.map_err(|error| {
        let hint = if error.came_from_rendering() { "\n\nUse --debug flag to render out invalid YAML" } else { "" };
        let message = with_line(format!("{error}{hint}"), error.excerpt().as_ref());
        if error.is_too_deep() { Failure::TooDeep(message) } else { Failure::Told(message) }
    });
    if !matches!(rendered, Err(Failure::TooDeep(_))) {
        warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let rendered = rendered?;
    let code = output::write(helm, &rendered, &request)?;
    // The process ends here: giving all this back piece by piece would only take time.
    std::mem::forget((chart, rendered, request));
    Ok(code)
}

/// What Helm says, and under it the line it is about.
fn with_line(message: String, line: Option<&Excerpt>) -> String {
    line.map_or(message.clone(), |line| format!("{message}\n\n{line}"))
}

fn missing_chart(chart: &str) -> String {
    if chart.starts_with(['/', '.']) {
        format!("path {chart:?} not found")
    } else {
        format!("{chart}: there is no such directory or archive; charts are not fetched from repositories")
    }
}

/// The release's name and the chart, as the flags and arguments say.
fn name_and_chart(helm: &Helm) -> Result<(String, &str), String> {
    match helm.arguments.as_slice() {
        [_, _] if helm.generate_name => Err("cannot set --generate-name and also specify a name".to_owned()),
        [_, _] if helm.name_template.is_some() => Err("cannot set --name-template and also specify a name".to_owned()),
        [name, chart] => Ok((name.clone(), chart)),
        [chart] => Ok((named(helm)?, chart)),
        [] => {
            Err("\"helm template\" requires at least 1 argument\n\nUsage:  helm template [NAME] [CHART] [flags]"
                .to_owned())
        }
        [_, _, others @ ..] => {
            Err(format!("expected at most two arguments, unexpected arguments: {}", others.join(", ")))
        }
    }
}

fn named(helm: &Helm) -> Result<String, String> {
    let Some(text) = &helm.name_template else { return Ok("release-name".to_owned()) };
    release_name(text, &mut ThisMachine::default())
}

fn values(helm: &Helm, flavour: Flavour) -> Result<Rc<Dict>, String> {
    let mut files = Vec::new();
    for path in &helm.values {
        files.push((path.clone(), read(path)?));
    }
    let options = Options {
        files,
        json: helm.set_json.clone(),
        set: helm.set.clone(),
        strings: helm.set_string.clone(),
        from_files: helm.set_file.clone(),
        literals: helm.set_literal.clone(),
    };
    let merged = options.merge(flavour, &mut |path| read(path));
    merged.map_err(|error| with_line(error.to_string(), error.excerpt.as_deref()))
}

/// A file, or standard input for `-`.
fn read(path: &str) -> Result<String, String> {
    if path.trim() == "-" {
        return std::io::read_to_string(std::io::stdin()).map_err(|error| error.to_string());
    }
    if path.contains("://") {
        return Err(format!("{path}: files are not fetched"));
    }
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        _ => format!("open {path}: {error}"),
    })
}

/// The clock, dice and time zone of this machine; no cluster.
pub(super) struct ThisMachine {
    cluster: NoCluster,
}

impl Default for ThisMachine {
    fn default() -> Self {
        ThisMachine { cluster: NoCluster }
    }
}

impl World for ThisMachine {
    fn now(&mut self) -> (i64, u32) {
        let now = SystemClock.now();
        (now.as_second(), now.subsec_nanosecond().unsigned_abs())
    }

    fn zone(&self) -> Str {
        jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").into()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        rand::fill(buffer);
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.cluster
    }
}
