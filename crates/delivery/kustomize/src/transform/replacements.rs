//! `replacements`: a field of one object, or a given value, into fields of others.

use coracle_yaml::{FileId, Mark, Node, Repeated, Resolved, Scalar, Style, Value};
use regex::Regex;

use crate::error::Trouble;
use crate::fieldspec::split_brackets;
use crate::id::Id;
use crate::read::replacements::{FieldOptions, Replacement, Source, Target};
use crate::resource::Resource;
use crate::scalars::{is_nothing, text, value_text};

pub(super) fn all(replacements: &[Replacement], resources: &mut [Resource]) -> Result<(), Trouble> {
    for replacement in replacements {
        let targets = replacement.targets.as_ref();
        let (Some(targets), true) = (targets, replacement.source.is_some() || replacement.source_value.is_some())
        else {
            return Err(Trouble::new(replacement.mark, "a replacement needs a source and at least one target"));
        };
        let value = value(replacement, resources)?;
        for target in targets {
            apply(target, &value, resources).map_err(|trouble| trouble.or_at(target.mark))?;
        }
    }
    Ok(())
}

fn value(replacement: &Replacement, resources: &[Resource]) -> Result<Node, Trouble> {
    match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => {
            Err(Trouble::new(replacement.mark, "a replacement has either a source or a sourceValue, not both"))
        }
        (Some(source), None) => source_value(source, resources),
        (None, text) => Ok(Node::plain(text.as_deref().unwrap_or_default())),
    }
}

/// All names of a resource as selectors see them: without knowing what lives outside namespaces.
fn ids(resource: &Resource) -> Vec<Id> {
    let mut id = resource.id();
    id.cluster_scoped = false;
    let mut ids = vec![id];
    ids.extend(resource.previous_ids());
    ids
}

fn source_value(source: &Source, resources: &[Resource]) -> Result<Node, Trouble> {
    let trouble = |message: String| Trouble::new(source.mark, message);
    let wanted = Id {
        gvk: source.gvk.clone(),
        name: source.name.clone(),
        namespace: source.namespace.clone(),
        cluster_scoped: false,
    };
    let is_meant = |id: &Id| {
        (wanted.name.is_empty() || wanted.name == id.name)
            && (wanted.namespace.is_empty() || wanted.effective_namespace() == id.effective_namespace())
            && id.gvk.is_selected_by(&wanted.gvk)
    };
    let mut matches = resources.iter().filter(|resource| ids(resource).iter().any(is_meant));
    let found = matches.next().ok_or_else(|| trouble(format!("the source selects nothing: there is no {wanted}")))?;
    if let Some(other) = matches.next() {
        return Err(trouble(format!(
            "the source selects several objects, among them {} and {}",
            found.id(),
            other.id()
        )));
    }
    let steps = split_brackets(&source.field_path, '.');
    let node = lookup(&found.node, &steps).map_err(&trouble)?;
    let node = node
        .filter(|node| !is_nothing(node))
        .ok_or_else(|| trouble(format!("there is no field {:?} in {}", source.field_path, found.id())))?;
    refined(node, &source.options).map_err(trouble)
}

/// The node under a path of names, indices (`0`), the last element (`-`) and elements by value (`[name=x]`).
fn lookup<'a>(node: &'a Node, steps: &[String]) -> Result<Option<&'a Node>, String> {
    let mut node = node;
    for step in steps.iter().map(|step| step.trim()).filter(|step| !step.is_empty()) {
        if node.is_null() {
            return Ok(None);
        }
        let wrong = |wanted: &str| format!("{step:?}: expected {wanted}, found {}", node.describe());
        let found = if let Ok(index) = step.parse::<i64>() {
            let items = node.as_sequence().ok_or_else(|| wrong("a list"))?;
            let index = usize::try_from(index).map_err(|_| format!("the index {index} is negative"))?;
            items.get(index)
        } else if step == "-" {
            node.as_sequence().ok_or_else(|| wrong("a list"))?.last()
        } else if step == "*" {
            return Err("a source's field path cannot have *".to_owned());
        } else if is_element(step) {
            let (key, value) = element(step)?;
            let items = node.as_sequence().ok_or_else(|| wrong("a list"))?;
            items.iter().find(|item| match key {
                "" => text(item) == value,
                key => item.get(key).is_some_and(|field| text(field) == value),
            })
        } else {
            if node.as_mapping().is_none() {
                return Err(wrong("a mapping"));
            }
            node.get(step)
        };
        let Some(found) = found else { return Ok(None) };
        node = found;
    }
    Ok(Some(node))
}

