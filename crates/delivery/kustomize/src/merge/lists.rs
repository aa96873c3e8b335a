//! Lists that merge by the keys of their elements.

use coracle_yaml::{Node, Value};

use super::{DIRECTIVE, Directive, Merge, Outcome, Schema, read_directive};
use crate::error::Trouble;
use crate::scalars::{is_nothing, text};

/// The elements of both lists, and of what comes of merging them; lists are numbers into it.
struct Arena(Vec<Node>);

impl Merge<'_> {
    /// `keys` are empty for lists of plain values, which merge as sets.
    pub(super) fn walk_list(
        &mut self,
        dest: Option<&mut Node>,
        patch: Option<Node>,
        keys: &[String],
        schema: Option<Schema>,
    ) -> Result<Outcome, Trouble> {
        let own = dest.as_deref().filter(|dest| !dest.is_null()).is_some();
        let Some(mut patch) = patch else {
            let Some(dest) = dest else { return Ok(Outcome::Removed) };
            let merged = self.merge_lists(take_items(dest), None, keys, schema)?;
            dest.value = Value::Sequence(merged);
            return Ok(Outcome::Kept);
        };
        if patch.is_null() {
            return Ok(Outcome::Removed);
        }
        let directive = if own { list_directive(&mut patch)? } else { Directive::Replace };
        let mark = patch.mark;
        let items = take_items(&mut patch);
        match (directive, dest) {
            (Directive::Delete, _) => Ok(Outcome::Removed),
            (Directive::Merge, Some(dest)) => {
                let merged = self.merge_lists(take_items(dest), Some(items), keys, schema)?;
                dest.value = Value::Sequence(merged);
                Ok(Outcome::Kept)
            }
            _ => {
                let merged = self.merge_lists(items.clone(), Some(items), keys, schema)?;
                Ok(Outcome::Replaced(Node::sequence(merged).at(mark)))
            }
        }
    }

    fn merge_lists(
        &mut self,
        dest: Vec<Node>,
        patch: Option<Vec<Node>>,
        keys: &[String],
        schema: Option<Schema>,
    ) -> Result<Vec<Node>, Trouble> {
        let plain = [String::new()];
        let by_value = keys.is_empty();
        let keys = if by_value { &plain[..] } else { keys };
        let mut values = Vec::new();
        for item in patch.iter().flatten().chain(&dest) {
            let own: Vec<String> = if by_value { vec![text(item).to_owned()] } else { key_values(item, keys) };
            if !values.contains(&own) {
                values.push(own);
            }
        }
        if keys.len() > 1 {
            unite(&mut values);
        }
        let mut own: Vec<usize> = (0..dest.len()).collect();
        let mut arena = Arena(dest);
        let mut merged = Vec::new();
        let mut valid_keys = keys.to_vec();
        for wanted in &values {
            let (used_keys, used_values) = used(&values, wanted, keys);
            valid_keys.clone_from(&used_keys);
            let (find_keys, find_values) = used(std::slice::from_ref(&used_values), &used_values, &used_keys);
            let in_dest = own.iter().copied().find(|id| is_element(&arena.0[*id], &find_keys, &find_values));
            let in_patch = patch.iter().flatten().find(|item| is_element(item, &find_keys, &find_values)).cloned();
            let dest_node = in_dest.map(|id| &mut arena.0[id]);
            let id = match self.walk(dest_node, in_patch, schema.clone())? {
                Outcome::Kept => in_dest,
                Outcome::Replaced(node) => {
                    arena.0.push(node);
                    Some(arena.0.len() - 1)
                }
                Outcome::Removed => None,
            };
            let Some(id) = id.filter(|id| !is_gone(&arena.0[*id])) else {
                arena.set(&mut own, None, &used_keys, &used_values)?;
                continue;
            };
            if let Some(mapping) = arena.0[id].as_mapping_mut() {
                for (key, value) in used_keys.iter().zip(&used_values) {
                    if mapping.get(key).is_none() && !value.is_empty() {
                        mapping.insert(key, Node::string(value));
                    }
                }
            }
            arena.set(&mut merged, Some(id), &used_keys, &used_values)?;
        }
        if !values.is_empty() {
            arena.append(&mut merged, &own, &valid_keys)?;
        }
        Ok(merged.into_iter().map(|id| arena.0[id].clone()).collect())
    }
}

/// A null or an empty mapping is no element.
fn is_gone(node: &Node) -> bool {
    node.is_null() || node.as_mapping().is_some_and(coracle_yaml::Mapping::is_empty)
}

fn take_items(node: &mut Node) -> Vec<Node> {
    match &mut node.value {
        Value::Sequence(items) => std::mem::take(items),
        _ => Vec::new(),
    }
}

/// A list's directive is an element of its own that says nothing else. It goes, and with it all like it.
fn list_directive(patch: &mut Node) -> Result<Directive, Trouble> {
    let items = patch.as_sequence().unwrap_or_default();
    let Some(element) = items.iter().find(|item| item.get(DIRECTIVE).is_some()) else { return Ok(Directive::Merge) };
    let Some(node) = element.get(DIRECTIVE).filter(|_| element.as_mapping().is_some_and(|mapping| mapping.len() == 1))
    else {
        return Ok(Directive::Merge);
    };
    let (directive, word) = (read_directive(node)?, text(node).to_owned());
    if let Some(items) = patch.as_sequence_mut() {
        items.retain(|item| !is_gone(item) && item.get(DIRECTIVE).map(text) != Some(&word));
    }
    Ok(directive)
}

