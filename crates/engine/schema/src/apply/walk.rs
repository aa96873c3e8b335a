//! Walking objects by their types: which fields an object has, how two objects differ, merging one into another, and taking
//! fields out. Types decide what is one field: scalars, atomic lists and atomic maps are; other maps and lists are walked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::set::{Set, field};
use crate::types::{ListType, Shape, Type};

/// A type, or none: values without a type are walked as far as maps go, and their lists are atomic.
type Of<'a> = Option<Type<'a>>;

/// How a value is walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Scalar,
    /// One field as a whole, though it has parts.
    Atomic,
    Map,
    List,
}

fn form(of: Of<'_>, value: &Value) -> Form {
    let Some(of) = of else { return deduced(value) };
    match of.shape() {
        Shape::Object if of.is_atomic() => Form::Atomic,
        Shape::Object => Form::Map,
        Shape::List if of.list_type() == ListType::Atomic => Form::Atomic,
        Shape::List => Form::List,
        Shape::Any if of.is_atomic() => Form::Atomic,
        Shape::Any => deduced(value),
        _ => Form::Scalar,
    }
}

fn deduced(value: &Value) -> Form {
    match value {
        Value::Object(_) => Form::Map,
        Value::Array(_) => Form::Atomic,
        _ => Form::Scalar,
    }
}

/// The type of a member; `Err` when the type has no such member.
fn member<'a>(of: Of<'a>, name: &str) -> Result<Of<'a>, ()> {
    match of {
        None => Ok(None),
        Some(of) => match of.member(name) {
            Some(member) => Ok(Some(member)),
            None if of.preserves_unknown() || of.shape() == Shape::Any => Ok(None),
            None => Err(()),
        },
    }
}

fn is_struct_field(of: Of<'_>, name: &str) -> bool {
    of.is_some_and(|of| of.field(name).is_some())
}

fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(Vec::as_slice)
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

/// The path element of an item of a set or an associative list.
fn item_element(of: Type<'_>, item: &Value) -> Result<String, String> {
    if of.list_type() == ListType::Set {
        return match item {
            Value::Object(_) | Value::Array(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(format!("v:{scalar}")),
        };
    }
    let Value::Object(item) = item else {
        let problem = if item.is_null() { "a null element" } else { "non-map elements" };
        return Err(format!("associative list with keys may not have {problem}"));
    };
    let mut keys = Map::new();
    for key in of.keys() {
        let default = || {
            let element = of.element()?;
            let field = element.field(key)?;
            match (field.default_text(), field.value().shape()) {
                (Some(text), _) => serde_json::from_str(text).ok(),
                // A built-in type's key is never absent: it has its type's zero.
                (None, Shape::String) if !element.name().is_empty() => Some(Value::from("")),
                (None, Shape::Integer) if !element.name().is_empty() => Some(Value::from(0)),
                _ => None,
            }
        };
        let given = item.get(key).filter(|value| !value.is_null());
        // An empty text will be defaulted, and must name the same item before and after.
        let given = given.filter(|value| **value != "").cloned().or_else(default).or_else(|| given.cloned());
        match given {
            Some(value) => keys.insert(key.to_owned(), value),
            None => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                ));
            }
        };
    }
    Ok(format!("k:{}", Value::Object(keys)))
}

/// For objects already stored, whose lists may break the rules: such items go by position.
fn item_element_or_position(of: Type<'_>, item: &Value, position: usize) -> String {
    item_element(of, item).unwrap_or_else(|_| format!("i:{position}"))
}

/// Checks a configuration against its type, in the words upstream's typed values use.
pub(crate) fn problems(of: Type<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(Some(of), value, "", &mut found);
    found
}

