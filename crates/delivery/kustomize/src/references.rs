//! References by name follow the objects they mean, wherever the layers have renamed these to.

use std::collections::HashMap;

use coracle_yaml::{Node, Value};

use crate::fieldspec::{FieldSpec, WalkError, walk};
use crate::resource::{Id, Resource};
use crate::tables::{REFERENCES, Reference};

/// What a reference may mean: the present and earlier names of a resource.
struct Candidate {
    id: Id,
    original_namespace: String,
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

pub(crate) fn fix(resources: &mut [Resource]) -> Result<(), WalkError> {
    let candidates: Vec<Candidate> = resources.iter().map(Candidate::of).collect();
    let mut by_old_name: HashMap<&str, Vec<&Candidate>> = HashMap::new();
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
    for resource in resources {
        let referrer = Candidate::of(resource);
        let original = resource.original_id();
        let roles = Roles::of(&resource.node);
        for reference in REFERENCES.iter() {
            for spec in reference.referrers.iter().filter(|spec| spec.fits(&original.gvk)) {
                let search = Search { by_old_name: &by_old_name, referrer: &referrer, reference, spec, roles: &roles };
                walk(&mut resource.node, spec, None, &mut |node| search.set(node))?;
            }
        }
    }
    Ok(())
}

impl Candidate {
    fn of(resource: &Resource) -> Self {
        Candidate {
            id: resource.id(),
            original_namespace: resource.original_id().effective_namespace().to_owned(),
            previous: resource.previous.clone(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }
}

/// What a binding says of the role it refers to, and the namespaces its subjects live in.
struct Roles {
    role: Option<(String, String)>,
    subject_namespaces: Vec<String>,
}

impl Roles {
    fn of(node: &Node) -> Self {
        let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
        let role = node.get("roleRef").and_then(|role| Some((text(role, "apiGroup")?, text(role, "kind")?)));
        let is_binding = node.get("kind").and_then(Node::as_text) == Some("RoleBinding");
        let subjects = node.get("subjects").and_then(Node::as_sequence).filter(|_| is_binding).unwrap_or_default();
        let subject_namespaces = subjects
            .iter()
            .filter(|subject| text(subject, "kind").as_deref() == Some("ServiceAccount"))
            .filter_map(|subject| text(subject, "namespace"))
            .collect();
        Roles { role, subject_namespaces }
    }
}

struct Search<'a> {
    by_old_name: &'a HashMap<&'a str, Vec<&'a Candidate>>,
    referrer: &'a Candidate,
    reference: &'a Reference,
    spec: &'a FieldSpec,
    roles: &'a Roles,
}

impl Search<'_> {
    fn set(&self, node: &mut Node) -> Result<(), WalkError> {
        if node.is_null() {
            return Ok(());
        }
        match &mut node.value {
            Value::Scalar(_) => self.set_name(node),
            Value::Mapping(_) => self.set_object(node),
            Value::Sequence(items) => items.iter_mut().try_for_each(|item| match item.value {
                Value::Mapping(_) => self.set_object(item),
                _ => self.set_name(item),
            }),
        }
    }

    fn set_name(&self, node: &mut Node) -> Result<(), WalkError> {
        let old = node.as_text().unwrap_or_default().to_owned();
        if let Some(found) = self.find(&old, node, |_| true, false)?
            && found.id.name != old
        {
            *node = Node::string(&found.id.name).at(node.mark);
        }
        Ok(())
    }

    /// A reference with a name and a namespace of its own, as bindings' subjects and webhooks' services have.
    fn set_object(&self, node: &mut Node) -> Result<(), WalkError> {
        let Some(old) = node.get("name").and_then(Node::as_text).map(str::to_owned) else {
            return Err(WalkError { mark: node.mark, message: "no name in this reference".to_owned() });
        };
        let namespace = node.get("namespace").and_then(Node::as_text).map(str::to_owned);
        let by_original =
            |candidate: &Candidate| namespace.as_ref().is_none_or(|wanted| candidate.original_namespace == *wanted);
        let by_current = |candidate: &Candidate| {
            namespace.as_ref().is_some_and(|wanted| candidate.id.effective_namespace() == wanted)
        };
        let found = match self.find(&old, node, by_original, true)? {
            None => self.find(&old, node, by_current, true)?,
            found => found,
        };
        let Some(found) = found else { return Ok(()) };
        let (name, namespace, mark) = (found.id.name.clone(), found.id.namespace.clone(), node.mark);
        if let Some(mapping) = node.as_mapping_mut() {
            mapping.insert("name", Node::string(&name).at(mark));
            if !namespace.is_empty() {
                mapping.insert("namespace", Node::string(&namespace).at(mark));
            }
        }
        Ok(())
    }

    fn find(
        &self,
        old: &str,
        node: &Node,
        fits: impl Fn(&Candidate) -> bool,
        with_namespace: bool,
    ) -> Result<Option<&Candidate>, WalkError> {
        let Some(named) = self.by_old_name.get(old) else { return Ok(None) };
        let mut found: Vec<&Candidate> =
            named.iter().copied().filter(|candidate| self.may_mean(candidate) && fits(candidate)).collect();
        if found.len() > 1 {
            found.retain(|candidate| same_affixes(candidate, self.referrer, true));
        }
        if found.len() > 1 {
            found.retain(|candidate| same_affixes(candidate, self.referrer, false));
        }
        let Some(first) = found.first().copied() else { return Ok(None) };
        let same = |other: &&&Candidate| {
            other.id.name == first.id.name && (!with_namespace || other.id.namespace == first.id.namespace)
        };
        if found.iter().filter(same).count() < found.len() {
            let names: Vec<String> = found.iter().map(|candidate| candidate.id.to_string()).collect();
            let message = format!("{old:?} could mean any of {}", names.join(", "));
            return Err(WalkError { mark: node.mark, message });
        }
        Ok(Some(first))
    }

    fn may_mean(&self, candidate: &Candidate) -> bool {
        let target = &self.reference.target;
        let selected =
            candidate.previous.iter().any(|id| id.gvk.is_selected_by(&target.group, &target.version, &target.kind));
        let role_fits =
            !self.spec.path.ends_with("roleRef/name")
                || self.roles.role.as_ref().is_none_or(|(group, kind)| {
                    candidate.previous.iter().any(|id| id.gvk.is_selected_by(group, "", kind))
                });
        selected && role_fits && self.namespace_fits(candidate)
    }

    fn namespace_fits(&self, candidate: &Candidate) -> bool {
        let referrer = &self.referrer.id;
        referrer.gvk.is_cluster_scoped()
            || candidate.id.gvk.is_cluster_scoped()
            || referrer.effective_namespace() == candidate.id.effective_namespace()
            || (candidate.id.gvk.kind == "ServiceAccount"
                && self.roles.subject_namespaces.contains(&candidate.id.namespace))
    }
}

/// Whether both went through the same renaming layers; the shorter list has to be the end of the longer.
fn same_affixes(left: &Candidate, right: &Candidate, allow_empty: bool) -> bool {
    let same = |left: &[String], right: &[String]| {
        if left.is_empty() || right.is_empty() {
            return allow_empty || left.len() == right.len();
        }
        let shared = left.len().min(right.len());
        left[left.len() - shared..] == right[right.len() - shared..]
    };
    same(&left.prefixes, &right.prefixes) && same(&left.suffixes, &right.suffixes)
}
