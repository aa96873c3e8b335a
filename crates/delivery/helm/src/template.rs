//! `helm template`: from a loaded chart and a user's values to manifests.

use std::{rc::Rc, sync::Arc};

use coracle_gotemplate::Dict;

use crate::{
    Capabilities, Chart, Excerpt, Flavour, Warnings, dependencies,
    engine::{self, Job, Release, RenderError, World},
    manifest::{self, Hook, Manifest, ManifestError},
    schema::{self, SchemaError},
    values::{TypeMismatch, coalesce_values},
};

/// As Kubernetes and Helm have it.
const RELEASE_NAME_LIMIT: usize = 53;

/// What to render a chart with.
#[derive(Clone)]
pub struct Request {
    pub release: Release,
    /// The user's values, merged from wherever they came.
    pub values: Rc<Dict>,
    pub capabilities: Capabilities,
    pub flavour: Flavour,
    pub skip_schema: bool,
}

/// A rendered chart.
#[derive(Debug, Clone)]
pub struct Output {
    /// In the order in which they are installed.
    pub manifests: Vec<Manifest>,
    pub hooks: Vec<Hook>,
    /// The files of `crds/`, unrendered, with their paths.
    pub crds: Vec<(String, Arc<[u8]>)>,
    /// `NOTES.txt` of the chart.
    pub notes: String,
}

/// Why a chart could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} charts are not installable")]
    NotInstallable(String),
    #[error("{prefix}found in Chart.yaml, but missing in charts/ directory: {missing}")]
    MissingDependencies { prefix: &'static str, missing: String },
    #[error("{prefix}{source}")]
    Dependencies { prefix: &'static str, source: TypeMismatch },
    #[error("{0}")]
    ReleaseName(String),
    #[error("values don't meet the specifications of the schema(s) in the following chart(s):\n{0}")]
    Schema(#[from] SchemaError),
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {found}")]
    KubeVersion { wanted: String, found: String },
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl Error {
    /// Whether Helm would have something to show for it with `--debug`, and says so.
    pub fn came_from_rendering(&self) -> bool {
        matches!(self, Error::KubeVersion { .. } | Error::Render(_) | Error::Manifest(_))
    }

    /// Whether templates nested deeper than the stack they ran on: on [`crate::on_deep_stack`] they may render.
    pub fn is_too_deep(&self) -> bool {
        matches!(self, Error::Render(error) if error.is_too_deep())
    }

    /// The line it is about: of a template, or of what one was rendered to.
    pub fn excerpt(&self) -> Option<Excerpt> {
        match self {
            Error::Render(error) => error.excerpt.as_deref().cloned(),
            Error::Manifest(error) => error.source.excerpt(&error.path),
            _ => None,
        }
    }
}

/// Renders a chart. Templates may nest deeply: run this within [`crate::on_deep_stack`].
pub fn template(
    chart: &Chart,
    request: &Request,
    world: &mut dyn World,
    warnings: &mut Warnings,
) -> Result<Output, Error> {
    let flavour = request.flavour;
    check_installable(chart)?;
    check_present(chart, flavour)?;
    check_name(&request.release.name, flavour)?;
    let mut chart = chart.clone();
    dependencies::process(&mut chart, &request.values, flavour, warnings)
        .map_err(|source| Error::Dependencies { prefix: dependencies_prefix(flavour), source })?;
    let values = coalesce_values(&chart, &request.values, flavour, warnings)
        .map_err(|source| Error::Dependencies { prefix: "", source })?;
    if !request.skip_schema {
        schema::check(&chart, &values)?;
    }
    check_kube_version(&chart, &request.capabilities)?;
    let mut files = engine::render(Job {
        chart: &chart,
        values,
        release: &request.release,
        capabilities: &request.capabilities,
        flavour,
        world,
    })?;
    let own_notes = format!("{}/templates/NOTES.txt", chart.name());
    let notes = files.get(&own_notes).cloned().unwrap_or_default();
    files.retain(|path, _| !path.ends_with("NOTES.txt"));
    let (hooks, manifests) = manifest::sort(&files, flavour)?;
    Ok(Output { manifests, hooks, crds: chart.crds(chart.name()), notes })
}

fn dependencies_prefix(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Helm4 => "chart dependencies processing failed: ",
        Flavour::Helm3 => "",
    }
}

fn check_installable(chart: &Chart) -> Result<(), Error> {
    match chart.metadata.chart_type.as_str() {
        "" | "application" => Ok(()),
        other => Err(Error::NotInstallable(other.to_owned())),
    }
}

/// Everything `Chart.yaml` asks for must be in `charts/`.
fn check_present(chart: &Chart, flavour: Flavour) -> Result<(), Error> {
    let present = |name: &str| chart.dependencies.iter().any(|subchart| subchart.name() == name);
    let missing: Vec<&str> = chart
        .metadata
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !present(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let prefix = match flavour {
        Flavour::Helm4 => {
            "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to \
             fetch missing dependencies: "
        }
        Flavour::Helm3 => {
            "An error occurred while checking for chart dependencies. You may need to run `helm dependency build` to \
             fetch missing dependencies: "
        }
    };
    Err(Error::MissingDependencies { prefix, missing: missing.join(", ") })
}

fn check_name(name: &str, flavour: Flavour) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "no name provided".to_owned()
    } else if name.len() > RELEASE_NAME_LIMIT || !is_release_name(name) {
        "invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and \
         the length must not be longer than 53"
            .to_owned()
    } else {
        return Ok(());
    };
    let quoted = coracle_gotemplate::quote(name.as_bytes());
    Err(Error::ReleaseName(match flavour {
        Flavour::Helm4 => format!("release name check failed: release name {quoted}: {problem}"),
        Flavour::Helm3 => format!("release name {quoted}: {problem}"),
    }))
}

fn is_release_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.split('.').all(|part| {
        let bytes = part.as_bytes();
        let ends = bytes.first().is_some_and(|byte| inner(*byte)) && bytes.last().is_some_and(|byte| inner(*byte));
        ends && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
    })
}

