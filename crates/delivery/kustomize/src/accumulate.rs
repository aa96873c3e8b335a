//! The walk over kustomizations: what each one gathers, in which order it works on it.

use std::cell::RefCell;

use coracle_yaml::decode::{DecodeError, Located};
use coracle_yaml::{FileId, Mark, Node, ParseError};

use crate::error::Error;
use crate::files::{Files, join};
use crate::generators;
use crate::kustomization::{self, Generator, Kustomization};
use crate::order::{self, Order};
use crate::resource::{Behavior, Resource};
use crate::{Documents, FILE_NAMES, hash, references, transform};

/// Kustomizations that include each other deeper than this are taken for a circle.
const DEPTH_LIMIT: usize = 64;
/// More documents than this come out of no honest tree.
const RESOURCES_LIMIT: usize = 50_000;

/// Objects with this annotation are for tools only and are left out.
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";

pub(crate) fn build(files: &dyn Files, path: &str, order: Order) -> Result<Documents, Error> {
    let context = Context { files, names: RefCell::default() };
    let root = join("", path).ok_or_else(|| Error::whole(path, "the path leads outside the tree"))?;
    let target = context.load(&root, &[])?;
    let mut resources = Vec::new();
    context.accumulate(&target, &mut resources, &[])?;
    for resource in &mut resources {
        if resource.needs_hash {
            let name = format!("{}-{}", resource.name(), hash::suffix(&resource.node));
            resource.store_previous();
            resource.set_name(&name);
        }
    }
    references::fix(&mut resources).map_err(|error| context.at(error.mark, error.message))?;
    resources.retain(|resource| {
        let annotations = resource.metadata_map("annotations");
        !annotations.iter().any(|(key, value)| key == LOCAL_CONFIG && value != "false")
    });
    let order = match target.kustomization.sort_order.as_ref() {
        None => order,
        Some(text) if text.value == "fifo" => Order::Fifo,
        Some(text) if text.value == "legacy" => Order::Legacy,
        Some(text) => {
            let message = format!("sortOptions.order: expected fifo or legacy, found {:?}", text.value);
            return Err(context.at(text.mark, message));
        }
    };
    if order == Order::Legacy {
        order::sort(&mut resources);
    }
    Ok(Documents {
        list: resources.into_iter().map(|resource| resource.node).collect(),
        files: context.names.into_inner(),
        warnings: target.kustomization.warnings,
    })
}

/// A kustomization that has been read.
struct Target {
    directory: String,
    file: String,
    kustomization: Kustomization,
}

/// The tree, and the names of the files read so far.
pub(crate) struct Context<'a> {
    files: &'a dyn Files,
    names: RefCell<Vec<String>>,
}

