//! A resource on its way through the layers: its tree, and what it was called before.

use coracle_yaml::{Mapping, Mark, Node, Value};

use crate::id::{Gvk, Id};
use crate::scalars::{is_nothing, set_field_text, text};

/// Stands among an object's annotations while the build knows more of it than its tree says. The original keeps all it
/// knows there, so that a patch which replaces the annotations makes it forget, and one which adds an annotation finds
/// some to add to; trees in use depend on both.
pub(crate) const MARKER: &str = "internal.config.kubernetes.io/build";
/// Annotations of other tools that the original takes away with its own.
const REMOVED: [&str; 12] = [
    MARKER,
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/previousKinds",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
];

/// How a generator's result meets a resource of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

/// A name a resource had in an earlier layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Previous {
    kind: String,
    name: String,
    namespace: String,
}

/// What the build knows of a resource besides its tree.
#[derive(Debug, Clone, Default)]
struct State {
    previous: Vec<Previous>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    behavior: Behavior,
    needs_hash: bool,
    allow_name_change: bool,
    allow_kind_change: bool,
    from_helm: bool,
}

static UNKNOWN: State = State {
    previous: Vec::new(),
    prefixes: Vec::new(),
    suffixes: Vec::new(),
    behavior: Behavior::Unspecified,
    needs_hash: false,
    allow_name_change: false,
    allow_kind_change: false,
    from_helm: false,
};

#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub node: Node,
    state: State,
    /// The variables that read from this object.
    pub variables: Vec<String>,
}

impl Resource {
    pub fn new(node: Node) -> Self {
        Resource { node, state: State::default(), variables: Vec::new() }
    }

    /// What is known of the resource, with an empty tree.
    pub fn clone_state(&self) -> Self {
        Resource { node: Node::null(), state: self.state.clone(), variables: Vec::new() }
    }

    pub fn mark(&self) -> Mark {
        self.node.mark
    }

    pub fn is_empty(&self) -> bool {
        is_nothing(&self.node)
    }

    pub fn kind(&self) -> &str {
        self.node.get("kind").map(text).unwrap_or_default()
    }

