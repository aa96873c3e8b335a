//! Helm charts, with the settings an Application gives them.

use std::{collections::BTreeSet, path::Component, path::Path};

use coracle_helm::{
    Capabilities, File, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Warnings, World, load,
    on_deep_stack, template, values::options::Options,
};
use coracle_yaml::{FileId, Node};
use sha2::{Digest, Sha256};

use super::{Place, RenderError, join};
use crate::{application::HelmSource, manifest::Manifest, source::Tree};

/// What makes a directory a chart.
pub(super) const FILE: &str = "Chart.yaml";

/// The objects of the chart in `directory`. Dice come from the commit's content, so that passwords and the like that
/// templates make up stay the same from one look at a commit to the next.
pub(super) fn rendered(
    tree: &dyn Tree,
    paths: &[String],
    directory: &str,
    place: &Place,
) -> Result<Vec<Manifest>, RenderError> {
    let settings = place.helm.clone().unwrap_or_default();
    let files = files(tree, paths, directory)?;
    let options = options(tree, directory, &settings)?;
    let named = parameter_files(tree, directory, &settings)?;
    let mut world = Seeded::new(&tree.id(), place.now);
    let failed = |message: String| RenderError { file: join(directory, FILE), line: 0, column: 0, message };
    on_deep_stack(move || {
        let mut warnings = Warnings::default();
        let chart = load::filtered(files, Flavour::Helm4, &mut warnings).map_err(|error| failed(error.to_string()))?;
        let mut open = |path: &str| {
            let found = named.iter().find(|(known, _)| known == path);
            found.map(|(_, text)| text.clone()).ok_or_else(|| format!("{path}: there is no such file"))
        };
        let request = Request {
            release: release(&settings, place),
            values: options.merge(Flavour::Helm4, &mut open).map_err(|error| failed(error.to_string()))?,
            capabilities: capabilities(&settings).map_err(failed)?,
            flavour: Flavour::Helm4,
            skip_schema: settings.skip_schema_validation,
        };
        let output =
            template(&chart, &request, &mut world, &mut warnings).map_err(|error| located(directory, &error))?;
        warnings.iter().for_each(|warning| tracing::debug!(directory, warning, "rendering a chart"));
        let mut manifests = Vec::new();
        if !settings.skip_crds {
            for (path, data) in &output.crds {
                read(&inside(directory, path), &String::from_utf8_lossy(data), &mut manifests)?;
            }
        }
        for manifest in &output.manifests {
            read(&inside(directory, &manifest.path), &manifest.content, &mut manifests)?;
        }
        // Hooks of an installation are objects like others here; tests and what belongs to an end are not deployed.
        for hook in output.hooks.iter().filter(|hook| hook.events.iter().any(|event| is_deployed(event))) {
            read(&inside(directory, &hook.manifest.path), &hook.manifest.content, &mut manifests)?;
        }
        Ok(manifests)
    })
}

fn is_deployed(event: &str) -> bool {
    matches!(event, "pre-install" | "post-install" | "pre-upgrade" | "post-upgrade")
}

fn release(settings: &HelmSource, place: &Place) -> Release {
    let or = |given: &str, usual: &str| if given.is_empty() { usual.to_owned() } else { given.to_owned() };
    Release {
        name: or(&settings.release_name, &place.app),
        namespace: or(&settings.namespace, &place.namespace),
        is_upgrade: false,
        revision: 1,
    }
}

fn capabilities(settings: &HelmSource) -> Result<Capabilities, String> {
    let mut capabilities = Capabilities::default_of(Flavour::Helm4);
    if !settings.kube_version.is_empty() {
        capabilities.kube_version = KubeVersion::parse(&settings.kube_version)?;
    }
    capabilities.api_versions.extend(settings.api_versions.iter().cloned());
    Ok(capabilities)
}

fn files(tree: &dyn Tree, paths: &[String], directory: &str) -> Result<Vec<File>, RenderError> {
    let mut files = Vec::new();
    for path in paths {
        let Some(name) = below(directory, path) else { continue };
        if let Some(data) = tree.read(path)? {
            files.push(File { name: name.to_owned(), data: data.into() });
        }
    }
    Ok(files)
}

fn below<'p>(directory: &str, path: &'p str) -> Option<&'p str> {
    if directory.is_empty() { Some(path) } else { path.strip_prefix(directory)?.strip_prefix('/') }
}

