//! JSON 6902 patches, applied to the tree.
//!
//! Where the original's library is lenient, so is this: replacing what is not there adds it to a mapping, and a path
//! needs no slash in front. An object that was patched so has been through JSON: its numbers are floats since then,
//! and its dates strings.

use coracle_yaml::decode::{Fields, Manner};
use coracle_yaml::{Mark, Node, Resolved, Scalar, Style, Value, go_float};

use crate::error::Trouble;

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    mark: Mark,
    op: String,
    path: Option<String>,
    from: Option<String>,
    /// Null when there is none.
    value: Option<Node>,
}

type Result<T> = std::result::Result<T, Trouble>;

/// The operations of a patch document (a list).
pub(crate) fn read(node: &Node) -> Result<Vec<Operation>> {
    let items = node.as_sequence().ok_or_else(|| Trouble::new(node.mark, "expected a list of operations"))?;
    items.iter().enumerate().map(|(index, item)| operation(item, index)).collect()
}

fn operation(node: &Node, index: usize) -> Result<Operation> {
    let mut fields = Fields::read(node, &format!("[{index}]"), Manner::Json)?;
    let op = fields.string("op")?;
    let (path, from) = (fields.text("path")?, fields.text("from")?);
    let value = fields.any_node("value").cloned().map(|mut value| {
        through_json(&mut value, true);
        value
    });
    Ok(Operation { mark: node.mark, op, path: path.map(|path| path.value), from: from.map(|from| from.value), value })
}

/// Applies all operations in order; the error points at the one that failed.
pub(crate) fn apply(target: &mut Node, operations: &[Operation]) -> Result<()> {
    if let Some((mark, key)) = crate::documents::bare_key(target) {
        return Err(Trouble::new(mark, format!("the key {key} is no string; put it in quotes")));
    }
    crate::folded::rewrite(target);
    through_json(target, false);
    operations.iter().try_for_each(|operation| {
        operation.apply(target).map_err(|message| {
            let path = operation.path.as_deref().unwrap_or_default();
            Trouble::new(operation.mark, format!("{} {path}: {message}", operation.op))
        })
    })
}

/// Leaves of a tree what is left of it when it is written as JSON and read again. A patch is read by the rules of YAML
/// 1.1, where `yes` is a truth value.
fn through_json(node: &mut Node, is_patch: bool) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(|item| through_json(item, is_patch)),
        Value::Mapping(mapping) => {
            for entry in mapping.iter_mut() {
                if is_patch {
                    entry.key = entry.old_key().into();
                }
                entry.key_quoted = true;
                through_json(&mut entry.value, is_patch);
            }
        }
        Value::Scalar(scalar) => {
            let resolved = if is_patch { scalar.resolve_old() } else { scalar.resolve() };
            let plain = |text: &str| Scalar { text: text.into(), style: Style::Plain, tag: None };
            *scalar = match resolved {
                Resolved::Null => plain("null"),
                Resolved::Bool(value) => plain(if value { "true" } else { "false" }),
                Resolved::Int(value) => plain(&go_float(value as f64)),
                Resolved::UInt(value) => plain(&go_float(value as f64)),
                Resolved::Float(value) => plain(&go_float(value)),
                Resolved::Timestamp(_) if is_patch => string(&scalar.text),
                Resolved::Timestamp(text) => string(&text),
                Resolved::String => string(&scalar.text),
            };
        }
    }
}

fn string(text: &str) -> Scalar {
    Scalar { text: text.into(), style: Style::Plain, tag: Some("str".into()) }
}

type Step<T> = std::result::Result<T, String>;

impl Operation {
    fn apply(&self, target: &mut Node) -> Step<()> {
        let value = || self.value.clone().unwrap_or_else(Node::null);
        let path = self.path.as_deref().ok_or("the operation has no path")?;
        let from = || self.from.as_deref().ok_or("the operation has no from");
        match self.op.as_str() {
            "add" => add(target, path, value()),
            "remove" => remove(target, path).map(drop),
            "replace" => replace(target, path, value()),
            "move" => {
                let node = remove(target, from()?)?;
                add(target, path, node)
            }
            "copy" => {
                let node = get(target, from()?)?.cloned().unwrap_or_else(Node::null);
                add(target, path, node)
            }
            "test" => self.test(target, path),
            other => Err(format!("expected add, remove, replace, move, copy or test, found {other:?}")),
        }
    }

    fn test(&self, target: &mut Node, path: &str) -> Step<()> {
        let wanted = self.value.as_ref().filter(|value| !value.is_null());
        let found = if path.is_empty() { Some(&*target) } else { get(target, path)? };
        let found = found.filter(|found| !found.is_null());
        match (found, wanted) {
            (None, None) => Ok(()),
            (Some(found), Some(wanted)) if found.to_json() == wanted.to_json() => Ok(()),
            (Some(found), _) => Err(format!("found {} there", found.describe())),
            (None, Some(_)) => Err(not_there()),
        }
    }
}

fn not_there() -> String {
    "there is nothing at this path".to_owned()
}

/// An index into a list; negative ones count from the end, `length` being one past the last place there is.
fn list_index(step: &str, length: usize) -> Step<usize> {
    let index: i64 = step.parse().map_err(|_| format!("{step:?} is no index into a list"))?;
    let counted = if index < 0 { index + i64::try_from(length).unwrap_or(i64::MAX) } else { index };
    usize::try_from(counted).map_err(|_| format!("there is no index {index} in a list of {length}"))
}

