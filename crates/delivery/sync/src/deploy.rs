//! Bringing a commit into the cluster: source, image, render, check, apply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::application::{NAMESPACE, ResourceResult, ResourceStatus};
use crate::builder::{BuildError, Image};
use crate::cluster::{Applied, ClusterError};
use crate::manifest::{Key, Kind, Manifest, text};
use crate::render::{self, Place, RenderError, SourceType};
use crate::source::{Commit, SourceError, Tree};
use crate::target::{self, Problem};
use crate::worker::{Round, WorkError, Worker};

/// Kinds an app's objects are looked for among when it is taken away, besides those its status names.
const USUAL_KINDS: [(&str, &str, &str); 9] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "PersistentVolumeClaim"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
    ("networking.k8s.io", "v1", "Ingress"),
];
/// Objects with this option stay when the app no longer has them.
const SYNC_OPTIONS: &str = "/metadata/annotations/argocd.argoproj.io~1sync-options";
/// Problems shown to the person who pushed.
const PROBLEMS_SHOWN: usize = 20;

/// A commit's objects, ready to be applied.
pub(crate) struct Rendered {
    pub commit: Commit,
    pub targets: Vec<Manifest>,
    pub image: Option<Image>,
    pub source_type: SourceType,
    tree: Arc<dyn Tree>,
}

/// Why a commit cannot be deployed, as lines for a person; the first one says it all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.first().map_or("failed", String::as_str))]
pub(crate) struct Trouble(pub Vec<String>);

impl Trouble {
    pub fn one(line: impl Into<String>) -> Self {
        Trouble(vec![line.into()])
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Trouble::one(error.to_string())
    }
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Self {
        Trouble(error.0.lines().map(str::to_owned).collect())
    }
}

/// Trouble is the commit's fault; the other errors are the platform's, and trying again may help.
pub(crate) enum DeployError {
    Trouble(Trouble),
    Work(WorkError),
}

impl<E: Into<Trouble>> From<E> for DeployError {
    fn from(error: E) -> Self {
        DeployError::Trouble(error.into())
    }
}

impl From<ClusterError> for DeployError {
    fn from(error: ClusterError) -> Self {
        DeployError::Work(error.into())
    }
}

/// The namespace an Application deploys to.
fn destination(round: &Round) -> String {
    match round.application.spec.destination.namespace.as_str() {
        "" => round.environment.name(),
        namespace => namespace.to_owned(),
    }
}

impl Worker {
    /// The objects of a commit. With `loud`, whoever follows is told of it.
    pub async fn render(&self, round: &Round, commit: &Commit, loud: bool) -> Result<Rendered, DeployError> {
        let source = &round.application.spec.source;
        let (sources, url, id) = (self.shared.sources.clone(), source.repo_url.clone(), commit.id.clone());
        let place = Place {
            path: source.path.clone(),
            recurse: source.directory.as_ref().is_some_and(|directory| directory.recurse),
            helm: source.helm.clone(),
            app: round.environment.app.clone(),
            namespace: destination(round),
            now: (self.now().as_second(), 0),
        };
        let planned = tokio::task::spawn_blocking(move || {
            let tree = sources.tree(&url, &id)?;
            let plan = render::plan(&*tree, &place, Some(&*sources)).map_err(|error| render_trouble(&*tree, &error))?;
            Ok::<_, Trouble>((tree, plan))
        });
        let (tree, plan) = planned.await.unwrap_or_else(|error| Err(Trouble::one(error.to_string())))?;
        let image = match plan.wants_image {
            true => Some(self.image(round, commit, tree.clone(), loud).await?),
            false => None,
        };
        let source_type = plan.source_type;
        let manifests = plan.finish(&round.environment, image.as_ref());
        let spec = &round.application.spec;
        let namespace = destination(round);
        let make_namespace = spec.has_option("CreateNamespace=true");
        let targets = target::prepare(&self.shared.cluster, &self.name, &namespace, make_namespace, manifests).await?;
        Ok(Rendered { commit: commit.clone(), targets, image, source_type, tree })
    }