    pub fn api_version(&self) -> &str {
        self.node.get("apiVersion").map(text).unwrap_or_default()
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.api_version(), self.kind())
    }

    fn metadata_text(&self, field: &str) -> &str {
        let value = self.node.at_path(&["metadata", field]).filter(|value| !is_nothing(value));
        value.map(text).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.metadata_text("name")
    }

    pub fn namespace(&self) -> &str {
        self.metadata_text("namespace")
    }

    pub fn id(&self) -> Id {
        Id::new(self.gvk(), self.name(), self.namespace())
    }

    pub fn original_id(&self) -> Id {
        match self.state().previous.first() {
            Some(previous) => self.earlier(previous),
            None => self.id(),
        }
    }

    fn earlier(&self, previous: &Previous) -> Id {
        let mut gvk = Gvk::new(self.api_version(), &previous.kind);
        gvk.kind.clone_from(&previous.kind);
        Id { gvk, name: previous.name.clone(), namespace: previous.namespace.clone(), cluster_scoped: false }
    }

    pub fn previous_ids(&self) -> Vec<Id> {
        self.state().previous.iter().map(|previous| self.earlier(previous)).collect()
    }

    /// All names, earlier ones first.
    pub fn ids(&self) -> Vec<Id> {
        let mut ids = self.previous_ids();
        ids.push(self.id());
        ids
    }

    /// Whether the resource is or was called `name`: cheaper than looking at all of its ids.
    pub fn was_called(&self, name: &str) -> bool {
        self.name() == name || self.state().previous.iter().any(|previous| previous.name == name)
    }

    pub fn set_name(&mut self, name: &str) {
        set_field_text(self.metadata(), "name", name);
    }

    /// Sets the namespace, or takes it away when it is empty.
    pub fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            self.metadata().remove("namespace");
        } else {
            set_field_text(self.metadata(), "namespace", namespace);
        }
    }

    pub fn set_field(&mut self, key: &str, value: &str) {
        if let Some(root) = self.node.as_mapping_mut() {
            set_field_text(root, key, value);
        }
    }

    fn metadata(&mut self) -> &mut Mapping {
        let mark = self.node.mark;
        if self.node.as_mapping().is_none() {
            self.node = Node::mapping().at(mark);
        }
        let root = self.node.as_mapping_mut().expect("made as one just above");
        mapping_at(root, "metadata")
    }

    /// A metadata map of strings (`labels`, `annotations`).
    pub fn metadata_map(&self, field: &str) -> Vec<(String, String)> {
        self.entries(field).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn entries(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let mapping = self.node.at_path(&["metadata", field]).and_then(Node::as_mapping);
        mapping.into_iter().flat_map(Mapping::iter).map(|entry| (&*entry.key, text(&entry.value)))
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.entries("annotations").find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Writes a metadata map anew: all its values are strings from now on, and an empty map is none.
    pub fn set_metadata_map(&mut self, field: &str, mut entries: Vec<(String, String)>) {
        entries.sort();
        let metadata = self.metadata();
        let old = metadata.remove(field);
        if entries.is_empty() {
            return;
        }
        let marks = |key: &str| old.as_ref().and_then(|old| old.get(key)).map(|node| node.mark).unwrap_or_default();
        let mut map = Node::mapping().at(old.as_ref().map(|old| old.mark).unwrap_or_default());
        let mapping = map.as_mapping_mut().expect("just made as one");
        for (key, value) in entries {
            mapping.insert(&key, Node::string(&value).at(marks(&key)));
        }
        metadata.insert(field, map);
    }

    /// Sets one annotation.
    pub fn annotate(&mut self, key: &str, value: &str) {
        let metadata = self.metadata();
        if metadata.get("annotations").is_some_and(is_nothing) {
            metadata.remove("annotations");
        }
        mapping_at(metadata, "annotations").insert(key, Node::string(value));
    }

    /// Takes the build's own annotations away; see [`MARKER`].
    pub fn remove_build_annotations(&mut self) {
        let Some(annotations) = self.node.get_mut("metadata").and_then(|node| node.get_mut("annotations")) else {
            return;
        };
        if let Some(mapping) = annotations.as_mapping_mut() {
            mapping.retain(|entry| !REMOVED.contains(&&*entry.key));
        }
    }

    fn is_marked(&self) -> bool {
        self.node.at_path(&["metadata", "annotations", MARKER]).is_some()
    }

    fn state(&self) -> &State {
        if self.is_marked() { &self.state } else { &UNKNOWN }
    }

    fn state_mut(&mut self) -> &mut State {
        if !self.is_marked() {
            self.state = State::default();
            self.annotate(MARKER, "");
        }
        &mut self.state
    }

    /// Runs `change` on the tree and makes sure that what is known of the object outlives it.
    pub fn keeping_state<T>(&mut self, change: impl FnOnce(&mut Node) -> T) -> T {
        let was_marked = self.is_marked();
        let result = change(&mut self.node);
        let mut annotations = self.metadata_map("annotations");
        if was_marked && !self.is_marked() {
            annotations.push((MARKER.to_owned(), String::new()));
        }
        self.set_metadata_map("annotations", annotations);
        result
    }

    /// Forgets what is known when the tree has lost its annotations, for good.
    pub fn settle_state(&mut self) {
        if !self.is_marked() {
            self.state = State::default();
        }
    }

    /// Remembers the present name before it changes.
    pub fn store_previous(&mut self) {
        let id = self.id();
        let namespace = id.effective_namespace().to_owned();
        self.state_mut().previous.push(Previous { kind: id.gvk.kind, name: id.name, namespace });
    }

    pub fn add_prefix(&mut self, prefix: &str) {
        if !prefix.is_empty() {
            self.state_mut().prefixes.push(prefix.to_owned());
        }
    }

    pub fn add_suffix(&mut self, suffix: &str) {
        if !suffix.is_empty() {
            self.state_mut().suffixes.push(suffix.to_owned());
        }
    }

    pub fn prefixes(&self) -> &[String] {
        &self.state().prefixes
    }

    pub fn suffixes(&self) -> &[String] {
        &self.state().suffixes
    }

    pub fn behavior(&self) -> Behavior {
        self.state().behavior
    }

    pub fn set_behavior(&mut self, behavior: Behavior) {
        self.state_mut().behavior = behavior;
    }

    pub fn needs_hash(&self) -> bool {
        self.state().needs_hash
    }

    pub fn set_needs_hash(&mut self) {
        self.state_mut().needs_hash = true;
    }

    pub fn is_from_helm(&self) -> bool {
        self.state().from_helm
    }

    pub fn set_from_helm(&mut self) {
        self.state_mut().from_helm = true;
    }

    pub fn name_change_allowed(&self) -> bool {
        self.state().allow_name_change
    }

    pub fn kind_change_allowed(&self) -> bool {
        self.state().allow_kind_change
    }

    /// As the original does, allowing a change also turns all annotations of the patch into strings.
    pub fn allow_changes(&mut self, name: bool, kind: bool) {
        if !name && !kind {
            return;
        }
        let annotations = self.metadata_map("annotations");
        self.set_metadata_map("annotations", annotations);
        let state = self.state_mut();
        state.allow_name_change |= name;
        state.allow_kind_change |= kind;
    }

    /// Takes over the name, the namespace, what is known, and the labels and annotations it has not itself, from the
    /// resource it merges with or takes the place of.
    pub fn inherit(&mut self, old: &Resource) {
        let needs_hash = self.needs_hash() && old.needs_hash();
        self.set_metadata_map("labels", merged(old.metadata_map("labels"), self.metadata_map("labels")));
        let (own, inherited) = (self.metadata_map("annotations"), old.metadata_map("annotations"));
        let mut annotations = merged(inherited, own);
        if !old.is_marked() {
            annotations.retain(|(key, _)| key != MARKER);
        }
        self.set_metadata_map("annotations", annotations);
        self.set_name(old.name());
        self.set_namespace(old.namespace());
        self.state = State { needs_hash, ..old.state().clone() };
        self.variables.clone_from(&old.variables);
    }

    /// Whether both went through the same renaming layers; the shorter list has to be the end of the longer.
    pub fn same_affixes(&self, other: &Resource, allow_empty: bool) -> bool {
        let same = |left: &[String], right: &[String]| {
            if left.is_empty() || right.is_empty() {
                return allow_empty || left.len() == right.len();
            }
            let shared = left.len().min(right.len());
            left[left.len() - shared..] == right[right.len() - shared..]
        };
        same(self.prefixes(), other.prefixes()) && same(self.suffixes(), other.suffixes())
    }
}

/// The mapping under `key`, made if there is none.
fn mapping_at<'a>(mapping: &'a mut Mapping, key: &str) -> &'a mut Mapping {
    let node = mapping.get_or_insert_with(key, Node::mapping);
    if node.as_mapping().is_none() {
        node.value = Value::Mapping(Mapping::new());
    }
    node.as_mapping_mut().expect("made as one just above")
}

/// Both maps in one; what `over` has wins.
pub(crate) fn merged(mut under: Vec<(String, String)>, over: Vec<(String, String)>) -> Vec<(String, String)> {
    under.retain(|(key, _)| over.iter().all(|(known, _)| known != key));
    under.extend(over);
    under
}
