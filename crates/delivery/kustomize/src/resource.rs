//! A resource on its way through the layers: its tree, and what it was called before.

use coracle_yaml::{Mark, Node, Value};

/// Kinds that are known to live outside namespaces, by API version; anything else is taken to be namespaced.
const CLUSTER_SCOPED: [(&str, &[&str]); 12] = [
    (
        "admissionregistration.k8s.io/v1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"]),
    ("apiextensions.k8s.io/v1beta1", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io/v1", &["APIService"]),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"]),
    ("flowcontrol.apiserver.k8s.io/v1", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io/v1", &["IngressClass"]),
    ("node.k8s.io/v1", &["RuntimeClass"]),
    ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding"]),
    ("scheduling.k8s.io/v1", &["PriorityClass"]),
    ("storage.k8s.io/v1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
    ("v1", &["ComponentStatus", "Namespace", "Node", "PersistentVolume"]),
];

/// Group, version and kind; as a selector, an empty part fits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Gvk {
    pub fn of(node: &Node) -> Self {
        let api_version = node.get("apiVersion").and_then(Node::as_text).unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = node.get("kind").and_then(Node::as_text).unwrap_or_default();
        Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn is_cluster_scoped(&self) -> bool {
        let api_version = self.api_version();
        CLUSTER_SCOPED.iter().any(|(version, kinds)| *version == api_version && kinds.contains(&self.kind.as_str()))
    }

    pub fn is_selected_by(&self, group: &str, version: &str, kind: &str) -> bool {
        let fits = |wanted: &str, have: &str| wanted.is_empty() || wanted == have;
        fits(group, &self.group) && fits(version, &self.version) && fits(kind, &self.kind)
    }
}

/// What names a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id {
    pub gvk: Gvk,
    pub name: String,
    pub namespace: String,
}

impl Id {
    /// The namespace for comparing: the default one when none is given, nothing for kinds outside namespaces.
    pub fn effective_namespace(&self) -> &str {
        match self.namespace.as_str() {
            _ if self.gvk.is_cluster_scoped() => "",
            "" => "default",
            namespace => namespace,
        }
    }

    pub fn same_as(&self, other: &Id) -> bool {
        self.gvk == other.gvk && self.name == other.name && self.effective_namespace() == other.effective_namespace()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.gvk.kind, self.name)?;
        if !self.namespace.is_empty() {
            write!(f, " in namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

/// How a generator's result meets a resource of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub node: Node,
    /// What it was called in earlier layers, oldest first.
    pub previous: Vec<Id>,
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    pub behavior: Behavior,
    pub needs_hash: bool,
}

impl Resource {
    pub fn new(node: Node) -> Self {
        Resource {
            node,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::Create,
            needs_hash: false,
        }
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::of(&self.node)
    }

    pub fn mark(&self) -> Mark {
        self.node.mark
    }

    pub fn name(&self) -> &str {
        self.node.at_path(&["metadata", "name"]).and_then(Node::as_text).unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.node.at_path(&["metadata", "namespace"]).and_then(Node::as_text).unwrap_or_default()
    }

    pub fn id(&self) -> Id {
        Id { gvk: self.gvk(), name: self.name().to_owned(), namespace: self.namespace().to_owned() }
    }

    pub fn original_id(&self) -> Id {
        self.previous.first().cloned().unwrap_or_else(|| self.id())
    }

    pub fn any_id(&self, fits: impl Fn(&Id) -> bool) -> bool {
        self.previous.iter().any(&fits) || fits(&self.id())
    }

    /// Remembers the present name before it changes.
    pub fn store_previous(&mut self) {
        let mut id = self.id();
        id.namespace = id.effective_namespace().to_owned();
        self.previous.push(id);
    }

    fn metadata(&mut self) -> Option<&mut coracle_yaml::Mapping> {
        self.node.as_mapping_mut()?.get_or_insert_with("metadata", Node::mapping).as_mapping_mut()
    }

    pub fn set_name(&mut self, name: &str) {
        self.set_metadata("name", name);
    }

    /// Sets the namespace, or takes it away when it is empty.
    pub fn set_namespace(&mut self, namespace: &str) {
        self.set_metadata("namespace", namespace);
    }

    fn set_metadata(&mut self, key: &str, text: &str) {
        let Some(metadata) = self.metadata() else { return };
        if text.is_empty() {
            metadata.remove(key);
        } else {
            let mark = metadata.get(key).map(|node| node.mark).unwrap_or_default();
            metadata.insert(key, Node::string(text).at(mark));
        }
    }

    /// A metadata map of strings (`labels`, `annotations`).
    pub fn metadata_map(&self, field: &str) -> Vec<(String, String)> {
        let Some(mapping) = self.node.at_path(&["metadata", field]).and_then(Node::as_mapping) else {
            return Vec::new();
        };
        mapping
            .iter()
            .map(|entry| (entry.key.to_string(), entry.value.as_text().unwrap_or_default().to_owned()))
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        match &self.node.value {
            Value::Mapping(mapping) => mapping.is_empty(),
            _ => true,
        }
    }
}
