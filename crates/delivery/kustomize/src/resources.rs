//! The resources gathered so far: no two of one id, in the order they came.

use std::collections::HashMap;

use crate::error::Trouble;
use crate::id::Id;
use crate::resource::{Behavior, Resource, merged};
use crate::scalars::{is_nothing, value_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_yaml::{Mapping, Node};

/// More documents than this come out of no honest tree.
const LIMIT: usize = 50_000;

#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub list: Vec<Resource>,
    /// How many resources had an id when it was last asked for; empty when that may have changed.
    known: HashMap<Key, usize>,
}

type Key = (String, String, String, String, String);

fn key(id: &Id) -> Key {
    let namespace = id.effective_namespace().to_owned();
    (id.gvk.group.clone(), id.gvk.version.clone(), id.gvk.kind.clone(), id.name.clone(), namespace)
}

impl Resources {
    pub fn append(&mut self, resource: Resource) -> Result<(), Trouble> {
        self.append_all([resource])
    }

    /// Adds resources, refusing an id that is there already.
    pub fn append_all(&mut self, resources: impl IntoIterator<Item = Resource>) -> Result<(), Trouble> {
        let mut ids: HashMap<Key, usize> = HashMap::new();
        for (index, resource) in self.list.iter().enumerate() {
            ids.insert(key(&resource.id()), index);
        }
        for resource in resources {
            let id = resource.id();
            if self.list.len() >= LIMIT {
                return Err(Trouble::new(resource.mark(), format!("more than {LIMIT} objects")));
            }
            if let Some(index) = ids.insert(key(&id), self.list.len()) {
                let other = self.list[index].mark().line;
                let place =
                    if other > 0 { format!("; the other one is at line {other} of its file") } else { String::new() };
                return Err(Trouble::new(resource.mark(), format!("{id} is defined twice{place}")));
            }
            self.list.push(resource);
        }
        self.known.clear();
        Ok(())
    }

    /// Fails if two resources have come to the same id.
    pub fn check_unique(&self, what: &str) -> Result<(), Trouble> {
        let mut ids: HashMap<Key, ()> = HashMap::with_capacity(self.list.len());
        for resource in &self.list {
            let id = resource.id();
            if ids.insert(key(&id), ()).is_some() {
                return Err(Trouble::new(resource.mark(), format!("{what} makes two objects called {id}")));
            }
        }
        Ok(())
    }

    pub fn drop_empty(&mut self) {
        self.list.retain(|resource| !resource.is_empty());
    }

    /// Those that are or were called so.
    pub fn with_any_id(&self, name: &str, fits: impl Fn(&Id) -> bool) -> Vec<usize> {
        let is_meant =
            |resource: &Resource| !resource.is_empty() && resource.was_called(name) && resource.ids().iter().any(&fits);
        self.list.iter().enumerate().filter(|(_, resource)| is_meant(resource)).map(|(index, _)| index).collect()
    }

    /// The one resource that is or was called `id`.
    pub fn by_any_id(&self, id: &Id) -> Result<usize, String> {
        match self.with_any_id(&id.name, |known| known.same_as(id)).as_slice() {
            [index] => Ok(*index),
            [] => Err(self.nothing_called(id)),
            _ => Err(format!("several objects are or were called {id}")),
        }
    }

    fn nothing_called(&self, id: &Id) -> String {
        let same_kind: Vec<String> = self
            .list
            .iter()
            .map(Resource::original_id)
            .filter(|known| known.gvk.kind == id.gvk.kind)
            .map(|known| known.to_string())
            .take(10)
            .collect();
        let others = if same_kind.is_empty() { String::new() } else { format!("; there is {}", same_kind.join(", ")) };
        format!("there is no {id}{others}")
    }

    /// Adds a generated resource, or lets it meet the one of its name.
    pub fn absorb(&mut self, mut resource: Resource) -> Result<(), Trouble> {
        let id = resource.id();
        let behavior = resource.behavior();
        let trouble = |message: String| Trouble::new(resource.mark(), message);
        match (self.with_any_id(&id.name, |known| known.same_as(&id)).as_slice(), behavior) {
            ([], Behavior::Create | Behavior::Unspecified) => self.append(resource),
            ([], _) => Err(trouble(format!("{id} does not exist; it cannot be merged or replaced"))),
            ([index], Behavior::Merge | Behavior::Replace) => {
                let old = &self.list[*index];
                let origin = old.annotation(crate::origin::ORIGIN).map(str::to_owned);
                resource.inherit(old);
                if behavior == Behavior::Merge {
                    merge_data(&mut resource, &self.list[*index])?;
                    if let Some(origin) = origin {
                        resource.annotate(crate::origin::ORIGIN, &origin);
                    }
                }
                if !resource.id().same_as(&self.list[*index].id()) {
                    let message = format!("{} does not exist; it cannot be replaced", resource.id());
                    return Err(Trouble::new(resource.mark(), message));
                }
                self.list[*index] = resource;
                Ok(())
            }
            ([_], _) => Err(trouble(format!("{id} exists already; say behavior: merge or behavior: replace"))),
            _ => Err(trouble(format!("several objects could be meant by {id}"))),
        }
    }
}

/// Merges what `old` has under `data` and `binaryData` below what the generated one has.
fn merge_data(resource: &mut Resource, old: &Resource) -> Result<(), Trouble> {
    let is_secret = resource.api_version() == "v1" && resource.kind() == "Secret";
    for field in ["data", "binaryData"] {
        let mut under = texts(old.node.get(field));
        if field == "data" && is_secret {
            under = merged(under, encoded(old.node.get("stringData"))?);
        }
        let entries = merged(under, texts(resource.node.get(field)));
        let Some(root) = resource.node.as_mapping_mut() else { continue };
        root.remove(field);
        if entries.is_empty() {
            continue;
        }
        let mut map = Node::mapping();
        for (key, value) in entries {
            map.as_mapping_mut().expect("just made as one").insert(&key, Node::string(&value));
        }
        root.insert(field, map);
    }
    Ok(())
}

fn texts(node: Option<&Node>) -> Vec<(String, String)> {
    let mapping = node.and_then(Node::as_mapping);
    let entries = mapping.into_iter().flat_map(Mapping::iter);
    entries.map(|entry| (entry.key.to_string(), value_text(&entry.value).to_owned())).collect()
}

/// A Secret's `stringData` as its `data`.
fn encoded(node: Option<&Node>) -> Result<Vec<(String, String)>, Trouble> {
    let Some(node) = node.filter(|node| !is_nothing(node)) else { return Ok(Vec::new()) };
    let mapping = node.as_mapping().ok_or_else(|| Trouble::new(node.mark, "stringData: expected a mapping"))?;
    let mut entries = Vec::new();
    for entry in mapping.iter() {
        let value = &entry.value;
        if value.as_text().is_none() {
            return Err(Trouble::new(value.mark, format!("stringData.{}: expected a string", entry.key)));
        }
        entries.push((entry.key.to_string(), crate::generate::broken_base64(&STANDARD.encode(value_text(value)))));
    }
    Ok(entries)
}
