//! References by name follow the objects they mean, wherever the layers have renamed these to.

use std::collections::HashMap;

use coracle_yaml::{Node, Value};

use crate::config::{Config, Reference};
use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk_any};
use crate::id::{Gvk, Id};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::scalars::{set_field_text, set_text, text};

/// What a reference may mean: a resource with its present and earlier names.
struct Candidate<'a> {
    resource: &'a Resource,
    id: Id,
    original_namespace: String,
    previous: Vec<Id>,
}

pub(crate) fn fix(resources: &mut Resources, config: &Config) -> Result<(), Trouble> {
    let snapshot: Vec<Resource> = resources.list.iter().map(without_tree).collect();
    let candidates: Vec<Candidate<'_>> = snapshot.iter().map(Candidate::of).collect();
    let mut by_old_name: HashMap<&str, Vec<&Candidate<'_>>> = HashMap::new();
    for candidate in &candidates {
        let mut names: Vec<&str> = candidate.previous.iter().map(|id| id.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            by_old_name.entry(name).or_default().push(candidate);
        }
    }
    if by_old_name.is_empty() {
        return Ok(());
    }
    let specs = SpecsByKind::of(config);
    for (resource, referrer) in resources.list.iter_mut().zip(&candidates) {
        let original = resource.original_id();
        let binding = Binding::of(&resource.node)?;
        let mark = resource.mark();
        for (reference, spec) in specs.for_kind(&original.gvk) {
            let (by_old_name, target) = (&by_old_name, &reference.target);
            let search = Search { all: &candidates, by_old_name, referrer, target, spec, binding: &binding };
            let visited = walk_any(&mut resource.node, spec, Make::Nothing, &mut |node| search.set(node));
            visited.map_err(|trouble| trouble.or_at(mark))?;
        }
    }
    Ok(())
}

/// The resource with no more of its tree than its names.
fn without_tree(resource: &Resource) -> Resource {
    let mut slim = resource.clone_state();
    let mut node = Node::mapping().at(resource.mark());
    let mapping = node.as_mapping_mut().expect("just made as one");
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = resource.node.get(key) {
            mapping.insert(key, value.clone());
        }
    }
    slim.node = node;
    slim
}

/// The field specs of references by the kind they are for, in the order they are worked off.
struct SpecsByKind<'a> {
    all: Vec<(&'a Reference, &'a FieldSpec)>,
    by_kind: HashMap<&'a str, Vec<usize>>,
}

impl<'a> SpecsByKind<'a> {
    fn of(config: &'a Config) -> Self {
        let all: Vec<(&Reference, &FieldSpec)> = config
            .references
            .iter()
            .flat_map(|reference| reference.referrers.iter().map(move |spec| (reference, spec)))
            .collect();
        let mut by_kind: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, (_, spec)) in all.iter().enumerate() {
            by_kind.entry(&spec.gvk.kind).or_default().push(index);
        }
        SpecsByKind { all, by_kind }
    }

    fn for_kind(&self, gvk: &Gvk) -> Vec<(&'a Reference, &'a FieldSpec)> {
        let of_any_kind = self.by_kind.get("").into_iter().flatten();
        let mut indices: Vec<usize> = self.by_kind.get(gvk.kind.as_str()).into_iter().flatten().copied().collect();
        if !gvk.kind.is_empty() {
            indices.extend(of_any_kind);
            indices.sort_unstable();
        }
        let specs = indices.into_iter().map(|index| self.all[index]);
        specs.filter(|(_, spec)| gvk.is_selected_by(&spec.gvk)).collect()
    }
}

impl<'a> Candidate<'a> {
    fn of(resource: &'a Resource) -> Self {
        Candidate {
            resource,
            id: resource.id(),
            original_namespace: resource.original_id().effective_namespace().to_owned(),
            previous: resource.previous_ids(),
        }
    }
}

/// What a role binding says of the role it refers to, and the namespaces its subjects live in.
struct Binding {
    role: Option<Gvk>,
    subject_namespaces: Vec<String>,
}

impl Binding {
    fn of(node: &Node) -> Result<Self, Trouble> {
        let word = |node: &Node, key: &str| node.get(key).map(|value| text(value).to_owned());
        let role = node.get("roleRef").and_then(|role| {
            Some(Gvk { group: word(role, "apiGroup")?, version: String::new(), kind: word(role, "kind")? })
        });
        let is_binding = node.get("kind").map(text) == Some("RoleBinding");
        let subjects = node.get("subjects").and_then(Node::as_sequence).filter(|_| is_binding).unwrap_or_default();
        let mut subject_namespaces = Vec::new();
        for subject in subjects.iter().filter(|subject| word(subject, "kind").as_deref() == Some("ServiceAccount")) {
            match subject.get("namespace") {
                Some(namespace) if namespace.is_null() => {
                    return Err(Trouble::new(namespace.mark, "the namespace of this subject is empty"));
                }
                Some(namespace) => subject_namespaces.push(text(namespace).to_owned()),
                None => {}
            }
        }
        Ok(Binding { role, subject_namespaces })
    }
}