    async fn image(
        &self,
        round: &Round,
        commit: &Commit,
        tree: Arc<dyn Tree>,
        loud: bool,
    ) -> Result<Image, BuildError> {
        let started = Instant::now();
        let (shared, name, id) = (self.shared.clone(), self.name.clone(), commit.id.clone());
        let progress: crate::builder::Lines = Arc::new(move |line: String| {
            if loud {
                shared.followers.say(&name, &id, &line);
            }
        });
        let image = self.shared.builder.ensure(round.environment.app.clone(), tree, progress).await?;
        if loud {
            let how = if image.was_built {
                format!("built in {:.1} s", started.elapsed().as_secs_f64())
            } else {
                "found by its content, nothing to build".to_owned()
            };
            self.say(commit, format!("image {} ({how})", short_digest(&image.reference)));
        }
        Ok(image)
    }

    /// Checks everything, then applies it in order. Nothing is touched when anything is wrong.
    pub async fn apply(&mut self, rendered: &Rendered, loud: bool) -> Result<Vec<ResourceResult>, DeployError> {
        let problems = target::check(&self.shared.cluster, &self.name, &rendered.targets).await?;
        if !problems.is_empty() {
            return Err(DeployError::Trouble(problem_trouble(&*rendered.tree, &problems)));
        }
        self.watch_over(rendered).await;
        let mut results = Vec::new();
        let mut counts = [0usize; 3];
        for target in &rendered.targets {
            let (kind, key) = (target.kind(), target.key());
            let before = match self.shared.cluster.get(&kind, &key).await {
                Err(ClusterError::UnknownKind { .. }) => None,
                before => before?,
            };
            let (applied, _) = match self.shared.cluster.apply(target, before.as_ref()).await {
                Err(error @ (ClusterError::Refused(_) | ClusterError::UnknownKind { .. })) => {
                    return Err(Trouble::one(format!("{key}: {error}")).into());
                }
                applied => applied?,
            };
            self.compared.remove(&key);
            if kind.kind == "CustomResourceDefinition" {
                self.shared.cluster.wait_until_served(&target.object).await;
            }
            let (slot, word) = match applied {
                Applied::Created => (0, "created"),
                Applied::Configured => (1, "configured"),
                Applied::Unchanged => (2, "unchanged"),
            };
            counts[slot] += 1;
            if loud && applied != Applied::Unchanged {
                self.say(&rendered.commit, format!("  {key} {word}"));
            }
            results.push(result(&kind, &key, word));
        }
        if loud {
            self.say(
                &rendered.commit,
                format!("applied: {} created, {} configured, {} unchanged", counts[0], counts[1], counts[2]),
            );
        }
        // A definition that has just come changes what the cluster serves.
        self.watch_over(rendered).await;
        Ok(results)
    }

    pub async fn watch_over(&self, rendered: &Rendered) {
        for kind in target::kinds(&rendered.targets) {
            self.shared.watch(&kind).await;
        }
        let namespaces: BTreeSet<String> = rendered.targets.iter().map(|target| target.key().namespace).collect();
        self.shared.lives_in(&self.name, namespaces);
    }

    /// Deletes what the app has no longer; what is left over is only counted when pruning is off.
    pub async fn prune(&mut self, round: &Round, rendered: &Rendered) -> Result<Vec<Key>, ClusterError> {
        let wanted: Vec<Key> = rendered.targets.iter().map(Manifest::key).collect();
        let mut extra = self.tracked(&round.status.resources, &rendered.targets).await?;
        extra.retain(|object| !wanted.contains(&Key::of(object)) && may_prune(object));
        extra.sort_by_cached_key(crate::order::place);
        let mut pruned = Vec::new();
        for object in extra.iter().rev() {
            let key = Key::of(object);
            if self.shared.cluster.delete(&Kind::of(object), &key).await? {
                pruned.push(key);
            }
        }
        Ok(pruned)
    }

