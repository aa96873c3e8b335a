//! One object to be deployed, with the place it was written at.

use coracle_yaml::Node;
use serde_json::Value;

/// What names a kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Kind {
    pub fn of(object: &Value) -> Self {
        let api_version = text(object, "/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Kind { group: group.to_owned(), version: version.to_owned(), kind: text(object, "/kind").to_owned() }
    }
}

/// The string at a JSON pointer, or the empty one.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What names an object, whatever version it is written in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub group: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn of(object: &Value) -> Self {
        let Kind { group, kind, .. } = Kind::of(object);
        let namespace = text(object, "/metadata/namespace").to_owned();
        Key { group, kind, namespace, name: text(object, "/metadata/name").to_owned() }
    }

    /// What the tracking annotation of an app's object says.
    pub fn tracking_id(&self, app: &str) -> String {
        format!("{app}:{}/{}:{}/{}", self.group, self.kind, self.namespace, self.name)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

#[derive(Debug, Clone)]
pub struct Manifest {
    pub object: Value,
    /// The object as written, for the places of its fields; a generated one has none.
    written: Option<Written>,
}

#[derive(Debug, Clone)]
struct Written {
    node: Node,
    files: std::sync::Arc<Vec<String>>,
}

impl Manifest {
    pub fn generated(object: Value) -> Self {
        Manifest { object, written: None }
    }

    /// An object read from files; the marks' file numbers index `files`.
    pub fn written(node: Node, files: std::sync::Arc<Vec<String>>) -> Self {
        Manifest { object: node.to_json(), written: Some(Written { node, files }) }
    }

    pub fn kind(&self) -> Kind {
        Kind::of(&self.object)
    }

    pub fn key(&self) -> Key {
        Key::of(&self.object)
    }

    /// Where the field of this path stands: file, line and column.
    pub fn locate(&self, field: &str) -> Option<(String, u32, u32)> {
        let written = self.written.as_ref()?;
        let mark = written.node.locate(field);
        let file = written.files.get(mark.file.0 as usize)?;
        (mark.line > 0).then(|| (file.clone(), mark.line, mark.column))
    }
}
