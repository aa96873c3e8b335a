//! Who owns whom, as far as metadata tells. Pure: what happened in, what is to be looked at out.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::sighting::Metadata;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// Whether the object with this uid is still wanted.
    Check(String),
    /// Whether its dependents may be let go of.
    Orphan(String),
}

/// An object that has owners, or that is going.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Which of the monitored kinds it is of.
    pub(super) kind: usize,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    /// It goes once its dependents are gone.
    pub(super) foreground: bool,
    /// It goes once its dependents no longer name it.
    pub(super) orphaning: bool,
}

impl Node {
    fn new(kind: usize, meta: Metadata) -> Self {
        let deleting = meta.deletion_timestamp.is_some();
        let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
        let (foreground, orphaning) = (deleting && has(FOREGROUND), deleting && has(ORPHAN));
        Self {
            kind,
            namespace: meta.namespace,
            name: meta.name.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default(),
            deleting,
            foreground,
            orphaning,
        }
    }
}

/// An object as the collector knows it. Most have no owners and stay: of those it need only know that they are there.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Plain { kind: usize },
    Involved(Box<Node>),
}

impl Known {
    fn kind(&self) -> usize {
        match self {
            Self::Plain { kind } => *kind,
            Self::Involved(node) => node.kind,
        }
    }

    fn node(&self) -> Option<&Node> {
        match self {
            Self::Plain { .. } => None,
            Self::Involved(node) => Some(node),
        }
    }
}

/// The graph.
#[derive(Debug, Default)]
pub(super) struct Graph {
    known: HashMap<Box<str>, Known>,
    /// By the owner's uid, whether there is such an owner or not.
    dependents: HashMap<String, HashSet<String>>,
}

impl Graph {
    /// An object that has owners, or that is going.
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.known.get(uid)?.node()
    }

    /// Whether an object waits for its dependents to go; `None` where there is no such object.
    pub(super) fn is_waiting(&self, uid: &str) -> Option<bool> {
        self.known.get(uid).map(|known| known.node().is_some_and(|node| node.foreground))
    }

    /// The uids and nodes of those that name an owner.
    pub(super) fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.get(uid).map(|node| (uid, node)))
    }

    /// All objects of a kind.
    pub(super) fn of_kind(&self, kind: usize) -> Vec<String> {
        self.known.iter().filter(|(_, known)| known.kind() == kind).map(|(uid, _)| uid.to_string()).collect()
    }

    /// All work that may be due.
    pub(super) fn everything(&self) -> Vec<Work> {
        let nodes = || self.known.iter().filter_map(|(uid, known)| Some((uid, known.node()?)));
        let owned = nodes().filter(|(_, node)| !node.owners.is_empty() || node.foreground);
        let orphaning = nodes().filter(|(_, node)| node.orphaning);
        owned
            .map(|(uid, _)| Work::Check(uid.to_string()))
            .chain(orphaning.map(|(uid, _)| Work::Orphan(uid.to_string())))
            .collect()
    }

    /// Takes in an object as it is now.
    pub(super) fn apply(&mut self, kind: usize, mut meta: Metadata) -> Vec<Work> {
        let Some(uid) = meta.uid.take() else { return Vec::new() };
        let node = Node::new(kind, meta);
        if node.owners.is_empty() && !node.deleting && self.get(&uid).is_none() {
            self.known.insert(uid.into(), Known::Plain { kind });
            return Vec::new();
        }
        let previous = self.get(&uid);
        if previous == Some(&node) {
            return Vec::new();
        }
        let mut work = Vec::new();
        let owners_changed = previous.is_none_or(|previous| previous.owners != node.owners);
        let newly_foreground = node.foreground && previous.is_none_or(|previous| !previous.foreground);
        if node.orphaning && previous.is_none_or(|previous| !previous.orphaning) {
            work.push(Work::Orphan(uid.clone()));
        }
        if newly_foreground || (owners_changed && self.has_doubtful_owner(&node)) {
            work.push(Work::Check(uid.clone()));
        }
        // An owner that waits for this one may no longer have to.
        if let Some(previous) = previous.cloned() {
            let changed_sides = owners_changed || (node.deleting && !previous.deleting);
            work.extend(previous.owners.iter().filter(|_| changed_sides).filter_map(|owner| self.waiting(&owner.uid)));
            self.unlink(&uid, &previous);
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let known = match node.owners.is_empty() && !node.deleting {
            true => Known::Plain { kind },
            false => Known::Involved(Box::new(node)),
        };
        self.known.insert(uid.into(), known);
        work
    }

    /// Takes in that an object is gone.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some(known) = self.known.remove(uid) else { return Vec::new() };
        let mut work: Vec<Work> = self.dependents(uid).map(|(dependent, _)| Work::Check(dependent.clone())).collect();
        if let Some(node) = known.node() {
            self.unlink(uid, node);
            work.extend(node.owners.iter().filter_map(|owner| self.waiting(&owner.uid)));
        }
        work
    }

    /// An owner that is not known, or is about to take its dependents with it.
    fn has_doubtful_owner(&self, node: &Node) -> bool {
        node.owners.iter().any(|owner| self.is_waiting(&owner.uid) != Some(false))
    }

    fn waiting(&self, uid: &str) -> Option<Work> {
        self.is_waiting(uid).filter(|waiting| *waiting).map(|_| Work::Check(uid.to_owned()))
    }

    fn unlink(&mut self, uid: &str, node: &Node) {
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    /// `uid [owner...] [!finalizer]`; a finalizer makes it one that is being deleted.
    fn meta(text: &str) -> Metadata {
        let mut words = text.split(' ');
        let uid = words.next().expect("a uid");
        let (finalizers, owners): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('!'));
        let owner = |uid: &&str| json!({"apiVersion": "v1", "kind": "Pod", "name": uid, "uid": uid});
        let mut meta =
            json!({"name": uid, "uid": uid, "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()});
        if let Some(finalizer) = finalizers.first() {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            meta["finalizers"] = json!([&finalizer[1..]]);
        }
        serde_json::from_value(meta).expect("metadata")
    }

    /// Plays lines of what happened (`-uid` is gone) and shows what each leads to.
    fn check(story: &[&str], expected: Expect) {
        let mut graph = Graph::default();
        let mut text = String::new();
        for line in story {
            let mut work = match line.strip_prefix('-') {
                Some(uid) => graph.remove(uid),
                None => graph.apply(0, meta(line)),
            };
            work.sort();
            text += &format!("{line}: {work:?}\n");
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        check(
            &["set", "a set", "b set other", "-set", "-a", "-b"],
            expect![[r#"
            set: []
            a set: []
            b set other: [Check("b")]
            -set: [Check("a"), Check("b")]
            -a: []
            -b: []
        "#]],
        );
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_a_dependent_goes() {
        check(
            &["set", "a set", "b set", "set !foregroundDeletion", "c set", "-a", "b", "-c"],
            expect![[r#"
            set: []
            a set: []
            b set: []
            set !foregroundDeletion: [Check("set")]
            c set: [Check("c")]
            -a: [Check("set")]
            b: [Check("set")]
            -c: [Check("set")]
        "#]],
        );
    }

    #[test]
    fn an_owner_that_lets_go_is_looked_at_once() {
        check(
            &["set", "a set", "set !orphan", "set !orphan", "a", "-set"],
            expect![[r#"
            set: []
            a set: []
            set !orphan: [Orphan("set")]
            set !orphan: []
            a: []
            -set: []
        "#]],
        );
    }
}
