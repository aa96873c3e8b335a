//! From rendered manifests to what this app wants in the cluster: every object in its namespace, marked as the app's,
//! in the order it is applied, checked against the API before anything is touched.

use serde_json::{Value, json};

use crate::application::{NAMESPACE_OWNER, TRACKING_ID};
use crate::cluster::{Cluster, ClusterError, tracking_app};
use crate::manifest::{Key, Kind, Manifest};
use crate::order;

/// Something wrong with the manifests, with the place where a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Problem {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl Problem {
    fn of(manifest: &Manifest, field: &str, message: String) -> Self {
        let (file, line, column) = manifest.locate(field).unwrap_or_default();
        Problem { file, line, column, message }
    }

    fn text(&self) -> String {
        if self.file.is_empty() {
            self.message.clone()
        } else {
            format!("{}:{}:{}: {}", self.file, self.line, self.column, self.message)
        }
    }
}

/// Sets namespaces and tracking annotations, and puts the objects in order. With `make_namespace` the destination
/// namespace itself is among them, marked as made for the app, unless it was there before.
pub async fn prepare(
    cluster: &Cluster,
    app: &str,
    namespace: &str,
    make_namespace: bool,
    manifests: Vec<Manifest>,
) -> Result<Vec<Manifest>, ClusterError> {
    let custom = kinds_defined_by(&manifests);
    let mut targets = Vec::with_capacity(manifests.len() + 1);
    for mut manifest in manifests {
        let kind = manifest.kind();
        let is_namespaced = match cluster.served(&kind).await {
            Ok(served) => served.is_namespaced,
            // It comes to be with its definition, which is among the objects, or is refused when it is applied.
            Err(ClusterError::UnknownKind { .. }) => custom
                .iter()
                .find(|(defined, _)| *defined == (kind.group.clone(), kind.kind.clone()))
                .is_none_or(|(_, is_namespaced)| *is_namespaced),
            Err(error) => return Err(error),
        };
        let metadata = &mut manifest.object["metadata"];
        if !is_namespaced {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("namespace");
            }
        } else if metadata["namespace"].as_str().is_none_or(str::is_empty) {
            metadata["namespace"] = namespace.into();
        }
        targets.push(manifest);
    }
    let is_there = |manifest: &Manifest| manifest.kind() == namespace_kind() && manifest.key().name == namespace;
    if make_namespace && !targets.iter().any(is_there) && may_make(cluster, app, namespace).await? {
        let annotations = json!({NAMESPACE_OWNER: app});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "annotations": annotations}});
        targets.push(Manifest::generated(object));
    }
    for target in &mut targets {
        let id = target.key().tracking_id(app);
        let annotations = &mut target.object["metadata"]["annotations"];
        if annotations.is_null() {
            *annotations = json!({});
        }
        annotations[TRACKING_ID] = id.into();
    }
    targets.sort_by_cached_key(|target| order::place(&target.object));
    Ok(targets)
}

pub fn namespace_kind() -> Kind {
    Kind { group: String::new(), version: "v1".to_owned(), kind: "Namespace".to_owned() }
}

/// Whether a namespace is the app's to make: one that somebody else made is used, and outlives the app.
async fn may_make(cluster: &Cluster, app: &str, namespace: &str) -> Result<bool, ClusterError> {
    let key = Key {
        group: String::new(),
        kind: "Namespace".to_owned(),
        namespace: String::new(),
        name: namespace.to_owned(),
    };
    let live = cluster.get(&namespace_kind(), &key).await?;
    Ok(live.is_none_or(|live| live["metadata"]["annotations"][NAMESPACE_OWNER].as_str() == Some(app)))
}