fn is_element(step: &str) -> bool {
    step.starts_with('[') && step.ends_with(']')
}

fn element(step: &str) -> Result<(&str, &str), String> {
    let inner = step.strip_prefix('[').and_then(|step| step.strip_suffix(']')).unwrap_or(step);
    inner.split_once('=').ok_or_else(|| format!("{step:?}: expected [name=value]"))
}

/// One part of a source's value, where a delimiter says so.
fn refined(node: &Node, options: &FieldOptions) -> Result<Node, String> {
    if options.delimiter.is_empty() {
        return Ok(node.clone());
    }
    let Value::Scalar(scalar) = &node.value else {
        return Err("a delimiter splits text only, and the field is a mapping or a list".to_owned());
    };
    let parts: Vec<&str> = value_text(node).split(options.delimiter.as_str()).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| format!("there is no part {} in {:?}", options.index, value_text(node)))?;
    let scalar = Scalar { text: (*part).into(), ..scalar.clone() };
    Ok(Node { mark: node.mark, value: Value::Scalar(scalar) })
}

fn apply(target: &Target, value: &Node, resources: &mut [Resource]) -> Result<(), Trouble> {
    let Some(select) = &target.select else {
        return Err(Trouble::new(target.mark, "a target has to select resources"));
    };
    let select = select.matcher()?;
    let rejects = target.reject.iter().map(|reject| reject.matcher()).collect::<Result<Vec<_>, _>>()?;
    for resource in resources {
        let ids = ids(resource);
        let rejected = !select.fits_labels(resource)
            || rejects.iter().any(|reject| reject.has_labels && reject.fits_labels(resource))
            || rejects.iter().any(|reject| reject.has_id && ids.iter().any(|id| reject.fits_id(id)));
        if !rejected && ids.iter().any(|id| select.fits_id(id)) {
            let id = resource.id();
            copy(target, value, &mut resource.node)
                .map_err(|message| Trouble::new(target.mark, format!("{id}: {message}")))?;
        }
    }
    Ok(())
}

fn copy(target: &Target, value: &Node, node: &mut Node) -> Result<(), String> {
    let create = target.options.create.then(|| made_like(value));
    for path in &target.field_paths {
        let steps = split_brackets(path, '.');
        if set_in_text(node, &steps, value, &target.options).is_ok() {
            continue;
        }
        let mut found = Vec::new();
        find(node, &steps, create.as_ref(), &mut Vec::new(), &mut found)
            .map_err(|reason| format!("cannot find the field {path:?}: {reason}"))?;
        if found.is_empty() {
            let hint = if target.options.create { "" } else { " (options.create makes it)" };
            return Err(format!("there is no field {path:?}{hint}"));
        }
        for place in found {
            set(at_mut(node, &place), value, &target.options, false)?;
        }
    }
    Ok(())
}

/// An empty node of the kind the value has.
fn made_like(value: &Node) -> Node {
    match value.value {
        Value::Scalar(_) => Node::plain(""),
        Value::Sequence(_) => Node::sequence(Vec::new()),
        Value::Mapping(_) => Node::mapping(),
    }
}

/// What is made for the next step of a path, `last` at its end.
fn made_for(next: Option<&String>, last: &Node) -> Node {
    match next {
        Some(step) if is_element(step) || step.parse::<usize>().is_ok() => Node::sequence(Vec::new()),
        Some(step) if !step.is_empty() => Node::mapping(),
        _ => last.clone(),
    }
}

/// Which child is meant: the number of an entry or of an element.
type Place = Vec<usize>;

fn at_mut<'a>(node: &'a mut Node, place: &[usize]) -> &'a mut Node {
    place.iter().fold(node, |node, index| match &mut node.value {
        Value::Mapping(mapping) => {
            &mut mapping.iter_mut().nth(*index).expect("places are found in this very tree").value
        }
        Value::Sequence(items) => &mut items[*index],
        Value::Scalar(_) => unreachable!("places are found in this very tree"),
    })
}

