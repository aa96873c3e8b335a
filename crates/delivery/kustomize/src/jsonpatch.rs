//! JSON 6902 patches, applied to the tree.

use coracle_yaml::decode::{DecodeError, Fields};
use coracle_yaml::{Mark, Node, Value};

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    mark: Mark,
    op: String,
    path: String,
    from: String,
    value: Option<Node>,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// The operations of a patch document (a list).
pub(crate) fn read(node: &Node) -> Result<Vec<Operation>> {
    let items = node.as_sequence().ok_or_else(|| DecodeError::new(node.mark, "expected a list of operations"))?;
    items.iter().enumerate().map(|(index, item)| operation(item, index)).collect()
}

fn operation(node: &Node, index: usize) -> Result<Operation> {
    let mut fields = Fields::of(node, &format!("[{index}]"))?;
    let op = fields.string("op")?;
    let operation = Operation {
        mark: node.mark,
        path: fields.string("path")?,
        from: fields.string("from")?,
        value: node.get("value").cloned(),
        op,
    };
    fields.node("value");
    fields.finish()?;
    let known = ["add", "remove", "replace", "move", "copy", "test"];
    if !known.contains(&operation.op.as_str()) {
        let message = format!("op: expected one of {}, found {:?}", known.join(", "), operation.op);
        return Err(DecodeError::new(node.mark, message));
    }
    if operation.value.is_none() && matches!(operation.op.as_str(), "add" | "replace" | "test") {
        return Err(DecodeError::new(node.mark, format!("{} needs a value", operation.op)));
    }
    Ok(operation)
}

/// Applies all operations in order; the error points at the one that failed.
pub(crate) fn apply(target: &mut Node, operations: &[Operation]) -> Result<()> {
    operations.iter().try_for_each(|operation| {
        operation.apply(target).map_err(|message| {
            DecodeError::new(operation.mark, format!("{} {}: {message}", operation.op, operation.path))
        })
    })
}

impl Operation {
    fn apply(&self, target: &mut Node) -> std::result::Result<(), String> {
        let value = || self.value.clone().unwrap_or_else(Node::null);
        match self.op.as_str() {
            "add" => add(target, &self.path, value()),
            "remove" => remove(target, &self.path).map(drop),
            "replace" => {
                let node = find(target, &self.path).ok_or_else(not_there)?;
                *node = value();
                Ok(())
            }
            "move" => {
                let node = remove(target, &self.from)?;
                add(target, &self.path, node)
            }
            "copy" => {
                let node = find(target, &self.from).cloned().ok_or_else(not_there)?;
                add(target, &self.path, node)
            }
            _ => match find(target, &self.path) {
                Some(node) if node.to_json() == value().to_json() => Ok(()),
                Some(node) => Err(format!("found {} there", node.describe())),
                None => Err(not_there()),
            },
        }
    }
}

fn not_there() -> String {
    "there is nothing at this path".to_owned()
}

fn steps(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

fn find<'a>(target: &'a mut Node, path: &str) -> Option<&'a mut Node> {
    find_steps(target, &steps(path))
}

fn find_steps<'a>(target: &'a mut Node, steps: &[String]) -> Option<&'a mut Node> {
    steps.iter().try_fold(target, |node, step| match &mut node.value {
        Value::Mapping(mapping) => mapping.get_mut(step),
        Value::Sequence(items) => {
            let index = list_index(step, items.len())?;
            items.get_mut(index)
        }
        Value::Scalar(_) => None,
    })
}

/// An index into a list; negative ones count from the end.
fn list_index(step: &str, length: usize) -> Option<usize> {
    match step.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok()?),
        None => step.parse().ok(),
    }
}

fn parent<'a>(target: &'a mut Node, path: &str) -> std::result::Result<(&'a mut Node, String), String> {
    let mut steps = steps(path);
    let last = steps.pop().ok_or("the path is empty")?;
    let node = find_steps(target, &steps).ok_or("there is nothing at the path's parent")?;
    Ok((node, last))
}

fn add(target: &mut Node, path: &str, value: Node) -> std::result::Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (node, last) = parent(target, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => mapping.insert(&last, value),
        Value::Sequence(items) if last == "-" => items.push(value),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len()).filter(|index| *index <= items.len());
            items.insert(index.ok_or("the index is beyond the end of the list")?, value);
        }
        Value::Scalar(_) => return Err("its parent is neither a mapping nor a list".to_owned()),
    }
    Ok(())
}

fn remove(target: &mut Node, path: &str) -> std::result::Result<Node, String> {
    let (node, last) = parent(target, path)?;
    match &mut node.value {
        Value::Mapping(mapping) => mapping.remove(&last).ok_or_else(not_there),
        Value::Sequence(items) => {
            let index = list_index(&last, items.len()).filter(|index| *index < items.len()).ok_or_else(not_there)?;
            Ok(items.remove(index))
        }
        Value::Scalar(_) => Err(not_there()),
    }
}