/// Group and kind of the definitions among the manifests, and whether their objects are namespaced.
fn kinds_defined_by(manifests: &[Manifest]) -> Vec<((String, String), bool)> {
    let definitions = manifests.iter().filter(|manifest| manifest.kind().kind == "CustomResourceDefinition");
    definitions
        .map(|manifest| {
            let spec = &manifest.object["spec"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            ((text(&spec["group"]), text(&spec["names"]["kind"])), spec["scope"] != "Cluster")
        })
        .collect()
}

/// Asks the API what it thinks of each object, with nothing written. All problems are found at once.
pub async fn check(cluster: &Cluster, app: &str, targets: &[Manifest]) -> Result<Vec<Problem>, ClusterError> {
    let coming = kinds_defined_by(targets);
    let mut problems = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let (kind, key) = (target.kind(), target.key());
        if let Some(first) = targets[..index].iter().find(|other| other.key() == key) {
            let at = first.locate("").map(|(file, line, _)| format!("; the other one is at {file}:{line}"));
            problems.push(Problem::of(target, "", format!("{key} is defined twice{}", at.unwrap_or_default())));
            continue;
        }
        match cluster.dry_run(target).await {
            Ok(_) => {}
            Err(ClusterError::UnknownKind { .. })
                if coming.iter().any(|(known, _)| *known == (kind.group.clone(), kind.kind.clone())) => {}
            Err(error @ ClusterError::UnknownKind { .. }) => {
                problems.push(Problem::of(target, "kind", error.to_string()));
            }
            // Its namespace is made by this very deployment.
            Err(error) if error.is_not_found() => {}
            Err(error @ ClusterError::Refused(_)) => problems.extend(refusal(target, &error)),
            Err(error) => return Err(error),
        }
        let live = match cluster.get(&kind, &key).await {
            Err(ClusterError::UnknownKind { .. }) => None,
            live => live?,
        };
        if let Some(owner) = live.as_ref().and_then(tracking_app).filter(|owner| *owner != app) {
            problems.push(Problem::of(target, "metadata.name", format!("{key} belongs to the application {owner}")));
        }
    }
    Ok(problems)
}

/// What the API said against an object, each thing at its field.
fn refusal(target: &Manifest, error: &ClusterError) -> Vec<Problem> {
    let causes = error.causes();
    if !causes.is_empty() {
        let problem = |(field, message): (String, String)| {
            let text = if field.is_empty() { message } else { format!("{field}: {message}") };
            Problem::of(target, &field, format!("{}: {text}", target.key()))
        };
        return causes.into_iter().map(problem).collect();
    }
    let message = error.to_string();
    let undeclared = undeclared_fields(&message);
    if !undeclared.is_empty() {
        let problem = |field: &str| Problem::of(target, field, format!("{}: unknown field {field:?}", target.key()));
        return undeclared.into_iter().map(problem).collect();
    }
    let fields = quoted_fields(&message);
    let field = fields.first().cloned().unwrap_or_default();
    vec![Problem::of(target, &field, format!("{}: {message}", target.key()))]
}

/// The field paths in what server-side apply says: `failed to create typed patch object (...): .spec.replicass: field not
/// declared in schema`, or several in lines of their own.
fn undeclared_fields(message: &str) -> Vec<&str> {
    let before = message.split(": field not declared in schema").filter(|part| part.len() < message.len());
    before.filter_map(|part| part.rsplit(char::is_whitespace).next()?.strip_prefix('.')).collect()
}

/// The field paths in a message like `unknown field "spec.template.spec.containers[0].imagee"`.
fn quoted_fields(message: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let mut rest = message;
    while let Some(at) = rest.find("field \"") {
        let text = &rest[at + "field \"".len()..];
        let end = text.find('"').unwrap_or(text.len());
        fields.push(text[..end].to_owned());
        rest = &text[end..];
    }
    // Go's JSON errors name the type first: `Go struct field DeploymentSpec.spec.replicas of type int32`.
    if let Some((_, text)) = message.split_once("Go struct field ") {
        let word = text.split(' ').next().unwrap_or_default();
        fields.extend(word.split_once('.').map(|(_, path)| path.to_owned()));
    }
    fields
}

/// The kinds of these objects, each once.
pub fn kinds(targets: &[Manifest]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = targets.iter().map(Manifest::kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use super::{quoted_fields, undeclared_fields};

    #[test]
    fn fields_are_found_in_messages() {
        let strict = r#"strict decoding error: unknown field "spec.templat", unknown field "spec.x[0].y""#;
        assert_eq!(quoted_fields(strict), ["spec.templat", "spec.x[0].y"]);
        let typed = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.replicass: field not declared in schema";
        assert_eq!(undeclared_fields(typed), ["spec.replicass"]);
        let several = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): errors:\n  .spec.a: field not declared in schema\n  .spec.x[0].b: field not declared in schema";
        assert_eq!(undeclared_fields(several), ["spec.a", "spec.x[0].b"]);
        assert!(undeclared_fields("something else").is_empty());
        let go = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        assert_eq!(quoted_fields(go), ["spec.replicas"]);
        assert!(quoted_fields("something else").is_empty());
    }
}