/// Finds every node a path leads to; `*` is any element, and the value in `[name=value]` is a pattern.
fn find(
    node: &mut Node,
    steps: &[String],
    create: Option<&Node>,
    here: &mut Place,
    found: &mut Vec<Place>,
) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(here.clone());
        return Ok(());
    };
    let describe = node.describe();
    let is_null = node.is_null();
    let wrong = |wanted: &str| Err(format!("{step:?}: expected {wanted}, found {describe}"));
    let mut into = |child: &mut Node, index: usize, found: &mut Vec<Place>| {
        here.push(index);
        let result = find(child, rest, create, here, found);
        here.pop();
        result
    };
    if let Ok(index) = step.parse::<usize>() {
        let Some(items) = node.as_sequence_mut() else { return wrong("a list") };
        if index == items.len()
            && let Some(last) = create
        {
            items.push(made_for(rest.first(), last));
        }
        let length = items.len();
        let item = items.get_mut(index).ok_or_else(|| format!("there is no element {index} in a list of {length}"))?;
        return into(item, index, found);
    }
    if is_element(step) {
        let (key, pattern) = element(step)?;
        return match &mut node.value {
            _ if is_null => Ok(()),
            Value::Sequence(items) => find_elements(items, key, pattern, rest, create, here, found),
            _ => wrong("a list"),
        };
    }
    if step == "*" {
        return match &mut node.value {
            _ if is_null => Ok(()),
            Value::Sequence(items) => {
                items.iter_mut().enumerate().try_for_each(|(index, item)| into(item, index, found))
            }
            _ => wrong("a list"),
        };
    }
    let mapping = match &mut node.value {
        Value::Mapping(mapping) => mapping,
        _ if is_null => return Ok(()),
        _ => return wrong("a mapping"),
    };
    if mapping.get(step).is_none() {
        let Some(last) = create else { return Ok(()) };
        mapping.insert(step, made_for(rest.first(), last));
    }
    let (index, entry) = mapping
        .iter_mut()
        .enumerate()
        .find(|(_, entry)| &*entry.key == step.as_str())
        .expect("the field is there or was made");
    if !rest.is_empty() && entry.value.as_text().is_some() {
        // Text that is YAML was tried before; a change in it here would be lost.
        return Err(format!("{step:?} is text with no such field in it"));
    }
    into(&mut entry.value, index, found)
}

fn find_elements(
    items: &mut Vec<Node>,
    key: &str,
    pattern: &str,
    rest: &[String],
    create: Option<&Node>,
    here: &mut Place,
    found: &mut Vec<Place>,
) -> Result<(), String> {
    let regex = Regex::new(pattern).map_err(|_| format!("{pattern:?} is not a regular expression"))?;
    for attempt in 0..2 {
        let before = found.len();
        for (index, item) in items.iter_mut().enumerate() {
            let shown = match key {
                "" => Some(written(item)),
                key => item.get(key).map(written),
            };
            if !shown.is_some_and(|shown| regex.is_match(&shown)) {
                continue;
            }
            here.push(index);
            let result = if key.is_empty() {
                found.push(here.clone());
                Ok(())
            } else {
                find(item, rest, create, here, found)
            };
            here.pop();
            result?;
        }
        if found.len() > before || create.is_none() || attempt > 0 {
            break;
        }
        items.push(new_element(key, pattern));
    }
    Ok(())
}

fn new_element(key: &str, value: &str) -> Node {
    if key.is_empty() {
        return Node::plain(value);
    }
    let mut node = Node::mapping();
    node.as_mapping_mut().expect("just made as one").insert(key, Node::plain(value));
    node
}

/// A scalar as it stands in its file, with its quotes: what patterns see.
fn written(node: &Node) -> String {
    match &node.value {
        Value::Scalar(Scalar { text, style: Style::SingleQuoted, .. }) => format!("'{}'", text.replace('\'', "''")),
        Value::Scalar(Scalar { text, style: Style::DoubleQuoted, .. }) => format!("{text:?}"),
        Value::Scalar(scalar) => scalar.text.trim().to_owned(),
        _ => coracle_yaml::emit(&node.to_json()).trim().to_owned(),
    }
}