fn check_kube_version(chart: &Chart, capabilities: &Capabilities) -> Result<(), Error> {
    let wanted = &chart.metadata.kube_version;
    let version = &capabilities.kube_version;
    if wanted.is_empty() || dependencies::is_compatible(wanted, &version.normalized) {
        return Ok(());
    }
    Err(Error::KubeVersion { wanted: wanted.clone(), found: version.version.clone() })
}

/// What `helm template` leaves out of its output, or adds to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    pub crds: bool,
    pub no_hooks: bool,
    pub no_tests: bool,
}

impl Output {
    /// The hooks that are shown.
    pub fn shown_hooks(&self, shown: Shown) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(move |hook| !(shown.no_hooks || shown.no_tests && hook.is_test()))
    }

    /// Everything in one text, as `helm template` prints it.
    pub fn text(&self, shown: Shown) -> String {
        let mut out = String::new();
        if shown.crds {
            for (path, data) in &self.crds {
                push(&mut out, path, &String::from_utf8_lossy(data));
            }
        }
        for manifest in &self.manifests {
            push(&mut out, &manifest.path, &manifest.content);
        }
        let mut out = format!("{}\n", out.trim());
        for hook in self.shown_hooks(shown) {
            push(&mut out, &hook.manifest.path, &hook.manifest.content);
        }
        out
    }

    /// Only the manifests of the templates that match one of the patterns; the error names a pattern without any.
    pub fn only(&self, shown: Shown, patterns: &[String], flavour: Flavour) -> Result<String, String> {
        let text = self.text(shown);
        let documents = manifest::split(&text, flavour);
        let mut out = String::new();
        for pattern in patterns {
            let mut missing = true;
            for document in &documents {
                if source(document).is_some_and(|path| crate::glob::matches_path(pattern, path)) {
                    missing = false;
                    out.push_str(&format!("---\n{document}\n"));
                }
            }
            if missing {
                return Err(format!("could not find template {pattern} in chart"));
            }
        }
        Ok(out)
    }
}

fn push(out: &mut String, path: &str, content: &str) {
    out.push_str("---\n# Source: ");
    out.push_str(path);
    out.push('\n');
    out.push_str(content);
    out.push('\n');
}

/// The template a printed document came from, without the chart's name.
fn source(document: &str) -> Option<&str> {
    let line = document.lines().find_map(|line| line.split_once("# Source: ").map(|(_, path)| path))?;
    line.split_once('/').map(|(_, path)| path)
}