struct Search<'a> {
    all: &'a [Candidate<'a>],
    by_old_name: &'a HashMap<&'a str, Vec<&'a Candidate<'a>>>,
    referrer: &'a Candidate<'a>,
    target: &'a Gvk,
    spec: &'a FieldSpec,
    binding: &'a Binding,
}

impl Search<'_> {
    fn set(&self, node: &mut Node) -> Result<(), Trouble> {
        if node.is_null() {
            return Ok(());
        }
        match &mut node.value {
            Value::Scalar(_) => self.set_name(node),
            Value::Mapping(_) => self.set_object(node),
            Value::Sequence(items) => {
                items.iter_mut().filter(|item| !item.is_null()).try_for_each(|item| match item.value {
                    Value::Scalar(_) => self.set_name(item),
                    Value::Mapping(_) => self.set_object(item),
                    Value::Sequence(_) => {
                        Err(Trouble::new(item.mark, "expected a name or a mapping with one, found a list"))
                    }
                })
            }
        }
    }

    fn set_name(&self, node: &mut Node) -> Result<(), Trouble> {
        if let Some(found) = self.find(text(node), node, |_| true, false)?
            && found.id.name != text(node)
        {
            set_text(node, &found.id.name);
        }
        Ok(())
    }

    /// A reference with a name and a namespace of its own, as bindings' subjects and webhooks' services have.
    fn set_object(&self, node: &mut Node) -> Result<(), Trouble> {
        let Some(old) = node.get("name").map(|name| text(name).to_owned()) else {
            return Err(Trouble::new(node.mark, "no name in this reference"));
        };
        let namespace = node.get("namespace").map(|namespace| text(namespace).to_owned());
        let found = match namespace.as_deref() {
            None => self.find(&old, node, |_| true, true)?,
            Some(namespace) if self.any_originally_in(namespace) => {
                self.find(&old, node, |candidate| candidate.original_namespace == namespace, true)?
            }
            Some(namespace) => {
                self.find(&old, node, |candidate| candidate.id.effective_namespace() == namespace, true)?
            }
        };
        let Some(found) = found else { return Ok(()) };
        let (name, namespace) = (found.id.name.clone(), found.id.namespace.clone());
        if name == old && namespace.is_empty() {
            return Ok(());
        }
        if let Some(mapping) = node.as_mapping_mut() {
            set_field_text(mapping, "name", &name);
            if !namespace.is_empty() {
                set_field_text(mapping, "namespace", &namespace);
            }
        }
        Ok(())
    }

    /// Whether any object this one may refer to was in `namespace` at first.
    fn any_originally_in(&self, namespace: &str) -> bool {
        let is_there = |candidate: &Candidate<'_>| candidate.original_namespace == namespace;
        self.all.iter().any(|candidate| is_there(candidate) && self.may_be_referred_to(candidate))
    }

    fn find(
        &self,
        old: &str,
        node: &Node,
        fits: impl Fn(&Candidate<'_>) -> bool,
        with_namespace: bool,
    ) -> Result<Option<&Candidate<'_>>, Trouble> {
        let Some(named) = self.by_old_name.get(old) else { return Ok(None) };
        let mut found: Vec<&Candidate<'_>> =
            named.iter().copied().filter(|candidate| self.may_mean(candidate) && fits(candidate)).collect();
        let affixed = |candidate: &&Candidate<'_>, allow_empty: bool| {
            candidate.resource.same_affixes(self.referrer.resource, allow_empty)
        };
        if found.len() > 1 {
            found.retain(|candidate| affixed(candidate, true));
        }
        if found.len() > 1 {
            found.retain(|candidate| affixed(candidate, false));
        }
        let Some(first) = found.first().copied() else { return Ok(None) };
        let is_same = |other: &&Candidate<'_>| {
            other.id.name == first.id.name && (!with_namespace || other.id.namespace == first.id.namespace)
        };
        if !found.iter().all(is_same) {
            let names: Vec<String> = found.iter().map(|candidate| candidate.id.to_string()).collect();
            let message = format!("{old:?} could mean any of {}", names.join(", "));
            return Err(Trouble::new(node.mark, message));
        }
        Ok(Some(first))
    }

    /// Whether the referrer sees a candidate at all: in its namespace, outside all, or in one its subjects are in.
    fn may_be_referred_to(&self, candidate: &Candidate<'_>) -> bool {
        let referrer = &self.referrer.id;
        referrer.cluster_scoped
            || candidate.id.cluster_scoped
            || referrer.effective_namespace() == candidate.id.effective_namespace()
            || self.binding.subject_namespaces.contains(&candidate.id.namespace)
    }

    fn may_mean(&self, candidate: &Candidate<'_>) -> bool {
        let was = |gvk: &Gvk| candidate.previous.iter().any(|id| id.gvk.is_selected_by(gvk));
        let role = self.binding.role.as_ref().filter(|_| self.spec.path.ends_with("roleRef/name"));
        let referrer = &self.referrer.id;
        let in_sight = referrer.cluster_scoped
            || candidate.id.cluster_scoped
            || candidate.id.gvk.kind == "ServiceAccount"
            || referrer.effective_namespace() == candidate.id.effective_namespace();
        was(self.target) && role.is_none_or(was) && in_sight && self.may_be_referred_to(candidate)
    }
}
