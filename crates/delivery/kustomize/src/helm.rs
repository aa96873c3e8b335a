//! `helmCharts`, rendered in process from the files at hand. Nothing is fetched.

use std::cell::RefCell;

use crate::{ChartRequest, Charts, Files};
use coracle_helm::{
    Capabilities, File, Flavour, KubeVersion, Release, Request, Shown, Warnings, World, load, on_deep_stack,
    release_name, template, values::options::Options,
};

/// What `helm template` calls a release that nobody named.
const UNNAMED: &str = "release-name";
/// The hooks that are objects like others where nothing runs hooks.
const DEPLOYED_EVENTS: [&str; 4] = ["pre-install", "post-install", "pre-upgrade", "post-upgrade"];

/// Gives each chart its clock and its dice.
pub type Worlds<'w> = &'w dyn Fn(&ChartRequest) -> Box<dyn World + Send>;

/// Renders charts. What the caller says of the cluster goes before what kustomizations say.
pub struct InProcess<'w> {
    pub api_versions: Vec<String>,
    pub kube_version: Option<String>,
    /// Leaves out tests and other hooks that are not deployed.
    pub only_deployed: bool,
    pub worlds: Worlds<'w>,
    /// What a person should know of the charts rendered so far.
    pub warnings: RefCell<Vec<String>>,
}

impl Charts for InProcess<'_> {
    fn render(&self, files: &dyn Files, request: &ChartRequest) -> Result<String, String> {
        let directory =
            if request.home.is_empty() { request.name.clone() } else { format!("{}/{}", request.home, request.name) };
        if !files.is_directory(&directory) {
            return Err(format!("there is no chart at {directory}, and charts are not fetched from repositories"));
        }
        let files = files.below(&directory)?.into_iter().map(|(name, data)| File { name, data: data.into() }).collect();
        let mut world = (self.worlds)(request);
        let job = Job {
            files,
            options: options(request),
            name: name(request, &mut *world)?,
            namespace: if request.namespace.is_empty() { "default" } else { &request.namespace },
            capabilities: self.capabilities(request)?,
            shown: Shown { crds: request.include_crds, no_hooks: request.skip_hooks, no_tests: request.skip_tests },
            only_deployed: self.only_deployed,
        };
        let (text, warnings) = on_deep_stack(|| job.render(&mut *world))?;
        self.warnings.borrow_mut().extend(warnings.iter().map(str::to_owned));
        Ok(text)
    }
}

impl InProcess<'_> {
    fn capabilities(&self, request: &ChartRequest) -> Result<Capabilities, String> {
        let mut capabilities = Capabilities::default_of(Flavour::default());
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

fn name(request: &ChartRequest, world: &mut dyn World) -> Result<String, String> {
    match (request.release_name.as_str(), request.name_template.as_str()) {
        ("", "") => Ok(UNNAMED.to_owned()),
        (name, "") => Ok(name.to_owned()),
        ("", template) => release_name(template, world),
        (_, _) => Err("cannot set --name-template and also specify a name".to_owned()),
    }
}

fn options(request: &ChartRequest) -> Options {
    let mut files = Vec::new();
    if let Some(values) = &request.values {
        files.push(("values.yaml".to_owned(), coracle_yaml::emit(&values.to_json())));
    }
    for (path, content) in &request.values_files {
        files.push((path.clone(), String::from_utf8_lossy(content).into_owned()));
    }
    Options { files, ..Options::default() }
}

/// A chart to render on a stack of its own.
struct Job<'r> {
    files: Vec<File>,
    options: Options,
    name: String,
    namespace: &'r str,
    capabilities: Capabilities,
    shown: Shown,
    only_deployed: bool,
}

impl Job<'_> {
    fn render(self, world: &mut dyn World) -> Result<(String, Warnings), String> {
        let flavour = Flavour::default();
        let mut warnings = Warnings::default();
        let chart = load::filtered(self.files, flavour, &mut warnings).map_err(|error| error.to_string())?;
        let mut none = |path: &str| Err(format!("{path}: not read here"));
        let request = Request {
            release: Release { name: self.name, namespace: self.namespace.to_owned(), is_upgrade: false, revision: 1 },
            values: self.options.merge(flavour, &mut none).map_err(|error| error.to_string())?,
            capabilities: self.capabilities,
            flavour,
            skip_schema: false,
        };
        let mut output = template(&chart, &request, world, &mut warnings).map_err(|error| error.to_string())?;
        if self.only_deployed {
            output.hooks.retain(|hook| hook.events.iter().any(|event| DEPLOYED_EVENTS.contains(event)));
        }
        Ok((output.text(self.shown), warnings))
    }
}
