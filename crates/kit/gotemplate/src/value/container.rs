//! Slices and maps.

use std::{
    cell::{Ref, RefCell, RefMut},
    collections::BTreeMap,
    ops::Deref,
    rc::Rc,
};

use super::{Str, Value};

/// The static type of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// `[]interface {}`
    Any,
    /// `[]string`
    String,
    /// `[]int`
    Int,
    /// Another slice type, by its whole name.
    Named(&'static str),
}

impl ListType {
    pub const fn name(self) -> &'static str {
        match self {
            ListType::Any => "[]interface {}",
            ListType::String => "[]string",
            ListType::Int => "[]int",
            ListType::Named(name) => name,
        }
    }
}

/// The static type of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DictType {
    /// `map[string]interface {}`
    Any,
    /// `map[string]string`
    String,
    /// A named type whose underlying type is `map[string]interface {}`, such as `common.Values`.
    Named(&'static str),
}

impl DictType {
    pub const fn name(self) -> &'static str {
        match self {
            DictType::Any => "map[string]interface {}",
            DictType::String => "map[string]string",
            DictType::Named(name) => name,
        }
    }
}

/// A slice; it never changes once made. Derefs to a Rust slice.
pub struct List {
    list_type: ListType,
    items: Vec<Value>,
}

impl List {
    pub fn new(list_type: ListType, items: Vec<Value>) -> List {
        List { list_type, items }
    }

    pub fn list_type(&self) -> ListType {
        self.list_type
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.items
    }
}

impl Drop for List {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.items));
    }
}

/// A map with text keys, in key order. It is shared and changes in place, as Go's maps do.
pub struct Dict {
    dict_type: DictType,
    entries: RefCell<BTreeMap<Str, Value>>,
}

impl Default for Dict {
    fn default() -> Dict {
        Dict::new(DictType::Any)
    }
}

impl Dict {
    pub fn new(dict_type: DictType) -> Dict {
        Dict { dict_type, entries: RefCell::default() }
    }

    pub fn from_entries<K: Into<Str>>(dict_type: DictType, entries: impl IntoIterator<Item = (K, Value)>) -> Dict {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Dict { dict_type, entries: RefCell::new(entries) }
    }

    pub fn dict_type(&self) -> DictType {
        self.dict_type
    }

    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.entries.borrow().contains_key(key)
    }

    pub fn get(&self, key: &str) -> Option<Value> {
        self.entries.borrow().get(key).cloned()
    }

    pub fn set(&self, key: impl Into<Str>, value: Value) {
        self.entries.borrow_mut().insert(key.into(), value);
    }

    pub fn remove(&self, key: &str) -> Option<Value> {
        self.entries.borrow_mut().remove(key)
    }

    /// The entries, to read. Nothing may change this map while the borrow lives.
    pub fn entries(&self) -> Ref<'_, BTreeMap<Str, Value>> {
        self.entries.borrow()
    }

    /// The entries, to change. Nothing else may touch this map while the borrow lives.
    pub fn entries_mut(&self) -> RefMut<'_, BTreeMap<Str, Value>> {
        self.entries.borrow_mut()
    }

    /// The entries as they are now, for loops whose body may change the map.
    pub fn snapshot(&self) -> Vec<(Str, Value)> {
        self.entries.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        dismantle(std::mem::take(self.entries.get_mut()).into_values().collect());
    }
}

/// Drops values without recursion, however deeply they are nested.
fn dismantle(mut pending: Vec<Value>) {
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    pending.append(&mut list.items);
                }
            }
            Value::Dict(dict) => {
                if let Some(mut dict) = Rc::into_inner(dict) {
                    pending.extend(std::mem::take(dict.entries.get_mut()).into_values());
                }
            }
            _ => {}
        }
    }
}
