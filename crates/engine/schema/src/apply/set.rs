//! Sets of field paths, as `fieldsV1` writes them.
//!
//! An element of a path is kept in its written form: `f:name` (a field or key), `k:{"name":"a"}` (an item by its keys),
//! `v:"a"` (an item by its value), `i:0` (an item by position).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::types::Type;

/// A set of paths, as a tree.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Set {
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Node {
    /// The path that ends here is in the set.
    member: bool,
    below: Set,
}

/// `fieldsV1` that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid fieldsV1: {0}")]
pub struct SetError(String);

impl Set {
    pub fn parse(fields: &Value) -> Result<Self, SetError> {
        let Value::Object(members) = fields else { return Err(SetError(format!("expected an object, got {fields}"))) };
        let mut set = Self::default();
        for (element, below) in members.iter().filter(|(element, _)| *element != ".") {
            let children = Self::parse(below)?;
            let member = below.as_object().is_some_and(|below| below.is_empty() || below.contains_key("."));
            set.nodes.insert(normal(element)?, Node { member, below: children });
        }
        Ok(set)
    }

    pub fn to_value(&self) -> Value {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let mut below = node.below.to_value();
            if let (true, Value::Object(members)) = (node.member && !node.below.is_empty(), &mut below) {
                members.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element.clone(), below)
        });
        Value::Object(nodes.collect())
    }

    /// A set of one path of plain fields.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<String> = path.iter().map(|name| field(name)).collect();
            set.insert(&path);
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.values().all(|node| !node.member && node.below.is_empty())
    }

    pub fn insert(&mut self, path: &[String]) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut set = self;
        for element in parents {
            if !set.nodes.contains_key(element) {
                set.nodes.insert(element.clone(), Node::default());
            }
            set = &mut set.nodes.get_mut(element).expect("inserted above").below;
        }
        set.nodes.entry(last.clone()).or_default().member = true;
    }

    /// Whether the path made of this one element is in the set.
    pub fn has_element(&self, element: &str) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// The first elements of all paths: whether the path of just that element is in the set, and what is below it.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (&str, bool, &Set)> {
        self.nodes.iter().map(|(element, node)| (element.as_str(), node.member, &node.below))
    }

    /// What the set has below an element.
    pub fn below(&self, element: &str) -> Option<&Set> {
        self.nodes.get(element).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    pub fn union(mut self, other: &Set) -> Set {
        for (element, node) in &other.nodes {
            match self.nodes.get_mut(element) {
                None => {
                    self.nodes.insert(element.clone(), node.clone());
                }
                Some(own) => {
                    own.member |= node.member;
                    own.below = std::mem::take(&mut own.below).union(&node.below);
                }
            }
        }
        self
    }

    /// The paths that are in both.
    pub fn intersection(&self, other: &Set) -> Set {
        self.combine(other, |own, other| own && other, false)
    }

    /// The paths that are not in the other; what the other has above or below does not matter.
    pub fn difference(&self, other: &Set) -> Set {
        self.combine(other, |own, other| own && !other, true)
    }

    fn combine(&self, other: &Set, keep: fn(bool, bool) -> bool, alone: bool) -> Set {
        let mut nodes = BTreeMap::new();
        for (element, node) in &self.nodes {
            let combined = match other.nodes.get(element) {
                None if alone => node.clone(),
                None => continue,
                Some(others) => Node {
                    member: keep(node.member, others.member),
                    below: node.below.combine(&others.below, keep, alone),
                },
            };
            if combined.member || !combined.below.is_empty() {
                nodes.insert(element.clone(), combined);
            }
        }
        Set { nodes }
    }

    /// The paths that are neither in the other nor below a path that is.
    pub fn without_trees(&self, other: &Set) -> Set {
        let mut nodes = BTreeMap::new();
        for (element, node) in &self.nodes {
            let kept = match other.nodes.get(element) {
                None => node.clone(),
                Some(others) if others.member => continue,
                Some(others) => Node { member: node.member, below: node.below.without_trees(&others.below) },
            };
            if kept.member || !kept.below.is_empty() {
                nodes.insert(element.clone(), kept);
            }
        }
        Set { nodes }
    }

    /// The same set with the struct fields on the way to its members: they are not owned by themselves, but go when nothing
    /// of them is left.
    pub(crate) fn with_struct_fields(&self, of: Option<Type<'_>>) -> Set {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let name = element.strip_prefix("f:");
            let is_struct_field = name.is_some_and(|name| of.is_some_and(|of| of.field(name).is_some()));
            let inner = match name {
                Some(name) => of.and_then(|of| of.member(name)),
                None => of.and_then(Type::element),
            };
            let member = node.member || (is_struct_field && !node.below.is_empty());
            (element.clone(), Node { member, below: node.below.with_struct_fields(inner) })
        });
        Set { nodes: nodes.collect() }
    }

    /// All paths, in order, as messages show them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths("", &mut found);
        found
    }

    fn collect_paths(&self, prefix: &str, found: &mut Vec<String>) {
        for (element, node) in &self.nodes {
            let path = format!("{prefix}{}", shown(element));
            if node.member {
                found.push(path.clone());
            }
            node.below.collect_paths(&path, found);
        }
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.paths())
    }
}

/// The element of a field or map key.
pub(crate) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// Keys and values are compared as text, so they must be written one way.
fn normal(element: &str) -> Result<String, SetError> {
    let bad = || SetError(format!("unknown path element {element:?}"));
    match element.get(..2) {
        Some("f:" | "i:") => Ok(element.to_owned()),
        Some(prefix @ ("k:" | "v:")) => {
            let value: Value = serde_json::from_str(&element[2..]).map_err(|_| bad())?;
            Ok(format!("{prefix}{value}"))
        }
        _ => Err(bad()),
    }
}

fn shown(element: &str) -> String {
    let (kind, rest) = element.split_at(2);
    match kind {
        "f:" => format!(".{rest}"),
        "v:" => format!("[={rest}]"),
        "k:" => match serde_json::from_str::<Map<String, Value>>(rest) {
            Ok(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Err(_) => format!("[{rest}]"),
        },
        _ => format!("[{rest}]"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_set() -> impl Strategy<Value = Set> {
        let element = prop_oneof!["f:[ab]", Just("k:{\"name\":\"x\"}".to_owned()), Just("v:1".to_owned())];
        prop::collection::vec(prop::collection::vec(element, 1..4), 0..8).prop_map(|paths| {
            let mut set = Set::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #[test]
        fn written_and_read_again(set in any_set()) {
            prop_assert_eq!(Set::parse(&set.to_value()).unwrap(), set);
        }

        #[test]
        fn the_laws_of_sets(a in any_set(), b in any_set()) {
            let both = a.intersection(&b);
            let only_a = a.difference(&b);
            prop_assert_eq!(&both, &b.intersection(&a));
            prop_assert!(only_a.intersection(&b).is_empty());
            prop_assert_eq!(only_a.union(&both), a.clone());
            prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
            prop_assert!(a.difference(&a).is_empty());
        }
    }

    #[test]
    fn keys_are_written_one_way() {
        let set =
            Set::parse(&json!({"f:ports": {"k:{ \"protocol\":\"TCP\", \"port\": 80 }": {".": {}, "f:name": {}}}}))
                .unwrap();
        assert_eq!(
            set.paths(),
            [".ports[port=80,protocol=\"TCP\"]", ".ports[port=80,protocol=\"TCP\"].name"].map(str::to_owned)
        );
        assert!(Set::parse(&json!({"x:y": {}})).is_err());
    }
}