/// The values an element has for the keys; empty ones for those it lacks.
fn key_values(item: &Node, keys: &[String]) -> Vec<String> {
    let value = |key: &String| item.get(key).filter(|value| !is_nothing(value)).map(text).unwrap_or_default();
    keys.iter().map(|key| value(key).to_owned()).collect()
}

/// Elements that agree in one key and contradict each other in none are taken for the same.
fn unite(values: &mut [Vec<String>]) {
    for left in 0..values.len() {
        for right in 0..values.len() {
            if let Some(both) = united(&values[left], &values[right]) {
                values[left].clone_from(&both);
                values[right] = both;
            }
        }
    }
}

fn united(left: &[String], right: &[String]) -> Option<Vec<String>> {
    let mut agree = false;
    let mut both = Vec::with_capacity(left.len());
    for (left, right) in left.iter().zip(right) {
        if left != right && !left.is_empty() && !right.is_empty() {
            return None;
        }
        agree |= left == right;
        both.push(if left.is_empty() { right.clone() } else { left.clone() });
    }
    agree.then_some(both)
}

/// The keys that any of the elements has a value for, and the values of one of them; all keys if none has.
fn used(all: &[Vec<String>], values: &[String], keys: &[String]) -> (Vec<String>, Vec<String>) {
    let is_used = |index: usize| all.iter().any(|values| values.get(index).is_some_and(|value| !value.is_empty()));
    if !(0..keys.len()).any(is_used) {
        return (keys.to_vec(), values.to_vec());
    }
    let pick = |from: &[String]| {
        from.iter().enumerate().filter(|(index, _)| is_used(*index)).map(|(_, text)| text.clone()).collect()
    };
    (pick(keys), pick(values))
}

/// Whether an element has these values; the key of plain values is empty.
fn is_element(item: &Node, keys: &[String], values: &[String]) -> bool {
    if keys.first().is_none_or(|key| key.is_empty()) {
        return values.first().is_some_and(|value| text(item) == value);
    }
    keys.len() == values.len()
        && item.as_mapping().is_some()
        && keys.iter().zip(values).all(|(key, value)| item.get(key).is_some_and(|field| text(field) == value))
}

impl Arena {
    /// Puts an element in the place of those with the same values, or at the end; no element takes them away. An empty
    /// value fits any.
    fn set(
        &self,
        list: &mut Vec<usize>,
        element: Option<usize>,
        keys: &[String],
        values: &[String],
    ) -> Result<(), Trouble> {
        let is_keyed = keys.first().is_some_and(|key| !key.is_empty());
        let sets_mapping = is_keyed && values.first().is_some_and(|value| !value.is_empty());
        let mut found_any = false;
        let mut kept = Vec::with_capacity(list.len() + 1);
        for id in list.drain(..) {
            let item = &self.0[id];
            if is_gone(item) {
                continue;
            }
            if sets_mapping && item.as_mapping().is_none() {
                kept.push(id);
                continue;
            }
            if self.has(id, keys, values)? {
                found_any = true;
                kept.extend(element);
            } else if !values.is_empty() {
                kept.push(id);
            }
        }
        *list = kept;
        if let Some(id) = element.filter(|id| !found_any && !self.0[*id].is_null()) {
            list.push(id);
        }
        Ok(())
    }

    fn has(&self, id: usize, keys: &[String], values: &[String]) -> Result<bool, Trouble> {
        let item = &self.0[id];
        for (index, key) in keys.iter().enumerate() {
            let Some(value) = values.get(index) else { break };
            let fits = if key.is_empty() {
                if item.as_text().is_none() {
                    return Err(Trouble::new(item.mark, format!("expected a plain value, found {}", item.describe())));
                }
                text(item) == value
            } else {
                if item.as_mapping().is_none() {
                    return Err(Trouble::new(item.mark, format!("expected a mapping, found {}", item.describe())));
                }
                item.get(key).is_some_and(|field| value.is_empty() || text(field) == value)
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(!values.is_empty())
    }

    /// Adds the elements of the object behind those the patch named.
    fn append(&self, merged: &mut Vec<usize>, own: &[usize], keys: &[String]) -> Result<(), Trouble> {
        for &id in own {
            let item = &self.0[id];
            if keys[0].is_empty() {
                self.set(merged, Some(id), keys, &[text(item).to_owned()])?;
                continue;
            }
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                if item.as_mapping().is_none() && !item.is_null() {
                    return Err(Trouble::new(item.mark, format!("expected a mapping, found {}", item.describe())));
                }
                match item.get(key) {
                    Some(value) => values.push(text(value).to_owned()),
                    None => merged.push(id),
                }
            }
            if keys.len() > 1 {
                self.set(merged, None, keys, &values)?;
            }
            self.set(merged, Some(id), keys, &values)?;
        }
        Ok(())
    }
}
