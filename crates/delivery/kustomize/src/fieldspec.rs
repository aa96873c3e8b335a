//! Walking to the fields a transformer changes.

use coracle_yaml::{Mark, Node, Value};

use crate::resource::Gvk;

/// A field of some kinds of objects; empty parts of the kind fit all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub group: String,
    pub version: String,
    pub kind: String,
    /// Names between slashes; lists on the way are walked through, `\/` is a slash within a name.
    pub path: String,
    /// Make what is missing on the way.
    pub create: bool,
}

impl FieldSpec {
    pub fn new(kind: &str, path: &str, create: bool) -> Self {
        let (group_version, kind) = kind.rsplit_once('.').unwrap_or(("", kind));
        let (group, version) = group_version.split_once('/').unwrap_or((group_version, ""));
        FieldSpec {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            path: path.to_owned(),
            create,
        }
    }

    pub fn fits(&self, gvk: &Gvk) -> bool {
        gvk.is_selected_by(&self.group, &self.version, &self.kind)
    }
}

/// What the walk does at the end of a path; the error's text says what was wrong with the node there.
pub(crate) type Visit<'a> = dyn FnMut(&mut Node) -> Result<(), WalkError> + 'a;

/// Why a field could not be changed.
#[derive(Debug)]
pub(crate) struct WalkError {
    pub mark: Mark,
    pub message: String,
}

/// Calls `visit` on every node `spec` leads to in `node`; `make` gives a missing last field when the spec creates it.
pub(crate) fn walk(
    node: &mut Node,
    spec: &FieldSpec,
    make: Option<fn() -> Node>,
    visit: &mut Visit<'_>,
) -> Result<(), WalkError> {
    if !spec.fits(&Gvk::of(node)) {
        return Ok(());
    }
    let steps = split(&spec.path);
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    descend(node, &steps, make.filter(|_| spec.create), visit).map_err(|mut error| {
        error.message = format!("field {}: {}", spec.path, error.message);
        error
    })
}

/// The steps of a slash path.
pub(crate) fn split(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut chars = path.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                steps.last_mut().expect("starts with one").push('/');
            }
            '/' => steps.push(String::new()),
            other => steps.last_mut().expect("starts with one").push(other),
        }
    }
    steps
}

fn descend(
    node: &mut Node,
    steps: &[&str],
    make: Option<fn() -> Node>,
    visit: &mut Visit<'_>,
) -> Result<(), WalkError> {
    let Some((first, rest)) = steps.split_first() else { return visit(node) };
    if node.is_null() {
        return Ok(());
    }
    let mark = node.mark;
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| descend(item, steps, make, visit)),
        Value::Mapping(mapping) => {
            let name = first.strip_suffix("[]");
            let field = name.unwrap_or(first);
            let child = match make {
                Some(make) if name.is_none() => {
                    let make = if rest.is_empty() { make } else { Node::mapping };
                    let child = mapping.get_or_insert_with(field, make);
                    if child.is_null() {
                        *child = make().at(child.mark);
                    }
                    Some(child)
                }
                _ => mapping.get_mut(field),
            };
            child.map_or(Ok(()), |child| descend(child, rest, make, visit))
        }
        Value::Scalar(_) => {
            Err(WalkError { mark, message: format!("expected a mapping or a list here, found {}", node.describe()) })
        }
    }
}