/// Sets a field: a scalar keeps its type, so what does not fit it is refused; within text it is written with a tag.
fn set(field: &mut Node, value: &Node, options: &FieldOptions, in_text: bool) -> Result<(), String> {
    let mut new = text(value).to_owned();
    if !options.delimiter.is_empty() {
        if field.as_text().is_none() {
            return Err("a delimiter splits text only, and the target is a mapping or a list".to_owned());
        }
        new = joined(text(field), value_text(value), options);
    }
    let Value::Scalar(old) = &field.value else {
        let mark = field.mark;
        *field = value.clone().at(mark);
        if !options.delimiter.is_empty() {
            field.value = Value::Scalar(Scalar { text: new.into(), style: Style::Plain, tag: None });
        }
        return Ok(());
    };
    let is_new = old.text.is_empty() && old.style == Style::Plain && old.tag.is_none() && field.mark == Mark::default();
    let scalar = Scalar { text: new.as_str().into(), style: old.style, tag: None };
    let fits = match (old.resolve(), scalar.resolve()) {
        _ if is_new || old.style != Style::Plain => true,
        (Resolved::String, _) => {
            field.value = Value::Scalar(Scalar { tag: Some("str".into()), ..scalar });
            return Ok(());
        }
        (Resolved::Float(_), Resolved::Int(_)) => true,
        (Resolved::Int(_) | Resolved::UInt(_), Resolved::Int(_) | Resolved::UInt(_)) => true,
        (old, new) => std::mem::discriminant(&old) == std::mem::discriminant(&new),
    };
    if !fits && !in_text {
        return Err(format!("{new:?} does not fit where {} stands", field.describe()));
    }
    let tag = match old.resolve() {
        _ if fits && is_new => None,
        _ if fits => old.tag.clone(),
        Resolved::Null => Some("null".into()),
        Resolved::Bool(_) => Some("bool".into()),
        Resolved::Float(_) => Some("float".into()),
        _ => Some("int".into()),
    };
    field.value = Value::Scalar(Scalar { tag, ..scalar });
    Ok(())
}

/// The text with one of its parts changed, or with one more in front or behind.
fn joined(old: &str, new: &str, options: &FieldOptions) -> String {
    let mut parts: Vec<&str> = old.split(options.delimiter.as_str()).collect();
    match usize::try_from(options.index) {
        Err(_) => parts.insert(0, new),
        Ok(index) if index >= parts.len() => parts.push(new),
        Ok(index) => parts[index] = new,
    }
    parts.join(&options.delimiter)
}

/// Sets a field within text that is YAML or JSON itself, as ConfigMaps hold it.
fn set_in_text(node: &mut Node, steps: &[String], value: &Node, options: &FieldOptions) -> Result<(), String> {
    let length = (1..steps.len())
        .find(|length| {
            let found = lookup(node, &steps[..*length]).ok().flatten();
            found.is_some_and(|found| found.as_text().is_some() && parsed(text(found)).is_some())
        })
        .ok_or("no text on the way")?;
    let (outer, inner) = steps.split_at(length);
    let field = place(node, outer).ok_or("no text on the way")?;
    let field = at_mut(node, &field);
    let old = text(field).to_owned();
    let mut tree = parsed(&old).ok_or("the text is no YAML")?;
    let create = options.create.then(|| made_like(value));
    let mut found = Vec::new();
    find(&mut tree, inner, create.as_ref(), &mut Vec::new(), &mut found)?;
    if found.is_empty() {
        return Err("there is no such field in the text".to_owned());
    }
    for place in found {
        set(at_mut(&mut tree, &place), value, options, true)?;
    }
    let text = super::replacements_text::written(&tree, &old)?;
    if let Value::Scalar(scalar) = &mut field.value {
        scalar.text = text.into();
    }
    Ok(())
}

fn parsed(text: &str) -> Option<Node> {
    let start = Mark { file: FileId::default(), line: 1, column: 1 };
    coracle_yaml::parse_first(text, start, Repeated::Refused).ok().flatten()
}

/// Where [`lookup`] finds a node.
fn place(node: &Node, steps: &[String]) -> Option<Place> {
    let mut here = Vec::new();
    let mut node = node;
    for step in steps.iter().filter(|step| !step.trim().is_empty()) {
        let next = lookup(node, std::slice::from_ref(step)).ok()??;
        let index = match &node.value {
            Value::Mapping(mapping) => mapping.iter().position(|entry| std::ptr::eq(&raw const entry.value, next))?,
            Value::Sequence(items) => items.iter().position(|item| std::ptr::eq(item, next))?,
            Value::Scalar(_) => return None,
        };
        here.push(index);
        node = next;
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::{FieldOptions, joined};

    fn check(old: &str, index: i64, expected: &str) {
        let options = FieldOptions { delimiter: ":".to_owned(), index, create: false };
        assert_eq!(joined(old, "x", &options), expected);
    }

    #[test]
    fn parts_are_replaced_or_added() {
        check("a:b", 1, "a:x");
        check("a:b", -1, "x:a:b");
        check("a:b", 7, "a:b:x");
    }
}