fn check(of: Of<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(typed) = of else { return };
    if value.is_null() {
        return;
    }
    let expected = match (typed.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            for (name, value) in members {
                let path = format!("{path}.{name}");
                match member(of, name) {
                    Ok(inner) => check(inner, value, &path, found),
                    Err(()) => found.push(format!("{path}: field not declared in schema")),
                }
            }
            return;
        }
        (Shape::List, Value::Array(items)) => return check_list(typed, items, path, found),
        (Shape::Any | Shape::IntOrString | Shape::Quantity, _) => return,
        (Shape::String, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => return,
        (Shape::Integer | Shape::Number, Value::Number(_)) => return,
        (Shape::Object, _) => "map",
        (Shape::List, _) => "list",
        (Shape::String, _) => "string",
        (Shape::Boolean, _) => "boolean",
        (Shape::Integer | Shape::Number, _) => "numeric (int or float)",
    };
    let shown = match value {
        Value::String(_) => "string".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        other => other.to_string(),
    };
    found.push(format!("{path}: expected {expected}, got {shown}"));
}

fn check_list(of: Type<'_>, items: &[Value], path: &str, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (position, item) in items.iter().enumerate() {
        if of.list_type() == ListType::Atomic {
            check(of.element(), item, &format!("{path}[{position}]"), found);
            continue;
        }
        match item_element(of, item) {
            Ok(element) => {
                let mut one = Set::default();
                one.insert(std::slice::from_ref(&element));
                let shown = one.paths().concat();
                if seen.insert(element) {
                    check(of.element(), item, &format!("{path}{shown}"), found);
                } else {
                    found.push(format!("{path}: duplicate entries for key {shown}"));
                }
            }
            Err(problem) => found.push(format!("{path}: element {position}: {problem}")),
        }
    }
}

/// The fields an object has.
pub(crate) fn field_set(of: Type<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    collect(Some(of), value, &mut Vec::new(), &mut set);
    set
}

