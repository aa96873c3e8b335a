//! The walk over kustomizations: what each one gathers, in which order it works on it.

use std::sync::Arc;

use coracle_yaml::{Mark, Node, Repeated};

use crate::config::{self, Config};
use crate::documents::{self, Place};
use crate::error::{Error, Trouble};
use crate::files::Files;
use crate::gitref::{self, GitReference};
use crate::load::{LoadError, Root, Session};
use crate::merge::{CustomTypes, Types};
use crate::options::{Options, Order};
use crate::order::{self, Kinds};
use crate::origin::{self, Origin};
use crate::read::{self, Kustomization, Text};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::steps;
use crate::transform::{self, Around};
use crate::vars::{self, Variables};
use crate::{Documents, FILE_NAMES, generate, nameref};

/// Objects with this annotation are for tools only and are left out.
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kustomize-v5.8.2");
/// The version of the built-in types, the only one there is.
const TYPES_VERSIONS: [&str; 1] = ["v1.21.2"];

pub(crate) fn run(files: &dyn Files, path: &str, options: &Options<'_>) -> Result<Documents, Error> {
    let session = Session::new(options);
    let list = {
        let root = Root::outermost(&session, files, path)?;
        let target = load(root, &[])?;
        let mut build =
            Build { session: &session, types: Types::default(), types_are_set: false, build_metadata: Vec::new() };
        build.set_types(&target, true)?;
        build.build_metadata.clone_from(&target.kustomization.build_metadata);
        build.all(&target)?
    };
    let warnings = session.warnings.take();
    Ok(Documents { list, files: session.into_names(), warnings })
}

/// A kustomization that has been read.
pub(crate) struct Target<'a> {
    pub root: Root<'a>,
    pub kustomization: Kustomization,
    /// The name of its file in its directory.
    pub file_name: &'static str,
    /// The kustomizations that led here, outermost first.
    chain: Vec<String>,
    /// The namespace charts are rendered for when the kustomization names none.
    chart_namespace: String,
}

/// What has been gathered: resources, how to treat them, and the variables to fill in.
struct Gathered {
    resources: Resources,
    config: Option<Arc<Config>>,
    variables: Variables,
}

impl Gathered {
    fn new() -> Self {
        Gathered { resources: Resources::default(), config: None, variables: Variables::new() }
    }

    fn merge_config(&mut self, other: &Arc<Config>) -> Result<(), String> {
        self.config = Some(match self.config.take() {
            None => other.clone(),
            Some(own) => config::merge(own, other)?,
        });
        Ok(())
    }

    fn config(&self) -> Arc<Config> {
        self.config.clone().unwrap_or_else(|| config::DEFAULT.clone())
    }
}

fn load<'a>(mut root: Root<'a>, chain: &[String]) -> Result<Target<'a>, Error> {
    let mut found = Vec::new();
    for name in FILE_NAMES {
        match root.load(name) {
            Ok((file, content)) => found.push((name, file, content)),
            Err(LoadError::NoFile(_)) => {}
            Err(LoadError::Refused(message)) => return Err(Error::whole(&root.directory, message)),
        }
    }
    let shown = if root.directory.is_empty() { "." } else { &root.directory };
    if found.len() > 1 {
        return Err(Error::whole(shown, "several kustomization files in one directory; keep one"));
    }
    let Some((file_name, file, content)) = found.pop() else {
        let message = format!("no kustomization file here; expected one of {}", FILE_NAMES.join(", "));
        return Err(Error::whole(shown, message));
    };
    let text = String::from_utf8(content).map_err(|_| Error::whole(&file, "the file is not UTF-8 text"))?;
    let session = root.session;
    let start = Mark { file: session.file_id(&file, &text), line: 1, column: 1 };
    let parsed = coracle_yaml::parse_first(&text, start, Repeated::LastWins);
    let node = parsed.map_err(|error| session.at(error.mark, format!("this is not YAML: {}", error.message)))?;
    let node = node.unwrap_or_else(Node::null);
    let kustomization = if node.is_null() { Err(None) } else { read::read(&node).map_err(Some) };
    let kustomization = match kustomization {
        Ok(_) if read::is_empty(&node) => return Err(Error::whole(&file, "the kustomization is empty")),
        Ok(kustomization) => kustomization,
        Err(None) => return Err(Error::whole(&file, "the kustomization is empty")),
        Err(Some(error)) => return Err(session.error(error.into())),
    };
    session.warnings.borrow_mut().extend(kustomization.warnings.iter().cloned());
    root.file = file;
    Ok(Target { root, kustomization, file_name, chain: chain.to_vec(), chart_namespace: String::new() })
}

