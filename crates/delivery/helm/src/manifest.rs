//! Rendered files to manifests: split into documents, hooks set apart, in the order Helm installs them.

use std::collections::BTreeMap;

use coracle_gotemplate::{Dict, Value};

use crate::{Flavour, YamlError, metadata::scalar_text, values::json_kind};

/// One document of a rendered template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template it came from.
    pub path: String,
    pub content: String,
    pub api_version: String,
    pub kind: String,
}

/// A manifest that is applied at certain moments only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub manifest: Manifest,
    pub name: String,
    /// `pre-install`, `test` and so on.
    pub events: Vec<&'static str>,
    pub weight: i64,
    pub delete_policies: Vec<String>,
}

impl Hook {
    pub fn is_test(&self) -> bool {
        self.events.contains(&"test")
    }
}

/// A rendered file that is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("YAML parse error on {path}: {source}")]
pub struct ManifestError {
    pub path: String,
    pub source: YamlError,
}

const EVENTS: [&str; 10] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
    "test-success",
];

/// The order in which kinds are installed; Helm 3 does not know the last two, which come after all it knows.
const INSTALL_ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
const HELM3_KINDS: usize = 36;

/// Hooks and manifests of the rendered files, each in order.
pub(crate) fn sort(
    files: &BTreeMap<String, String>,
    flavour: Flavour,
) -> Result<(Vec<Hook>, Vec<Manifest>), ManifestError> {
    let mut hooks = Vec::new();
    let mut manifests = Vec::new();
    for (path, text) in files {
        if text.trim().is_empty() {
            continue;
        }
        for document in split(text, flavour) {
            let head = head(document, flavour).map_err(|source| ManifestError { path: path.clone(), source })?;
            let manifest = Manifest {
                path: path.clone(),
                content: document.to_owned(),
                api_version: head.api_version.clone(),
                kind: head.kind.clone(),
            };
            match head.annotations.get("helm.sh/hook") {
                None => manifests.push(manifest),
                Some(events) => hooks.extend(hook(manifest, &head, events)),
            }
        }
    }
    hooks.sort_by(|a, b| rank(&a.manifest.kind, flavour).cmp(&rank(&b.manifest.kind, flavour)));
    manifests.sort_by(|a, b| rank(&a.kind, flavour).cmp(&rank(&b.kind, flavour)));
    Ok((hooks, manifests))
}

/// Known kinds by their place, unknown ones after them by name.
fn rank(kind: &str, flavour: Flavour) -> (usize, &str) {
    let known = match flavour {
        Flavour::Helm4 => &INSTALL_ORDER[..],
        Flavour::Helm3 => &INSTALL_ORDER[..HELM3_KINDS],
    };
    match known.iter().position(|known| *known == kind) {
        Some(place) => (place, ""),
        None => (known.len(), kind),
    }
}

/// The hook, unless one of its events is none that Helm knows.
fn hook(manifest: Manifest, head: &Head, events: &str) -> Option<Hook> {
    let events = events
        .split(',')
        .map(|event| {
            let event = event.trim().to_lowercase();
            let known = EVENTS.iter().find(|known| **known == event).copied()?;
            Some(if known == "test-success" { "test" } else { known })
        })
        .collect::<Option<_>>()?;
    let annotation = |key: &str| head.annotations.get(key);
    let policies = annotation("helm.sh/hook-delete-policy");
    Some(Hook {
        manifest,
        name: head.name.clone(),
        events,
        weight: annotation("helm.sh/hook-weight").and_then(|weight| weight.parse().ok()).unwrap_or(0),
        delete_policies: policies
            .map(|policies| policies.split(',').map(|policy| policy.trim().to_lowercase()).collect())
            .unwrap_or_default(),
    })
}

/// The documents of a text, by the rules of each Helm; these differ in what they trim.
pub fn split(text: &str, flavour: Flavour) -> Vec<&str> {
    match flavour {
        Flavour::Helm4 => split_at_lines(text.trim_start()),
        Flavour::Helm3 => split_trimmed(text.trim()),
    }
}

/// `---` and blanks at the start of any line separate; what follows on the line belongs to the next document.
fn split_at_lines(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut line = 0;
    loop {
        if text[line..].starts_with("---") {
            documents.push(&text[start..line]);
            let rest = &text[line + 3..];
            start = text.len() - rest.trim_start_matches([' ', '\t']).len();
        }
        match text[line..].find('\n') {
            Some(end) => line += end + 1,
            None => break,
        }
    }
    documents.push(&text[start..]);
    documents.into_iter().filter(|document| !document.trim().is_empty()).map(str::trim_start).collect()
}

