//! `namespace`: everything that can move, moves.

use coracle_yaml::{Mark, Node};

use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk, walk_any};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::scalars::{is_nothing, set_string, text, value_text};

/// Which subjects of a role binding move along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Subjects {
    /// Those called `default`: only of these it is certain that they are meant.
    #[default]
    DefaultOnly,
    AllServiceAccounts,
    None,
}

#[derive(Debug, Default)]
pub(crate) struct SubjectMode {
    pub mark: Mark,
    pub namespace: String,
    pub fields: Vec<FieldSpec>,
    /// Only where there is no namespace yet.
    pub unset_only: bool,
    pub subjects: Subjects,
}

pub(super) fn set(mode: &SubjectMode, resources: &mut Resources) -> Result<(), Trouble> {
    if mode.namespace.is_empty() {
        return Ok(());
    }
    for resource in resources.list.iter_mut().filter(|resource| !resource.is_empty()) {
        // Helm has been told the namespace already, and may have had reasons for others.
        if resource.is_from_helm() {
            continue;
        }
        resource.store_previous();
        mode.set_in(resource)?;
    }
    resources.check_unique("setting the namespace").map_err(|trouble| trouble.or_at(mode.mark))
}

impl SubjectMode {
    pub(super) fn set_in(&self, resource: &mut Resource) -> Result<(), Trouble> {
        let (mark, id) = (resource.mark(), resource.id());
        let mut set = |node: &mut Node| self.set_namespace(node);
        let is_binding = matches!(id.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
        let mut all = || -> Result<(), Trouble> {
            if !id.cluster_scoped {
                let own = FieldSpec::of_all("metadata/namespace", true);
                walk_any(&mut resource.node, &own, Make::Scalar, &mut set)?;
            }
            if is_binding {
                self.set_subjects(&mut resource.node)?;
            }
            for spec in &self.fields {
                let is_own = spec.path == "metadata/namespace";
                let is_others_name = spec.path == "metadata/name" && id.gvk.api_version() != "v1";
                let is_subject = is_binding
                    && spec.path == "subjects/namespace"
                    && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
                if !is_own && !is_others_name && !is_subject {
                    walk(&mut resource.node, spec, Make::Scalar, &mut set)?;
                }
            }
            Ok(())
        };
        all().map_err(|trouble| trouble.or_at(mark))
    }

    fn set_namespace(&self, node: &mut Node) -> Result<(), Trouble> {
        if node.as_text().is_none() {
            return Err(Trouble::new(node.mark, format!("expected a namespace, found {}", node.describe())));
        }
        if !self.unset_only || value_text(node).is_empty() {
            set_string(node, &self.namespace);
        }
        Ok(())
    }

    fn set_subjects(&self, node: &mut Node) -> Result<(), Trouble> {
        let Some(subjects) = node.get_mut("subjects").filter(|subjects| !subjects.is_null()) else { return Ok(()) };
        if self.subjects == Subjects::None {
            return Ok(());
        }
        let found = subjects.describe();
        let mark = subjects.mark;
        let Some(subjects) = subjects.as_sequence_mut() else {
            return Err(Trouble::new(mark, format!("subjects: expected a list, found {found}")));
        };
        for subject in subjects {
            let says = |key: &str, wanted: &str| subject.get(key).map(text) == Some(wanted);
            let is_meant = match self.subjects {
                Subjects::DefaultOnly => says("name", "default"),
                _ => says("kind", "ServiceAccount"),
            };
            if is_meant && let Some(mapping) = subject.as_mapping_mut() {
                let namespace = mapping.get_or_insert_with("namespace", || Node::plain(""));
                if is_nothing(namespace) {
                    *namespace = Node::plain("");
                }
                self.set_namespace(namespace)?;
            }
        }
        Ok(())
    }
}
