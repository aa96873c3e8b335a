//! Charts in kustomizations: rendered in process, from the disk.

use std::path::Path;

use coracle_helm::{
    Capabilities, Flavour, KubeVersion, Release, Request, Shown, Warnings, load, template, values::options,
};
use coracle_kustomize::{ChartRequest, Charts, Files};

use crate::commands::render::helm::ThisMachine;

/// What `helm template` calls a release that nobody named.
const UNNAMED: &str = "release-name";

/// Renders charts; what the command line says of the cluster goes before what kustomizations say.
pub struct InProcess {
    pub api_versions: Vec<String>,
    pub kube_version: Option<String>,
}

impl Charts for InProcess {
    fn render(&self, _files: &dyn Files, request: &ChartRequest) -> Result<String, String> {
        if !request.name_template.is_empty() {
            return Err("nameTemplate is not supported; use releaseName".to_owned());
        }
        let path = format!("/{}/{}", request.home, request.name);
        if !Path::new(&path).is_dir() {
            return Err(format!("there is no chart at {path}, and charts are not fetched from repositories"));
        }
        let mut warnings = Warnings::default();
        let flavour = Flavour::default();
        let chart = load(Path::new(&path), flavour, &mut warnings).map_err(|error| error.to_string())?;
        let name = if request.release_name.is_empty() { UNNAMED } else { &request.release_name };
        let namespace = if request.namespace.is_empty() { "default" } else { &request.namespace };
        let wanted = Request {
            release: Release { name: name.to_owned(), namespace: namespace.to_owned(), is_upgrade: false, revision: 1 },
            values: values(request, flavour)?,
            capabilities: self.capabilities(request, flavour)?,
            flavour,
            skip_schema: false,
        };
        let rendered = template(&chart, &wanted, &mut ThisMachine::default(), &mut warnings);
        warnings.iter().for_each(|warning| eprintln!("{warning}"));
        let shown = Shown { crds: request.include_crds, no_hooks: request.skip_hooks, no_tests: request.skip_tests };
        Ok(rendered.map_err(|error| error.to_string())?.text(shown))
    }
}

impl InProcess {
    fn capabilities(&self, request: &ChartRequest, flavour: Flavour) -> Result<Capabilities, String> {
        let mut capabilities = Capabilities::default_of(flavour);
        let kube_version = self.kube_version.as_deref().filter(|version| !version.is_empty());
        let kube_version = kube_version.unwrap_or(&request.kube_version);
        if !kube_version.is_empty() {
            capabilities.kube_version = KubeVersion::parse(kube_version)
                .map_err(|error| format!("invalid kube version {kube_version:?}: {error}"))?;
        }
        let api_versions = if self.api_versions.is_empty() { &request.api_versions } else { &self.api_versions };
        capabilities.api_versions.extend(api_versions.iter().cloned());
        Ok(capabilities)
    }
}

type Values = std::rc::Rc<coracle_gotemplate::Dict>;

fn values(request: &ChartRequest, flavour: Flavour) -> Result<Values, String> {
    let mut files = Vec::new();
    if let Some(values) = &request.values {
        files.push(("values.yaml".to_owned(), coracle_yaml::emit(&values.to_json())));
    }
    for (path, content) in &request.values_files {
        files.push((path.clone(), String::from_utf8_lossy(content).into_owned()));
    }
    let options = options::Options { files, ..options::Options::default() };
    options.merge(flavour, &mut |path| Err(format!("{path}: not read here"))).map_err(|error| error.to_string())
}