/// `---` at the start of a line separates, with all the space around it.
fn split_trimmed(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut from = 0;
    if let Some(rest) = text.strip_prefix("---") {
        start = text.len() - rest.trim_start().len();
        from = start;
    }
    while let Some(found) = text[from..].find("\n---") {
        let at = from + found;
        documents.push(&text[start..at]);
        start = text.len() - text[at + 4..].trim_start().len();
        from = start;
    }
    documents.push(&text[start..]);
    documents.into_iter().map(str::trim).filter(|document| !document.is_empty()).collect()
}

/// What sorting needs to know of a manifest.
#[derive(Default)]
struct Head {
    api_version: String,
    kind: String,
    name: String,
    annotations: BTreeMap<String, String>,
}

fn head(document: &str, flavour: Flavour) -> Result<Head, YamlError> {
    let value = coracle_sprig::yaml::read(document).map_err(|error| YamlError::within(document, error))?;
    let dict = match &value {
        Value::Nil => return Ok(Head::default()),
        Value::Dict(dict) => dict,
        other => {
            let package = if flavour == Flavour::Helm4 { "util" } else { "releaseutil" };
            return Err(unfit(other, &format!("Go value of type {package}.SimpleHead")));
        }
    };
    let mut head = Head {
        api_version: text(dict, "apiVersion", "SimpleHead.apiVersion")?,
        kind: text(dict, "kind", "SimpleHead.kind")?,
        ..Head::default()
    };
    match dict.get("metadata") {
        None | Some(Value::Nil) => {}
        Some(Value::Dict(metadata)) => {
            head.name = text(&metadata, "name", "SimpleHead.metadata.name")?;
            head.annotations = annotations(&metadata)?;
        }
        Some(other) => {
            let wanted = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \
                          \"json:\\\"annotations\\\"\" }";
            return Err(unfit(&other, &format!("Go struct field SimpleHead.metadata of type {wanted}")));
        }
    }
    Ok(head)
}

fn annotations(metadata: &Dict) -> Result<BTreeMap<String, String>, YamlError> {
    let place = "Go struct field .metadata.annotations of type";
    match metadata.get("annotations") {
        None | Some(Value::Nil) => Ok(BTreeMap::new()),
        Some(Value::Dict(annotations)) => annotations
            .entries()
            .iter()
            .map(|(key, value)| {
                let text = scalar_text(value).ok_or_else(|| unfit(value, &format!("{place} string")))?;
                Ok((key.to_string(), text))
            })
            .collect(),
        Some(other) => Err(unfit(&other, &format!("{place} map[string]string"))),
    }
}

fn text(dict: &Dict, key: &str, field: &str) -> Result<String, YamlError> {
    match dict.get(key) {
        None => Ok(String::new()),
        Some(value) => {
            scalar_text(&value).ok_or_else(|| unfit(&value, &format!("Go struct field {field} of type string")))
        }
    }
}

fn unfit(value: &Value, place: &str) -> YamlError {
    let kind = json_kind(value);
    YamlError::new(format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into {place}"))
}

#[cfg(test)]
mod tests {
    use super::{rank, split};
    use crate::Flavour::{Helm3, Helm4};

    #[test]
    fn documents_are_split_as_each_helm_does() {
        let text = "\n---\n# a\na: 1\n\n---  \n\n---\nb: 2\n--- # c\nc: |\n  ---\n";
        assert_eq!(split(text, Helm4), ["# a\na: 1\n\n", "b: 2\n", "# c\nc: |\n  ---\n"]);
        assert_eq!(split(text, Helm3), ["# a\na: 1", "---\nb: 2", "# c\nc: |\n  ---"]);
        assert!(split(" \n", Helm4).is_empty());
    }

    #[test]
    fn kinds_are_installed_in_helms_order() {
        let mut kinds = ["Zebra", "Deployment", "Apple", "Namespace", "ValidatingWebhookConfiguration"];
        kinds.sort_by(|a, b| rank(a, Helm4).cmp(&rank(b, Helm4)));
        assert_eq!(kinds, ["Namespace", "Deployment", "ValidatingWebhookConfiguration", "Apple", "Zebra"]);
        kinds.sort_by(|a, b| rank(a, Helm3).cmp(&rank(b, Helm3)));
        assert_eq!(kinds, ["Namespace", "Deployment", "Apple", "ValidatingWebhookConfiguration", "Zebra"]);
    }
}