impl Context<'_> {
    pub(crate) fn at(&self, mark: Mark, message: impl Into<String>) -> Error {
        if mark.line == 0 {
            return Error::whole("", message);
        }
        let names = self.names.borrow();
        let name = names.get(mark.file.0 as usize).map_or("", String::as_str);
        Error::at(name, mark, message)
    }

    fn decode_error(&self, error: DecodeError) -> Error {
        self.at(error.mark, error.message)
    }

    fn file_id(&self, name: &str) -> FileId {
        let mut names = self.names.borrow_mut();
        let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        FileId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.files.read(path) else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| Error::whole(path, "the file is not UTF-8 text"))
    }

    /// The documents of a text that stands in the file `name`.
    pub(crate) fn documents(&self, text: &str, name: &str) -> Result<Vec<Node>, Error> {
        let parsed = coracle_yaml::parse(text, self.file_id(name));
        let mut documents =
            parsed.map_err(|ParseError { mark, message }| self.at(mark, format!("this is not YAML: {message}")))?;
        documents.retain(|document| !document.is_null());
        Ok(documents)
    }

    /// Reads a file named in a kustomization of `directory`; the error points at the name.
    pub(crate) fn named_file(&self, directory: &str, name: &Located<String>) -> Result<(String, String), Error> {
        let path = join(directory, &name.value)
            .ok_or_else(|| self.at(name.mark, format!("{:?} leads outside the repository", name.value)))?;
        match self.text(&path)? {
            Some(text) => Ok((path, text)),
            None => Err(self.at(name.mark, format!("the file {path:?} is not there"))),
        }
    }

    fn load(&self, directory: &str, chain: &[String]) -> Result<Target, Error> {
        if chain.len() > DEPTH_LIMIT {
            return Err(Error::whole(directory, format!("included more than {DEPTH_LIMIT} levels deep")));
        }
        let mut found = Vec::new();
        for name in FILE_NAMES {
            let path = join(directory, name).expect("a file name does not climb");
            if let Some(text) = self.text(&path)? {
                found.push((path, text));
            }
        }
        if found.len() > 1 {
            return Err(Error::whole(directory, "several kustomization files in one directory; keep one"));
        }
        let Some((file, text)) = found.pop() else {
            let message = format!("no kustomization file here; expected one of {}", FILE_NAMES.join(", "));
            return Err(Error::whole(directory, message));
        };
        if chain.contains(&file) {
            return Err(Error::whole(&file, "includes itself"));
        }
        let parsed = coracle_yaml::parse_one(&text, self.file_id(&file));
        let node = parsed.map_err(|error| self.at(error.mark, format!("this is not YAML: {}", error.message)))?;
        if node.is_null() || node.as_mapping().is_some_and(coracle_yaml::Mapping::is_empty) {
            return Err(Error::whole(&file, "the kustomization is empty"));
        }
        let kustomization = kustomization::read(&node).map_err(|error| self.decode_error(error))?;
        Ok(Target { directory: directory.to_owned(), file, kustomization })
    }

    fn accumulate(&self, target: &Target, resources: &mut Vec<Resource>, chain: &[String]) -> Result<(), Error> {
        let mut inner = chain.to_vec();
        inner.push(target.file.clone());
        self.accumulate_in(target, resources, &inner).map_err(|mut error| {
            if error.chain.is_empty() {
                error.chain = chain.to_vec();
            }
            error
        })
    }

    fn accumulate_in(&self, target: &Target, resources: &mut Vec<Resource>, chain: &[String]) -> Result<(), Error> {
        let kustomization = &target.kustomization;
        for name in &kustomization.resources {
            self.resource(target, name, resources, chain)?;
        }
        for (generators, is_secret) in [(&kustomization.config_maps, false), (&kustomization.secrets, true)] {
            for generator in generators {
                self.generate(target, generator, is_secret, resources)?;
            }
        }
        for name in &kustomization.components {
            self.component(target, name, resources, chain)?;
        }
        transform::all(self, &target.directory, &target.file, kustomization, resources)
    }

    fn resource(
        &self,
        target: &Target,
        name: &Located<String>,
        resources: &mut Vec<Resource>,
        chain: &[String],
    ) -> Result<(), Error> {
        if name.value.contains("://") || name.value.starts_with("git@") || name.value.starts_with("github.com/") {
            return Err(self.at(name.mark, format!("{:?} is a remote resource; these are not fetched yet", name.value)));
        }
        let path = join(&target.directory, &name.value)
            .ok_or_else(|| self.at(name.mark, format!("{:?} leads outside the repository", name.value)))?;
        if let Some(text) = self.text(&path)? {
            for node in self.documents(&text, &path)? {
                for node in unwrapped_list(node) {
                    self.check_object(&node)?;
                    self.append(resources, Resource::new(node))?;
                }
            }
            return Ok(());
        }
        if !self.files.is_directory(&path) {
            return Err(self.at(name.mark, format!("there is no file or directory {path:?}")));
        }
        let inner = self.load(&path, chain)?;
        if inner.kustomization.is_component {
            return Err(self.at(name.mark, format!("{path:?} is a component; list it under components")));
        }
        let mut accumulated = Vec::new();
        self.accumulate(&inner, &mut accumulated, chain)?;
        accumulated.into_iter().try_for_each(|resource| self.append(resources, resource))
    }

    fn component(
        &self,
        target: &Target,
        name: &Located<String>,
        resources: &mut Vec<Resource>,
        chain: &[String],
    ) -> Result<(), Error> {
        let path = join(&target.directory, &name.value)
            .filter(|path| self.files.is_directory(path))
            .ok_or_else(|| self.at(name.mark, format!("there is no directory {:?} in the repository", name.value)))?;
        let inner = self.load(&path, chain)?;
        if !inner.kustomization.is_component {
            return Err(self.at(name.mark, format!("{path:?} is not of kind Component; list it under resources")));
        }
        self.accumulate(&inner, resources, chain)
    }

    fn check_object(&self, node: &Node) -> Result<(), Error> {
        let text = |path: &[&str]| node.at_path(path).and_then(Node::as_text).unwrap_or_default();
        if node.as_mapping().is_none() {
            return Err(self.at(node.mark, format!("expected a Kubernetes object, found {}", node.describe())));
        }
        if text(&["kind"]).is_empty() {
            return Err(self.at(node.mark, "the object has no kind"));
        }
        let has_name = !text(&["metadata", "name"]).is_empty() || !text(&["metadata", "generateName"]).is_empty();
        if !has_name && !text(&["kind"]).ends_with("List") {
            return Err(self.at(node.mark, format!("the {} has no metadata.name", text(&["kind"]))));
        }
        Ok(())
    }

    fn append(&self, resources: &mut Vec<Resource>, resource: Resource) -> Result<(), Error> {
        let id = resource.id();
        if resources.len() >= RESOURCES_LIMIT {
            return Err(self.at(resource.mark(), format!("more than {RESOURCES_LIMIT} objects")));
        }
        if let Some(known) = resources.iter().find(|known| known.id().same_as(&id)) {
            let (mark, names) = (known.mark(), self.names.borrow());
            let file = names.get(mark.file.0 as usize).map_or("", String::as_str);
            let message = format!("{id} is defined twice; the other one is at {file}:{}", mark.line);
            drop(names);
            return Err(self.at(resource.mark(), message));
        }
        resources.push(resource);
        Ok(())
    }

    fn generate(
        &self,
        target: &Target,
        generator: &Generator,
        is_secret: bool,
        resources: &mut Vec<Resource>,
    ) -> Result<(), Error> {
        let read = |path: &str| self.files.read(&join(&target.directory, path)?);
        let resource =
            generators::generate(generator, is_secret, &read).map_err(|error| self.at(error.mark, error.message))?;
        self.absorb(resources, resource)
    }

    /// Adds a generated resource, or lets it meet the one of its name.
    fn absorb(&self, resources: &mut Vec<Resource>, mut resource: Resource) -> Result<(), Error> {
        let id = resource.id();
        let matches: Vec<usize> =
            (0..resources.len()).filter(|index| resources[*index].any_id(|known| known.same_as(&id))).collect();
        match (matches.as_slice(), resource.behavior) {
            ([], Behavior::Create) => self.append(resources, resource),
            ([], _) => Err(self.at(resource.mark(), format!("{id} does not exist; it cannot be merged or replaced"))),
            ([index], Behavior::Merge | Behavior::Replace) => {
                let old = &resources[*index];
                inherit_metadata(&mut resource, old);
                if resource.behavior == Behavior::Merge {
                    for field in ["data", "binaryData"] {
                        inherit_map(&mut resource.node, &old.node, field);
                    }
                }
                resource.previous = old.previous.clone();
                resource.prefixes = old.prefixes.clone();
                resource.suffixes = old.suffixes.clone();
                resource.behavior = old.behavior;
                resource.needs_hash &= old.needs_hash || resource.needs_hash;
                resources[*index] = resource;
                Ok(())
            }
            ([_], Behavior::Create) => {
                let message = format!("{id} exists already; say behavior: merge or behavior: replace");
                Err(self.at(resource.mark(), message))
            }
            _ => Err(self.at(resource.mark(), format!("several objects could be meant by {id}"))),
        }
    }
}