fn collect(of: Of<'_>, value: &Value, path: &mut Vec<String>, set: &mut Set) {
    match (form(of, value), value) {
        (Form::Map, Value::Object(members)) => {
            for (name, value) in members {
                path.push(field(name));
                if let Ok(inner) = member(of, name) {
                    collect(inner, value, path, set);
                }
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !is_struct_field(of, name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Form::List, Value::Array(items)) => {
            let Some(of) = of else { return };
            for (element, group) in grouped(of, items) {
                path.push(element);
                if let [item] = group[..] {
                    collect(of.element(), item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        (Form::Map | Form::List, _) => {}
        (Form::Scalar | Form::Atomic, _) => set.insert(path),
    }
}

/// A list's items by path element, in order of first appearance; only a broken list has more than one in a group.
fn grouped<'v>(of: Type<'_>, items: &'v [Value]) -> Vec<(String, Vec<&'v Value>)> {
    let mut groups: Vec<(String, Vec<&Value>)> = Vec::with_capacity(items.len());
    let mut index: HashMap<String, usize> = HashMap::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let element = item_element_or_position(of, item, position);
        match index.get(&element) {
            Some(at) => groups[*at].1.push(item),
            None => {
                index.insert(element.clone(), groups.len());
                groups.push((element, vec![item]));
            }
        }
    }
    groups
}

/// How one object differs from another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub added: Set,
    pub removed: Set,
    pub modified: Set,
    /// Whether the objects are of a built-in kind.
    is_builtin: bool,
}

pub(crate) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison { is_builtin: !of.name().is_empty(), ..Comparison::default() };
    difference(Some(of), Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

impl Comparison {
    pub(crate) fn without(self, ignored: &Set) -> Self {
        if ignored.is_empty() {
            return self;
        }
        Self {
            added: self.added.without_trees(ignored),
            removed: self.removed.without_trees(ignored),
            modified: self.modified.without_trees(ignored),
            ..self
        }
    }
}

/// What upstream's types hold by value or write even when it is empty: always there, so that nobody adds it.
const ALWAYS_THERE: [&str; 12] = [
    "f:metadata",
    "f:spec",
    "f:status",
    "f:template",
    "f:strategy",
    "f:updateStrategy",
    "f:jobTemplate",
    "f:containers",
    "f:scaleTargetRef",
    "f:names",
    "f:resources",
    "f:podSelector",
];

/// Custom resources are not held in such types; of them only the metadata is.
fn is_always_there(path: &[String], is_builtin: bool) -> bool {
    match is_builtin {
        true => path.iter().all(|element| ALWAYS_THERE.contains(&element.as_str())),
        false => path == [ALWAYS_THERE[0]],
    }
}

fn difference(of: Of<'_>, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<String>, out: &mut Comparison) {
    let Some(present) = new.or(old) else { return };
    // Most of what a change leaves alone is seen to be equal at once, without a path to each of its fields.
    if old == new {
        return;
    }
    let both_forms = (old.map(|old| form(of, old)), new.map(|new| form(of, new)));
    let walked = match both_forms {
        (Some(old), Some(new)) if old != new => Form::Atomic,
        _ => form(of, present),
    };
    let is_leaf = matches!(walked, Form::Scalar | Form::Atomic) || (is_empty(old) && is_empty(new));
    if is_leaf {
        match (old, new) {
            (None, new) if is_empty(new) && is_always_there(path, out.is_builtin) => {}
            (None, _) => out.added.insert(path),
            (_, None) => out.removed.insert(path),
            (Some(old), Some(new)) if !same(old, new) => out.modified.insert(path),
            _ => {}
        }
        return;
    }
    match (walked, of) {
        (Form::List, Some(of)) => difference_of_lists(of, items(old), items(new), path, out),
        _ => difference_of_maps(of, members(old), members(new), path, out),
    }
    if old.is_none() && !is_always_there(path, out.is_builtin) {
        out.added.insert(path);
    } else if new.is_none() {
        out.removed.insert(path);
    }
}

/// Equality as upstream's typed values have it: 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn difference_of_maps(
    of: Of<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let names = old.into_iter().flatten().map(|(name, _)| name);
    let added =
        new.into_iter().flatten().map(|(name, _)| name).filter(|name| !old.is_some_and(|old| old.contains_key(*name)));
    for name in names.chain(added) {
        let inner = member(of, name).unwrap_or(None);
        path.push(field(name));
        difference(inner, old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)), path, out);
        path.pop();
    }
}

fn difference_of_lists(
    of: Type<'_>,
    old: Option<&[Value]>,
    new: Option<&[Value]>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let mut groups: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (element, group) in grouped(of, old.unwrap_or_default()) {
        groups.entry(element).or_default().0 = group;
    }
    for (element, group) in grouped(of, new.unwrap_or_default()) {
        groups.entry(element).or_default().1 = group;
    }
    for (element, (old, new)) in groups {
        path.push(element);
        match (&old[..], &new[..]) {
            ([] | [_], [] | [_]) => {
                difference(of.element(), old.first().copied(), new.first().copied(), path, out);
            }
            ([], _) => out.added.insert(path),
            (_, []) => out.removed.insert(path),
            (old, new) if old != new => out.modified.insert(path),
            _ => {}
        }
        path.pop();
    }
}

/// The live object with a configuration laid over it.
pub(crate) fn merge(of: Type<'_>, live: &Value, config: &Value) -> Value {
    laid_over(Some(of), Some(live), Some(config)).unwrap_or(Value::Null)
}

fn laid_over(of: Of<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (live, config) = match (live, config) {
        (Some(live), Some(config)) => (live, config),
        (live, config) => return config.or(live).cloned(),
    };
    match (form(of, config), live, config) {
        (Form::Map, Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, value) in config {
                let inner = member(of, name).unwrap_or(None);
                if let Some(value) = laid_over(inner, live.get(name), Some(value)) {
                    merged.insert(name.clone(), value);
                }
            }
            Some(Value::Object(merged))
        }
        // Null says the map is named, not that it should be emptied.
        (Form::Map | Form::List, live, Value::Null) if !is_empty(Some(live)) => Some(live.clone()),
        (Form::List, Value::Array(live), Value::Array(config)) => {
            of.map(|of| Value::Array(merged_list(of, live, config)))
        }
        (_, _, config) => Some(config.clone()),
    }
}

