//! Types from an OpenAPI document: `openapi.path` in a kustomization.

use std::collections::HashMap;

use coracle_yaml::Node;

use crate::scalars::text;

/// Definitions nest less deep than this.
const DEPTH_LIMIT: usize = 100;

/// All definitions of a document, each node a number.
#[derive(Debug, Default)]
pub(crate) struct CustomTypes {
    nodes: Vec<Definition>,
    definitions: HashMap<String, usize>,
    objects: HashMap<(String, String), usize>,
}

#[derive(Debug, Default)]
struct Definition {
    reference: Option<String>,
    properties: HashMap<String, usize>,
    additional: Option<usize>,
    items: Option<usize>,
    merges: bool,
    keys: Vec<String>,
}

impl CustomTypes {
    pub fn read(document: &Node) -> CustomTypes {
        let mut types = CustomTypes::default();
        let definitions = document.get("definitions").and_then(Node::as_mapping);
        for entry in definitions.into_iter().flat_map(coracle_yaml::Mapping::iter) {
            let at = types.add(&entry.value, 0);
            types.definitions.insert(entry.key.to_string(), at);
            let kinds = entry.value.get("x-kubernetes-group-version-kind").and_then(Node::as_sequence);
            for kind in kinds.unwrap_or_default() {
                let part = |name: &str| kind.get(name).map(text).unwrap_or_default().to_owned();
                let (group, version) = (part("group"), part("version"));
                let api_version = if group.is_empty() { version } else { format!("{group}/{version}") };
                types.objects.insert((api_version, part("kind")), at);
            }
        }
        types
    }

    fn add(&mut self, node: &Node, depth: usize) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Definition::default());
        if depth > DEPTH_LIMIT {
            return at;
        }
        let mut definition = Definition {
            reference: node.get("$ref").map(|reference| text(reference).to_owned()),
            merges: node
                .get("x-kubernetes-patch-strategy")
                .is_some_and(|strategy| text(strategy).split(',').any(|word| word == "merge")),
            ..Definition::default()
        };
        let properties = node.get("properties").and_then(Node::as_mapping);
        for entry in properties.into_iter().flat_map(coracle_yaml::Mapping::iter) {
            let child = self.add(&entry.value, depth + 1);
            definition.properties.insert(entry.key.to_string(), child);
        }
        let nested = |key: &str| node.get(key).filter(|node| node.as_mapping().is_some());
        definition.additional = nested("additionalProperties").map(|node| self.add(node, depth + 1));
        let is_array = node.get("type").map(text) == Some("array");
        definition.items = nested("items").filter(|_| is_array).map(|node| self.add(node, depth + 1));
        let listed = node.get("x-kubernetes-list-map-keys").and_then(Node::as_sequence);
        definition.keys = match (listed, node.get("x-kubernetes-patch-merge-key")) {
            (Some(keys), _) => keys.iter().map(|key| text(key).to_owned()).collect(),
            (None, Some(key)) => vec![text(key).to_owned()],
            (None, None) => Vec::new(),
        };
        self.nodes[at] = definition;
        at
    }

    pub fn object(&self, api_version: &str, kind: &str) -> Option<usize> {
        self.objects.get(&(api_version.to_owned(), kind.to_owned())).copied()
    }

    /// The definition behind references to others.
    fn resolved(&self, mut at: usize) -> Option<usize> {
        for _ in 0..DEPTH_LIMIT {
            let Some(reference) = self.nodes[at].reference.as_deref() else { return Some(at) };
            at = *self.definitions.get(reference.strip_prefix("#/definitions/")?)?;
        }
        None
    }

    pub fn field(&self, at: usize, name: &str) -> Option<usize> {
        let definition = &self.nodes[at];
        self.resolved(definition.properties.get(name).copied().or(definition.additional)?)
    }

    pub fn elements(&self, at: usize) -> Option<usize> {
        self.resolved(self.nodes[at].items?)
    }

    pub fn merge_keys(&self, at: usize) -> Option<Vec<String>> {
        let definition = &self.nodes[at];
        definition.merges.then(|| definition.keys.clone())
    }
}