/// The items of a `List`, or the object itself.
fn unwrapped_list(node: Node) -> Vec<Node> {
    let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|kind| kind.ends_with("List"));
    match node.get("items").and_then(Node::as_sequence) {
        Some(items) if is_list => items.to_vec(),
        _ => vec![node],
    }
}

/// What `old` has under `field` and `node` has not.
fn inherit_map(node: &mut Node, old: &Node, field: &str) {
    let Some(inherited) = old.get(field).and_then(Node::as_mapping) else { return };
    let Some(root) = node.as_mapping_mut() else { return };
    let Some(own) = root.get_or_insert_with(field, Node::mapping).as_mapping_mut() else { return };
    for entry in inherited.iter() {
        if own.get(&entry.key).is_none() {
            own.insert(&entry.key, entry.value.clone());
        }
    }
}

fn inherit_metadata(resource: &mut Resource, old: &Resource) {
    let (name, namespace) = (old.name().to_owned(), old.namespace().to_owned());
    for field in ["labels", "annotations"] {
        let Some(inherited) = old.node.at_path(&["metadata", field]) else { continue };
        let mut wrapper = Node::mapping();
        wrapper.as_mapping_mut().expect("just made as one").insert(field, inherited.clone());
        if let Some(metadata) = resource.node.get_mut("metadata") {
            inherit_map(metadata, &wrapper, field);
        }
    }
    resource.set_name(&name);
    resource.set_namespace(&namespace);
}
