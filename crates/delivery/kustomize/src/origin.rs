//! `buildMetadata`: annotations that say which file an object came from, and what changed it.

use serde_json::{Map, Value};

use crate::gitref::GitReference;
use crate::resource::Resource;

pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// Where something came from. Empty parts are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub path: String,
    pub repository: String,
    pub reference: String,
    pub configured_in: String,
    pub configured_by: ConfiguredBy,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ConfiguredBy {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

impl Origin {
    /// The origin of what is found at `path`, seen from here: a path, or a repository.
    pub fn append(&self, path: &str) -> Origin {
        let mut origin = self.clone();
        match GitReference::parse(path) {
            Some(reference) => {
                origin.repository = reference.clone_url();
                origin.reference = reference.reference.clone();
                origin.path = clean(&reference.path);
            }
            None => origin.path = clean(&format!("{}/{path}", origin.path)),
        }
        origin
    }

    /// The origin of what a built-in plugin of the kustomization `file` made or changed.
    pub fn of_builtin(&self, file: &str, kind: &str) -> Origin {
        Origin {
            repository: self.repository.clone(),
            reference: self.reference.clone(),
            configured_in: clean(&format!("{}/{file}", self.path)),
            configured_by: ConfiguredBy { api_version: "builtin".into(), kind: kind.into(), ..Default::default() },
            path: String::new(),
        }
    }

    /// The origin of what the plugin described by an object made or changed.
    pub fn of_plugin(plugin: &Resource) -> Option<Origin> {
        let own = Origin::parse(plugin.annotation(ORIGIN)?);
        Some(Origin {
            repository: own.repository,
            reference: own.reference,
            configured_in: own.path,
            configured_by: ConfiguredBy {
                api_version: plugin.api_version().to_owned(),
                kind: plugin.kind().to_owned(),
                name: plugin.name().to_owned(),
                namespace: plugin.namespace().to_owned(),
            },
            path: String::new(),
        })
    }

    fn parse(text: &str) -> Origin {
        let node = coracle_yaml::parse_one(text, coracle_yaml::FileId::default());
        let node = node.unwrap_or_else(|_| coracle_yaml::Node::null());
        let text = |path: &[&str]| node.at_path(path).map(crate::scalars::value_text).unwrap_or_default().to_owned();
        Origin {
            path: text(&["path"]),
            repository: text(&["repo"]),
            reference: text(&["ref"]),
            configured_in: text(&["configuredIn"]),
            configured_by: ConfiguredBy {
                api_version: text(&["configuredBy", "apiVersion"]),
                kind: text(&["configuredBy", "kind"]),
                name: text(&["configuredBy", "name"]),
                namespace: text(&["configuredBy", "namespace"]),
            },
        }
    }

    pub fn to_yaml(&self) -> String {
        let by = &self.configured_by;
        let mut lines = String::new();
        let parts = [
            ("path", &self.path),
            ("repo", &self.repository),
            ("ref", &self.reference),
            ("configuredIn", &self.configured_in),
        ];
        push_lines(&mut lines, "", &parts);
        let parts =
            [("apiVersion", &by.api_version), ("kind", &by.kind), ("name", &by.name), ("namespace", &by.namespace)];
        let mut inner = String::new();
        push_lines(&mut inner, "  ", &parts);
        if !inner.is_empty() {
            lines.push_str("configuredBy:\n");
            lines.push_str(&inner);
        }
        if lines.is_empty() { "{}\n".to_owned() } else { lines }
    }
}

fn push_lines(lines: &mut String, indent: &str, parts: &[(&str, &String)]) {
    for (key, value) in parts.iter().filter(|(_, value)| !value.is_empty()) {
        let mut map = Map::new();
        map.insert((*key).to_owned(), Value::String((*value).clone()));
        lines.push_str(indent);
        lines.push_str(&coracle_yaml::emit(&Value::Object(map)));
    }
}

/// A path with `.` and `..` worked out as far as they can be.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

/// Notes that a transformer has been at work; an object nobody knows the origin of is taken to come from it.
pub(crate) fn add_transformation(resource: &mut Resource, origin: &Origin) {
    if resource.annotation(ORIGIN).is_none() {
        set(resource, ORIGIN, origin.to_yaml());
        return;
    }
    let mut text = resource.annotation(TRANSFORMATIONS).unwrap_or_default().to_owned();
    for (index, line) in origin.to_yaml().lines().enumerate() {
        text.push_str(if index == 0 { "- " } else { "  " });
        text.push_str(line);
        text.push('\n');
    }
    set(resource, TRANSFORMATIONS, text);
}

/// Sets an annotation; all others become strings on the way.
pub(crate) fn set(resource: &mut Resource, name: &str, value: String) {
    let mut annotations = resource.metadata_map("annotations");
    annotations.retain(|(key, _)| key != name);
    annotations.push((name.to_owned(), value));
    resource.set_metadata_map("annotations", annotations);
}

pub(crate) fn remove(resource: &mut Resource, name: &str) {
    let mut annotations = resource.metadata_map("annotations");
    annotations.retain(|(key, _)| key != name);
    resource.set_metadata_map("annotations", annotations);
}
