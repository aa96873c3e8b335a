//! Changing scalars the way the original does: a new value keeps the style of the old one, and with it the quotes that
//! make a word of a number.

use coracle_yaml::{Mapping, Node, Resolved, Scalar, Style, Value};

/// Gives a scalar another text; what it means follows from its looks and its quotes.
pub(crate) fn set_text(node: &mut Node, text: &str) {
    let style = style(node);
    node.value = Value::Scalar(Scalar { text: text.into(), style, tag: None });
}

/// Gives a scalar another text, which is a string whatever it looks like.
pub(crate) fn set_string(node: &mut Node, text: &str) {
    let style = style(node);
    node.value = Value::Scalar(Scalar { text: text.into(), style, tag: Some("str".into()) });
}

fn style(node: &Node) -> Style {
    match &node.value {
        Value::Scalar(scalar) => scalar.style,
        _ => Style::Plain,
    }
}

/// Puts `value` in the place of `field`, in the style `field` had: a number that takes the place of a quoted word
/// becomes a quoted word.
pub(crate) fn assign(field: &mut Node, mut value: Node) {
    if let (Value::Scalar(old), Value::Scalar(new)) = (&field.value, &mut value.value) {
        let is_string = new.resolve() == Resolved::String;
        new.style = old.style;
        if is_string {
            new.tag = Some("str".into());
        } else if old.style != Style::Plain {
            new.tag = None;
        }
    }
    *field = value;
}

/// A scalar from a text that is a string unless it is empty: the original quotes what looks like something else.
fn added(text: &str) -> Node {
    if text.is_empty() { Node::plain("") } else { Node::string(text) }
}

pub(crate) fn set_field_text(mapping: &mut Mapping, key: &str, text: &str) {
    match mapping.get_mut(key) {
        Some(field) => set_text(field, text),
        None => mapping.insert(key, added(text)),
    }
}

pub(crate) fn set_field_string(mapping: &mut Mapping, key: &str, text: &str) {
    match mapping.get_mut(key) {
        Some(field) => set_string(field, text),
        None => mapping.insert(key, Node::string(text)),
    }
}

/// Whether there is nothing in a node: null, `{}` or `[]`.
pub(crate) fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(_) => node.is_null(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(mapping) => mapping.is_empty(),
    }
}

/// The text of a scalar; other nodes have none.
pub(crate) fn text(node: &Node) -> &str {
    node.as_text().unwrap_or_default()
}

/// The text of a scalar, nothing for null.
pub(crate) fn value_text(node: &Node) -> &str {
    if node.is_null() { "" } else { text(node) }
}