/// Values in Argo CD's order: files, then the text or object of the spec, then parameters.
fn options(tree: &dyn Tree, directory: &str, settings: &HelmSource) -> Result<Options, RenderError> {
    let mut options = Options::default();
    for name in &settings.value_files {
        let path = resolve(directory, name)?;
        match tree.read(&path)? {
            Some(data) => options.files.push((path, String::from_utf8_lossy(&data).into_owned())),
            None if settings.ignore_missing_value_files => {}
            None => {
                let message = "the Application names this values file, but it is not there".to_owned();
                return Err(RenderError { file: path, line: 0, column: 0, message });
            }
        }
    }
    match &settings.values_object {
        Some(object) => options.files.push(("spec.source.helm.valuesObject".to_owned(), object.to_string())),
        None if settings.values.is_empty() => {}
        None => options.files.push(("spec.source.helm.values".to_owned(), settings.values.clone())),
    }
    for parameter in &settings.parameters {
        let text = format!("{}={}", parameter.name, escaped(&parameter.value));
        if parameter.force_string { options.strings.push(text) } else { options.set.push(text) }
    }
    options.from_files =
        settings.file_parameters.iter().map(|file| format!("{}={}", file.name, escaped(&file.path))).collect();
    Ok(options)
}

/// A comma in a parameter's value is part of it, unless it stands in a list in braces.
fn escaped(value: &str) -> String {
    if value.starts_with('{') { value.to_owned() } else { value.replace(',', "\\,") }
}

fn parameter_files(
    tree: &dyn Tree,
    directory: &str,
    settings: &HelmSource,
) -> Result<Vec<(String, String)>, RenderError> {
    let mut files = Vec::new();
    for name in settings.file_parameters.iter().map(|file| &file.path).collect::<BTreeSet<_>>() {
        if let Some(data) = tree.read(&resolve(directory, name)?)? {
            files.push((name.clone(), String::from_utf8_lossy(&data).into_owned()));
        }
    }
    Ok(files)
}

/// A path an Application names, from the chart's directory or (with a leading slash) from the repository's root.
fn resolve(directory: &str, name: &str) -> Result<String, RenderError> {
    let whole = if name.starts_with('/') { name.trim_start_matches('/').to_owned() } else { join(directory, name) };
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(&whole).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir if parts.pop().is_none() => {
                return Err(RenderError::whole(format!("{name} leads out of the repository")));
            }
            _ => {}
        }
    }
    Ok(parts.join("/"))
}

/// A path within the rendered chart (`chart/templates/a.yaml`) as one of the repository.
fn inside(directory: &str, path: &str) -> String {
    join(directory, path.split_once('/').map_or(path, |(_, rest)| rest))
}

/// The error at the place in the repository that a person should look at first: the innermost template's.
fn located(directory: &str, error: &coracle_helm::Error) -> RenderError {
    let place = match error {
        coracle_helm::Error::Render(error) => error.places.iter().rev().find(|place| place.file.contains('/')),
        _ => None,
    };
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match place {
        Some(place) => RenderError {
            file: inside(directory, &place.file),
            line: number(place.line),
            column: number(place.column),
            message: error.to_string(),
        },
        None => RenderError { file: join(directory, FILE), line: 0, column: 0, message: error.to_string() },
    }
}

/// The objects in one rendered document; the items of a list one by one.
fn read(path: &str, text: &str, manifests: &mut Vec<Manifest>) -> Result<(), RenderError> {
    let wrong = |message: String| RenderError { file: path.to_owned(), line: 0, column: 0, message };
    let documents = coracle_yaml::parse(text, FileId::default())
        .map_err(|error| wrong(format!("what this renders to is not YAML: {error}")))?;
    documents.iter().filter(|node| !node.is_null()).try_for_each(|node| add(node, &wrong, manifests))
}

fn add(node: &Node, wrong: &dyn Fn(String) -> RenderError, manifests: &mut Vec<Manifest>) -> Result<(), RenderError> {
    let text = |path: &[&str]| node.at_path(path).and_then(Node::as_text).filter(|text| !text.is_empty());
    let (Some(kind), Some(_)) = (text(&["kind"]), text(&["apiVersion"])) else {
        return Err(wrong(format!("this renders to {}, not a Kubernetes object", node.describe())));
    };
    if kind == "List"
        && let Some(items) = node.get("items").and_then(Node::as_sequence)
    {
        return items.iter().try_for_each(|item| add(item, wrong, manifests));
    }
    if text(&["metadata", "name"]).is_none() {
        return Err(wrong(format!("this renders to a {kind} without metadata.name")));
    }
    manifests.push(Manifest::generated(node.to_json()));
    Ok(())
}

/// A clock that stands still, and dice from a seed.
pub(super) struct Seeded {
    now: (i64, u32),
    seed: [u8; 32],
    counter: u64,
    cluster: NoCluster,
}

impl Seeded {
    pub fn new(seed: &str, now: (i64, u32)) -> Seeded {
        Seeded { now, seed: Sha256::digest(seed).into(), counter: 0, cluster: NoCluster }
    }
}

impl World for Seeded {
    fn now(&mut self) -> (i64, u32) {
        self.now
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            self.counter += 1;
            let block = Sha256::new().chain_update(self.seed).chain_update(self.counter.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.cluster
    }
}