/// The node that holds what a path names, and the last step to it.
fn container<'a>(target: &'a mut Node, path: &str) -> Step<(&'a mut Node, String)> {
    let decoded = |step: &str| step.replace("~1", "/").replace("~0", "~");
    let mut steps: Vec<&str> = path.split('/').skip(1).collect();
    let last = steps.pop().ok_or("the path has to begin with a slash")?;
    let mut node = target;
    for step in steps {
        let step = decoded(step);
        let missing = || format!("there is no {step:?} on the way to it");
        node = match &mut node.value {
            Value::Mapping(mapping) => mapping.get_mut(&step).ok_or_else(missing)?,
            Value::Sequence(items) => {
                let index = list_index(&step, items.len())?;
                items.get_mut(index).ok_or_else(missing)?
            }
            Value::Scalar(_) => return Err(missing()),
        };
    }
    if node.as_text().is_some() {
        return Err("its parent is neither a mapping nor a list".to_owned());
    }
    Ok((node, decoded(last)))
}

fn get<'a>(target: &'a mut Node, path: &str) -> Step<Option<&'a Node>> {
    let (node, last) = container(target, path)?;
    match &node.value {
        Value::Mapping(mapping) => Ok(mapping.get(&last)),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len())?;
            items.get(index).map(Some).ok_or_else(not_there)
        }
        Value::Scalar(_) => Err(not_there()),
    }
}

fn add(target: &mut Node, path: &str, value: Node) -> Step<()> {
    let (node, last) = container(target, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => mapping.insert(&last, value),
        Value::Sequence(items) if last == "-" => items.push(value),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len() + 1)?;
            if index > items.len() {
                return Err(format!("the index {index} is beyond the end of a list of {}", items.len()));
            }
            items.insert(index, value);
        }
        Value::Scalar(_) => return Err(not_there()),
    }
    Ok(())
}

fn replace(target: &mut Node, path: &str, value: Node) -> Step<()> {
    if path.is_empty() {
        if value.as_text().is_some() {
            return Err("a whole object can only be replaced by a mapping or a list".to_owned());
        }
        *target = value;
        return Ok(());
    }
    let (node, last) = container(target, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => mapping.insert(&last, value),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len())?;
            *items.get_mut(index).ok_or_else(not_there)? = value;
        }
        Value::Scalar(_) => return Err(not_there()),
    }
    Ok(())
}

fn remove(target: &mut Node, path: &str) -> Step<Node> {
    let (node, last) = container(target, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => mapping.remove(&last).ok_or_else(not_there),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len())?;
            if index >= items.len() {
                return Err(not_there());
            }
            Ok(items.remove(index))
        }
        Value::Scalar(_) => Err(not_there()),
    }
}

#[cfg(test)]
mod tests {
    use coracle_yaml::{FileId, Node, emit, parse_one};
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::{apply, read};

    fn node(text: &str) -> Node {
        parse_one(text, FileId::default()).unwrap()
    }

    fn patched(target: &str, patch: &str) -> Result<Node, String> {
        let mut target = node(target);
        let operations = read(&node(patch)).map_err(|trouble| trouble.message)?;
        apply(&mut target, &operations).map_err(|trouble| trouble.message)?;
        Ok(target)
    }

    fn check(target: &str, patch: &str, expected: Expect) {
        let text = patched(target, patch).map_or_else(|error| error, |node| emit(&node.to_json()));
        expected.assert_eq(&text);
    }

    #[test]
    fn operations_change_the_tree() {
        check(
            "a: {b: [1, 2]}",
            "[{op: add, path: /a/b/-, value: 3}]",
            expect![[r#"
            a:
              b:
              - 1
              - 2
              - 3
        "#]],
        );
        check(
            "a: 1",
            "[{op: replace, path: /b, value: yes}]",
            expect![[r#"
            a: 1
            b: true
        "#]],
        );
        check(
            "a: {x/y: 1}",
            "[{op: move, from: /a/x~1y, path: /b}]",
            expect![[r#"
            a: {}
            b: 1
        "#]],
        );
        check("a: 1", "[{op: remove, path: /b}]", expect!["remove /b: there is nothing at this path"]);
        check(
            "a: [1]",
            "[{op: add, path: /a/-1, value: 0}]",
            expect![[r#"
            a:
            - 1
            - 0
        "#]],
        );
        check("a: 1", "[{op: test, path: /a, value: 2}]", expect!["test /a: found the number 1 there"]);
        check("a: 1", "[{op: add, path: /b/c, value: 2}]", expect![[r#"add /b/c: there is no "b" on the way to it"#]]);
        check(
            "a: 9007199254740993",
            "[]",
            expect![[r#"
            a: 9007199254740992
        "#]],
        );
    }

    proptest! {
        #[test]
        fn operations_never_panic(
            path in "(/(a|b|-|-?[0-3]|~1)){0,3}",
            from in "(/(a|b|0)){0,2}",
            op in "add|remove|replace|move|copy|test|x",
        ) {
            let patch = format!("[{{op: {op}, path: '{path}', from: '{from}', value: {{a: [1]}}}}]");
            let _ = patched("a: {b: [1, {a: 2}]}\nb: x", &patch);
        }
    }
}