    /// All live objects that say they belong to this app, of all kinds it has or had.
    pub async fn tracked(
        &self,
        resources: &[ResourceStatus],
        targets: &[Manifest],
    ) -> Result<Vec<Value>, ClusterError> {
        let mut kinds = target::kinds(targets);
        kinds.extend(resources.iter().map(|resource| Kind {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: resource.kind.clone(),
        }));
        kinds.sort();
        kinds.dedup();
        self.shared.cluster.tracked(&self.name, &kinds).await
    }

    /// Begins to delete everything of this app; the number of objects still there.
    pub async fn delete_all(&mut self, round: &Round) -> Result<usize, WorkError> {
        let mut kinds: Vec<Kind> = USUAL_KINDS
            .iter()
            .map(|(group, version, kind)| Kind {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                kind: (*kind).to_owned(),
            })
            .collect();
        kinds.extend(round.status.resources.iter().map(|resource| Kind {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: resource.kind.clone(),
        }));
        kinds.push(target::namespace_kind());
        kinds.sort();
        kinds.dedup();
        let mut objects = self.shared.cluster.tracked(&self.name, &kinds).await?;
        objects.retain(|object| !is_the_clusters_own(object));
        objects.sort_by_cached_key(crate::order::place);
        for object in objects.iter().rev().filter(|object| object.pointer("/metadata/deletionTimestamp").is_none()) {
            self.shared.cluster.delete(&Kind::of(object), &Key::of(object)).await?;
        }
        Ok(objects.len())
    }
}

/// Whether an object that the app has no longer may be deleted. Namespaces hold more than the app's own objects and
/// only go with the whole app.
pub(crate) fn may_prune(object: &Value) -> bool {
    let keeps = text(object, SYNC_OPTIONS).split(',').any(|option| option.trim() == "Prune=false");
    !keeps && text(object, "/kind") != "Namespace" && object.pointer("/metadata/deletionTimestamp").is_none()
}

/// Namespaces that every cluster has, whoever says they are his.
fn is_the_clusters_own(object: &Value) -> bool {
    let name = text(object, "/metadata/name");
    text(object, "/kind") == "Namespace" && (name == "default" || name == NAMESPACE || name.starts_with("kube-"))
}

fn result(kind: &Kind, key: &Key, word: &str) -> ResourceResult {
    ResourceResult {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        status: "Synced".to_owned(),
        message: format!("{key} {word}"),
    }
}

fn short_digest(reference: &str) -> String {
    match reference.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@sha256:{}", digest.get(..12).unwrap_or(digest)),
        None => reference.to_owned(),
    }
}

fn render_trouble(tree: &dyn Tree, error: &RenderError) -> Trouble {
    let mut lines = vec![error.to_string()];
    if error.line > 0 {
        lines.extend(snippet(tree, &error.file, error.line, error.column));
    }
    Trouble(lines)
}

fn problem_trouble(tree: &dyn Tree, problems: &[Problem]) -> Trouble {
    let mut lines = Vec::new();
    for problem in problems.iter().take(PROBLEMS_SHOWN) {
        lines.push(problem.to_string());
        if problem.line > 0 {
            lines.extend(snippet(tree, &problem.file, problem.line, problem.column));
        }
    }
    if problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    Trouble(lines)
}

/// The line an error speaks of, with a mark under the place.
fn snippet(tree: &dyn Tree, file: &str, line: u32, column: u32) -> Vec<String> {
    let content = tree.read(file).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    let shown = content.as_deref().and_then(|text| text.lines().nth(line.saturating_sub(1) as usize));
    match shown {
        Some(text) if text.len() < 200 => {
            let margin = format!("  {line} | ");
            let blank = " ".repeat(margin.len() - 2);
            let indent = " ".repeat(column.saturating_sub(1) as usize);
            vec![format!("{margin}{text}"), format!("{blank}| {indent}^")]
        }
        _ => Vec::new(),
    }
}
