//! `vars`: `$(NAME)` in some fields is filled with a field of another object.

use std::collections::{BTreeMap, BTreeSet};

use coracle_yaml::{Node, Resolved, Scalar, Style, Value};

use crate::config::Config;
use crate::error::Trouble;
use crate::fieldspec::{Make, split_brackets, walk};
use crate::id::Id;
use crate::read::Variable;
use crate::resources::Resources;
use crate::scalars::text;

/// The variables of all layers so far, by name.
pub(crate) type Variables = BTreeMap<String, Variable>;

/// Adds variables; the objects they read from remember them, to be found again under later names.
pub(crate) fn add(variables: &mut Variables, incoming: &[Variable], resources: &mut Resources) -> Result<(), Trouble> {
    for variable in incoming {
        let wanted = Id {
            gvk: variable.gvk.clone(),
            name: variable.object_name.clone(),
            namespace: variable.object_namespace.clone(),
            cluster_scoped: false,
        };
        let is_meant = |id: &Id| {
            id.name == wanted.name
                && id.gvk == wanted.gvk
                && (wanted.namespace.is_empty() || id.effective_namespace() == wanted.effective_namespace())
        };
        match resources.with_any_id(&variable.object_name, is_meant).as_slice() {
            [] => {}
            [index] => resources.list[*index].variables.push(variable.name.clone()),
            _ => {
                let message = format!("the variable {:?} could read from several objects", variable.name);
                return Err(Trouble::new(variable.mark, message));
            }
        }
    }
    merge(variables, incoming.iter().cloned())
}

pub(crate) fn merge(variables: &mut Variables, incoming: impl IntoIterator<Item = Variable>) -> Result<(), Trouble> {
    for variable in incoming {
        let (name, mark) = (variable.name.clone(), variable.mark);
        if variables.insert(name.clone(), variable).is_some() {
            return Err(Trouble::new(mark, format!("the variable {name:?} is defined twice")));
        }
    }
    Ok(())
}

/// Fills all variables in; gives those that no field asked for.
pub(crate) fn fill(variables: &Variables, resources: &mut Resources, config: &Config) -> Result<Vec<String>, Trouble> {
    if variables.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = BTreeMap::new();
    for variable in variables.values() {
        values.insert(variable.name.as_str(), value_of(variable, resources)?);
    }
    let mut filler = Filler { values, used: BTreeSet::new() };
    for resource in &mut resources.list {
        let mark = resource.mark();
        for spec in &config.var_reference {
            let filled = walk(&mut resource.node, spec, Make::Nothing, &mut |node| filler.fill(node));
            filled.map_err(|trouble| trouble.or_at(mark))?;
        }
    }
    let unused = variables.keys().filter(|name| !filler.used.contains(name.as_str()));
    Ok(unused.cloned().collect())
}

fn value_of(variable: &Variable, resources: &Resources) -> Result<Node, Trouble> {
    let Some(resource) = resources.list.iter().find(|resource| resource.variables.contains(&variable.name)) else {
        let message = format!(
            "the variable {:?} reads from {} {:?}, which is not there",
            variable.name, variable.gvk.kind, variable.object_name
        );
        return Err(Trouble::new(variable.mark, message));
    };
    let steps = split_brackets(&variable.field_path, '.');
    let mut node = &resource.node;
    for step in steps.iter().flat_map(|step| with_index(step)) {
        let next = match &node.value {
            Value::Mapping(mapping) => mapping.get(step),
            Value::Sequence(items) => element(items, step),
            Value::Scalar(_) => None,
        };
        node = next.ok_or_else(|| {
            let message = format!("the variable {:?}: there is no field {:?}", variable.name, variable.field_path);
            Trouble::new(variable.mark, message)
        })?;
    }
    Ok(node.clone())
}

/// `containers[0]` is two steps.
fn with_index(step: &str) -> Vec<&str> {
    let parts = step.strip_suffix(']').and_then(|inner| inner.rsplit_once('['));
    match parts {
        Some((name, index)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => {
            if name.is_empty() { vec![index] } else { vec![name, index] }
        }
        _ => vec![step],
    }
}

fn element<'a>(items: &'a [Node], step: &str) -> Option<&'a Node> {
    if let Ok(index) = step.parse::<usize>() {
        return items.get(index);
    }
    if step == "-" {
        return items.last();
    }
    let (key, value) = step.strip_prefix('[')?.strip_suffix(']')?.split_once('=')?;
    items.iter().find(|item| match key {
        "" => text(item) == value,
        key => item.get(key).is_some_and(|field| text(field) == value),
    })
}

struct Filler<'a> {
    values: BTreeMap<&'a str, Node>,
    used: BTreeSet<String>,
}

impl Filler<'_> {
    fn fill(&mut self, node: &mut Node) -> Result<(), Trouble> {
        if node.is_null() {
            return Ok(());
        }
        match &mut node.value {
            Value::Scalar(_) => self.fill_scalar(node),
            Value::Mapping(mapping) => {
                for entry in mapping.iter_mut() {
                    if entry.key_is_bare() {
                        return Err(Trouble::new(entry.key_mark, format!("the key {} is no string", entry.key)));
                    }
                    self.fill_scalar(&mut entry.value);
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    if !is_string(item) {
                        let message = format!("expected a string, found {}", item.describe());
                        return Err(Trouble::new(item.mark, message));
                    }
                    self.fill_scalar(item);
                }
            }
        }
        Ok(())
    }

    fn fill_scalar(&mut self, node: &mut Node) {
        if is_string(node) {
            let filled = self.expand(text(node));
            node.value = Value::Scalar(filled);
        }
    }

    /// A text that is one variable takes over its type; else the values are put in as text. `$$` stands for `$`.
    fn expand(&mut self, input: &str) -> Scalar {
        if let Some(name) = input.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'))
            && !name.contains(')')
        {
            return self.value(name).unwrap_or_else(|| string(input));
        }
        let mut output = String::with_capacity(input.len());
        let mut rest = input;
        while let Some(at) = rest.find('$') {
            output.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let name = after.strip_prefix('(').and_then(|inner| inner.find(')').map(|end| &inner[..end]));
            if let Some(name) = name {
                match self.value(name) {
                    Some(value) => output.push_str(&as_text(&value)),
                    None => output.push_str(&format!("$({name})")),
                }
                rest = &after[name.len() + 2..];
            } else if let Some(after) = after.strip_prefix('$') {
                output.push('$');
                rest = after;
            } else {
                output.push('$');
                rest = after;
            }
        }
        output.push_str(rest);
        string(&output)
    }

    fn value(&mut self, name: &str) -> Option<Scalar> {
        let Value::Scalar(scalar) = &self.values.get(name)?.value else { return None };
        self.used.insert(name.to_owned());
        Some(match scalar.resolve() {
            Resolved::String | Resolved::Timestamp(_) | Resolved::Null => string(&scalar.text),
            _ => Scalar { text: scalar.text.clone(), style: Style::Plain, tag: None },
        })
    }
}

fn is_string(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.resolve() == Resolved::String,
        _ => false,
    }
}

fn string(text: &str) -> Scalar {
    Scalar { text: text.into(), style: Style::Plain, tag: Some("str".into()) }
}

/// A value within a longer text: floats as Go prints them.
fn as_text(scalar: &Scalar) -> String {
    match scalar.resolve() {
        Resolved::Int(value) => value.to_string(),
        Resolved::Bool(value) => value.to_string(),
        _ => scalar.text.to_string(),
    }
}