struct Build<'a> {
    session: &'a Session<'a>,
    types: Types,
    types_are_set: bool,
    /// The outermost kustomization's, which holds for all.
    build_metadata: Vec<String>,
}

impl<'a> Build<'a> {
    fn error(&self, trouble: Trouble) -> Error {
        self.session.error(trouble)
    }

    fn around(&self) -> Around<'_> {
        Around { session: self.session, types: &self.types }
    }

    /// The outermost kustomization's types hold; else the first that are found on the way in.
    fn set_types(&mut self, target: &Target<'a>, is_outermost: bool) -> Result<(), Error> {
        let kustomization = &target.kustomization;
        let document = match &kustomization.open_api_path {
            Some(path) => Some((path.mark, crate::patchfiles::document(&target.root, path)?)),
            None => None,
        };
        if self.types_are_set && !is_outermost {
            return Ok(());
        }
        match (document, &kustomization.open_api_version) {
            (Some((mark, _)), Some(_)) => {
                Err(self.session.at(mark, "openapi has either a path or a version, not both"))
            }
            (Some((_, document)), None) => {
                self.types = Types::Custom(CustomTypes::read(&document).into());
                self.types_are_set = true;
                Ok(())
            }
            (None, Some(version)) if version.value.is_empty() => Ok(()),
            (None, Some(version)) if TYPES_VERSIONS.contains(&version.value.as_str()) => {
                self.types_are_set = true;
                Ok(())
            }
            (None, Some(version)) => {
                let message = format!("openapi.version: expected {}, found {:?}", TYPES_VERSIONS[0], version.value);
                Err(self.session.at(version.mark, message))
            }
            (None, None) => Ok(()),
        }
    }

    fn all(&mut self, target: &Target<'a>) -> Result<Vec<Node>, Error> {
        let target_origin = (!self.build_metadata.is_empty()).then(Origin::default);
        let mut gathered = Gathered::new();
        self.gather(target, target_origin.as_ref(), &mut gathered)?;
        let mut resources = std::mem::take(&mut gathered.resources);
        let config = gathered.config();
        transform::add_hashes(&mut resources);
        nameref::fix(&mut resources, &config).map_err(|trouble| self.error(trouble))?;
        let unused = vars::fill(&gathered.variables, &mut resources, &config);
        let unused = unused.map_err(|trouble| self.error(trouble))?;
        if !unused.is_empty() {
            let warning = format!("well-defined vars that were never replaced: {}", unused.join(","));
            self.session.warnings.borrow_mut().push(warning);
        }
        self.drop_local(&mut resources)?;
        self.sort(target, &mut resources)?;
        self.finish(&mut resources)?;
        Ok(resources.list.into_iter().map(|resource| resource.node).collect())
    }

    fn drop_local(&self, resources: &mut Resources) -> Result<(), Error> {
        resources.drop_empty();
        for resource in &resources.list {
            documents::check(&resource.node).map_err(|trouble| self.error(trouble))?;
        }
        resources.list.retain(|resource| resource.annotation(LOCAL_CONFIG).is_none_or(|value| value == "false"));
        Ok(())
    }

    fn sort(&self, target: &Target<'_>, resources: &mut Resources) -> Result<(), Error> {
        let Some(sort) = &target.kustomization.sort else {
            if self.session.options.order == Order::Legacy {
                order::sort(&mut resources.list, &Kinds::default());
            }
            return Ok(());
        };
        let error = |message: String| Err(self.session.at(sort.mark, message));
        match (sort.order.as_str(), &sort.kinds) {
            ("fifo", None) => Ok(()),
            ("fifo", Some(_)) => error("sortOptions: legacySortOptions go with order: legacy, not fifo".to_owned()),
            ("legacy", kinds) => {
                let default = Kinds::default();
                order::sort(&mut resources.list, kinds.as_ref().unwrap_or(&default));
                Ok(())
            }
            (other, _) => error(format!("sortOptions.order: expected fifo or legacy, found {other:?}")),
        }
    }

    /// Marks what is to be marked and takes away what was only for the build.
    fn finish(&self, resources: &mut Resources) -> Result<(), Error> {
        let wants = |option: &str| self.build_metadata.iter().any(|known| known == option);
        if self.session.options.managed_by_label || wants("managedByLabel") {
            let mut label = transform::Transformer::Labels {
                labels: vec![(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())],
                fields: vec![crate::fieldspec::FieldSpec::of_all("metadata/labels", true)],
            };
            label.apply(self.around(), resources)?;
        }
        let (origins, transformations) = (wants("originAnnotations"), wants("transformerAnnotations"));
        for resource in &mut resources.list {
            crate::folded::rewrite(&mut resource.node);
            resource.remove_build_annotations();
            if !origins {
                origin::remove(resource, origin::ORIGIN);
            }
            if !transformations {
                origin::remove(resource, origin::TRANSFORMATIONS);
            }
            if let Some((mark, key)) = documents::bare_key(&resource.node) {
                let mark = if mark.line == 0 { resource.mark() } else { mark };
                return Err(self.session.at(mark, format!("the key {key} is no string; put it in quotes")));
            }
        }
        Ok(())
    }

    fn gather(&mut self, target: &Target<'a>, origin: Option<&Origin>, gathered: &mut Gathered) -> Result<(), Error> {
        self.gather_in(target, origin, gathered).map_err(|mut error| {
            for error in std::iter::once(&mut error.others).flatten() {
                note_chain(error, &target.chain);
            }
            note_chain(&mut error, &target.chain);
            error
        })
    }

    fn gather_in(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let kustomization = &target.kustomization;
        self.resources(target, origin, &kustomization.resources, gathered)?;
        self.configure(target, gathered)?;
        let generators = self.generators(target, origin)?;
        for generator in generators {
            for mut resource in generate::run(&target.root, &generator.source)? {
                if let Some(origin) = &generator.origin
                    && resource.annotation(origin::ORIGIN).is_none()
                {
                    origin::set(&mut resource, origin::ORIGIN, origin.to_yaml());
                }
                gathered.resources.absorb(resource).map_err(|trouble| self.error(trouble))?;
            }
        }
        for name in &kustomization.components {
            self.component(target, origin, name, gathered)?;
        }
        let mut steps = steps::built_in(target, origin, &gathered.config())?;
        steps.extend(self.transformers(target, origin, &kustomization.transformers)?);
        transform::run(self.around(), &mut steps, &mut gathered.resources)?;
        self.validate(target, origin, gathered)?;
        vars::add(&mut gathered.variables, &kustomization.variables, &mut gathered.resources)
            .map_err(|trouble| self.error(trouble))
    }

    fn configure(&self, target: &Target<'a>, gathered: &mut Gathered) -> Result<(), Error> {
        let failed = |mark: Mark, message: String| self.session.at(mark, message);
        let mut own = config::DEFAULT.clone();
        for file in &target.kustomization.configurations {
            let node = crate::patchfiles::document(&target.root, file)?;
            let read = config::from_file(&node).map_err(|error| self.error(error.into()))?;
            own = config::merge(own, &Arc::new(read)).map_err(|message| failed(file.mark, message))?;
        }
        let mark = target.kustomization.mark;
        gathered.merge_config(&own).map_err(|message| failed(mark, message))?;
        for file in &target.kustomization.crds {
            let node = crate::patchfiles::document(&target.root, file)?;
            let read = config::from_crds(&node).map_err(|message| failed(file.mark, message))?;
            gathered.merge_config(&Arc::new(read)).map_err(|message| failed(file.mark, message))?;
        }
        Ok(())
    }

    fn generators(&mut self, target: &Target<'a>, origin: Option<&Origin>) -> Result<Vec<generate::Step>, Error> {
        let mut all = steps::generators(target, origin);
        for plugin in self.plugins(target, origin, &target.kustomization.generators)? {
            let source = crate::plugins::generator_of(&target.root, &plugin)?;
            all.push(generate::Step { source, origin: Origin::of_plugin(&plugin) });
        }
        Ok(all)
    }

    fn transformers(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        entries: &[Text],
    ) -> Result<Vec<transform::Step>, Error> {
        let mut steps = Vec::new();
        for plugin in self.plugins(target, origin, entries)? {
            let transformer = crate::plugins::transformer_of(&target.root, &plugin)?;
            steps.push(transform::Step { transformer, origin: Origin::of_plugin(&plugin) });
        }
        Ok(steps)
    }

    /// The objects that describe plugins: written in place, in files, or made by a kustomization of their own.
    fn plugins(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        entries: &[Text],
    ) -> Result<Vec<Resource>, Error> {
        let mut gathered = Gathered::new();
        let mut paths = Vec::new();
        for entry in entries {
            let place = Place { file: &target.root.file, line_before: entry.mark.line.saturating_sub(1) };
            let Ok(mut written) = documents::resources(self.session, &entry.value, place) else {
                paths.push(entry.clone());
                continue;
            };
            if let Some(origin) = origin {
                let origin = origin.append(target.file_name).to_yaml();
                written.iter_mut().for_each(|plugin| origin::set(plugin, origin::ORIGIN, origin.clone()));
            }
            gathered.resources.append_all(written).map_err(|trouble| self.error(trouble))?;
        }
        self.resources(target, origin, &paths, &mut gathered)?;
        Ok(gathered.resources.list)
    }

    /// Validators look at the resources, and may leave a label, but change nothing.
    fn validate(&mut self, target: &Target<'a>, origin: Option<&Origin>, gathered: &mut Gathered) -> Result<(), Error> {
        for mut step in self.transformers(target, origin, &target.kustomization.validators)? {
            let before: Vec<_> = gathered.resources.list.iter().map(without_validated_label).collect();
            step.transformer.apply(self.around(), &mut gathered.resources)?;
            let after: Vec<_> = gathered.resources.list.iter().map(without_validated_label).collect();
            if before != after {
                let mark = target.kustomization.validators.first().map_or(Mark::default(), |entry| entry.mark);
                return Err(self.session.at(mark, "a validator has changed the resources, which is not its business"));
            }
        }
        Ok(())
    }

    /// Adds what the entries name. All that can be said about them is said at once.
    fn resources(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        entries: &[Text],
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let mut errors = Vec::new();
        for entry in entries {
            if let Err(error) = self.resource(target, origin, entry, gathered) {
                errors.push(error);
            }
        }
        Error::all(errors)
    }

    fn resource(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        name: &Text,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let no_file = match target.root.load(&name.value) {
            Ok((file, content)) => return self.file(origin, name, &file, content, gathered),
            Err(error) => error,
        };
        let root = match (target.root.enter(&name.value), no_file) {
            (Ok(root), _) => root,
            (Err(_), LoadError::Refused(message)) => return Err(self.session.at(name.mark, message)),
            (Err(_), LoadError::NoFile(message)) if gitref::is_url(&name.value) && !self.may_be_repository(name) => {
                return Err(self.session.at(name.mark, message));
            }
            (Err(message), LoadError::NoFile(_)) => return Err(self.session.at(name.mark, message)),
        };
        let inner = self.enter(target, root)?;
        if inner.kustomization.is_component {
            let message = format!("{:?} is a component; list it under components", name.value);
            return Err(self.session.at(name.mark, message));
        }
        let origin = origin.map(|origin| origin.append(&name.value));
        let mut more = Gathered::new();
        self.gather(&inner, origin.as_ref(), &mut more)?;
        self.merge_in(gathered, more, name)
    }

    /// Whether a URL was tried as a repository, so that what came of that is worth telling.
    fn may_be_repository(&self, url: &Text) -> bool {
        self.session.options.remote.is_some() && GitReference::parse(&url.value).is_some()
    }

    fn file(
        &self,
        origin: Option<&Origin>,
        name: &Text,
        file: &str,
        content: Vec<u8>,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let text = String::from_utf8(content)
            .map_err(|_| self.session.at(name.mark, format!("the file {file:?} is not UTF-8 text")))?;
        let mut resources = documents::resources(self.session, &text, Place { file, line_before: 0 })?;
        if let Some(origin) = origin {
            let origin = origin.append(&name.value).to_yaml();
            resources.iter_mut().for_each(|resource| resource.annotate(origin::ORIGIN, &origin));
        }
        gathered.resources.append_all(resources).map_err(|trouble| self.error(trouble))
    }

    fn merge_in(&self, gathered: &mut Gathered, more: Gathered, name: &Text) -> Result<(), Error> {
        let Gathered { resources, config, variables } = more;
        gathered.resources.append_all(resources.list).map_err(|trouble| self.error(trouble))?;
        if let Some(config) = config {
            gathered.merge_config(&config).map_err(|message| self.session.at(name.mark, message))?;
        }
        vars::merge(&mut gathered.variables, variables.into_values()).map_err(|trouble| self.error(trouble))
    }

    fn component(
        &mut self,
        target: &Target<'a>,
        origin: Option<&Origin>,
        name: &Text,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let root = target.root.enter(&name.value).map_err(|message| self.session.at(name.mark, message))?;
        let inner = self.enter(target, root)?;
        if !inner.kustomization.is_component {
            let message = format!("{:?} is not of kind Component; list it under resources", name.value);
            return Err(self.session.at(name.mark, message));
        }
        let origin = origin.map(|origin| origin.append(&name.value));
        self.gather(&inner, origin.as_ref(), gathered)
    }

    /// Reads another kustomization from within this one.
    fn enter(&mut self, target: &Target<'a>, root: Root<'a>) -> Result<Target<'a>, Error> {
        let mut chain = target.chain.clone();
        chain.push(target.root.file.clone());
        let mut inner = load(root, &chain).map_err(|mut error| {
            note_chain(&mut error, &chain);
            error
        })?;
        let own = &target.kustomization.namespace;
        inner.chart_namespace = if own.is_empty() { target.chart_namespace.clone() } else { own.clone() };
        self.set_types(&inner, false)?;
        Ok(inner)
    }
}

impl Target<'_> {
    /// The namespace charts are rendered for: the kustomization's own, or one further out.
    pub fn chart_namespace(&self) -> &str {
        let own = &self.kustomization.namespace;
        if own.is_empty() { &self.chart_namespace } else { own }
    }
}

fn note_chain(error: &mut Error, chain: &[String]) {
    if error.chain.is_empty() {
        error.chain = chain.to_vec();
    }
}

fn without_validated_label(resource: &Resource) -> serde_json::Value {
    let mut copy = resource.clone();
    let mut labels = copy.metadata_map("labels");
    labels.retain(|(key, _)| key != "validated-by");
    copy.set_metadata_map("labels", labels);
    copy.node.to_json()
}