/// Items of the configuration keep its order; live items it does not have stay where they were among the others.
fn merged_list(of: Type<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let element = |(position, item)| item_element_or_position(of, item, position);
    let live_elements: Vec<String> = live.iter().enumerate().map(element).collect();
    let config_elements: Vec<String> = config.iter().enumerate().map(element).collect();
    let in_live: HashMap<&str, &Value> = live_elements.iter().map(String::as_str).zip(live).collect();
    let in_config: HashMap<&str, &Value> = config_elements.iter().map(String::as_str).zip(config).collect();
    let mut shared = config_elements.iter().filter(|element| in_live.contains_key(element.as_str()));
    let mut next_shared = shared.next();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if l < live.len() && c < config.len() && live_elements[l] != config_elements[c] {
            let is_shared = in_config.contains_key(live_elements[l].as_str());
            if is_shared && next_shared.is_some_and(|next| *next != live_elements[l]) {
                // It comes up when the configuration's order reaches it.
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            if !in_config.contains_key(live_elements[l].as_str()) {
                merged.push(live[l].clone());
                l += 1;
                continue;
            }
            if taken.contains(live_elements[l].as_str()) {
                l += 1;
                continue;
            }
        }
        if c < config.len() {
            let element = &config_elements[c];
            if l < live.len() && live_elements[l] == *element {
                l += 1;
            }
            taken.insert(element);
            merged.extend(laid_over(of.element(), in_live.get(element.as_str()).copied(), Some(&config[c])));
            c += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        } else {
            l += 1;
        }
    }
    merged
}

/// Owned fields as a changed schema sees them: what became atomic is owned as a whole. What is no longer atomic is taken to have
/// never been. `None` when nothing changed.
pub(crate) fn reconciled(of: Type<'_>, value: &Value, owned: &Set) -> Option<Set> {
    let mut changed = false;
    let mut set = Set::default();
    reconcile(Some(of), Some(value), owned, &mut Vec::new(), &mut set, &mut changed);
    changed.then_some(set)
}

fn reconcile(
    of: Of<'_>,
    value: Option<&Value>,
    owned: &Set,
    path: &mut Vec<String>,
    out: &mut Set,
    changed: &mut bool,
) {
    for (element, is_member, below) in owned.elements() {
        let inner = match element.strip_prefix("f:") {
            Some(name) => member(of, name).unwrap_or(None),
            None => of.and_then(Type::element),
        };
        let value = value.and_then(|value| part(of, value, element));
        path.push(element.to_owned());
        let walked = inner.zip(value).map(|(inner, value)| form(Some(inner), value));
        match (walked, value) {
            (Some(Form::Atomic), _) if !below.is_empty() => {
                *changed = true;
                out.insert(path);
            }
            _ => {
                if is_member {
                    out.insert(path);
                }
                reconcile(inner, value, below, path, out, changed);
            }
        }
        path.pop();
    }
}

fn part<'v>(of: Of<'_>, value: &'v Value, element: &str) -> Option<&'v Value> {
    match (element.strip_prefix("f:"), value, of) {
        (Some(name), Value::Object(members), _) => members.get(name),
        (None, Value::Array(items), Some(of)) => {
            let mut items = items.iter().enumerate();
            items.find(|(at, item)| item_element_or_position(of, item, *at) == element).map(|(_, item)| item)
        }
        _ => None,
    }
}

/// The object without the given fields; what is left empty goes with them.
pub(crate) fn remove(of: Type<'_>, value: &Value, removed: &Set) -> Value {
    if removed.is_empty() {
        return value.clone();
    }
    without(Some(of), value, removed).unwrap_or(Value::Null)
}

fn without(of: Of<'_>, value: &Value, removed: &Set) -> Option<Value> {
    match (form(of, value), value) {
        (Form::Map, Value::Object(members)) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let element = field(name);
                if removed.has_element(&element) {
                    continue;
                }
                let value = match removed.below(&element) {
                    Some(below) => without(member(of, name).unwrap_or(None), value, below),
                    None => Some(value.clone()),
                };
                if let Some(value) = value {
                    kept.insert(name.clone(), value);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Form::List, Value::Array(items)) => {
            let of = of?;
            let mut kept = Vec::new();
            for (position, item) in items.iter().enumerate() {
                let element = item_element_or_position(of, item, position);
                if removed.has_element(&element) {
                    continue;
                }
                match removed.below(&element) {
                    Some(below) => kept.extend(without(of.element(), item, below)),
                    None => kept.push(item.clone()),
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (Form::Scalar, value) => Some(value.clone()),
        _ => None,
    }
}
