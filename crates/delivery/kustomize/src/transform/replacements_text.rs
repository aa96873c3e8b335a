//! Writing a tree back into the text it was read from: JSON as JSON, YAML in its order and with its quotes.

use coracle_yaml::{FileId, Mark, Node, Repeated, Resolved, Scalar, Style, Value};

/// The tree as text, of the kind `old` was.
pub(super) fn written(tree: &Node, old: &str) -> Result<String, String> {
    if old.trim_start().starts_with(['{', '[']) {
        let json = tree.to_json();
        let spread = old.contains('\n') && old.contains("  ");
        let text = if spread { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
        return text.map(|text| go_escaped(&text)).map_err(|error| error.to_string());
    }
    let mut out = String::new();
    block(tree, 0, &mut out);
    Ok(out.trim().to_owned())
}

/// Go's JSON escapes what is special in HTML.
fn go_escaped(text: &str) -> String {
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (index, entry) in mapping.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str(&key(&entry.key, entry.key_quoted));
                out.push(':');
                match &entry.value.value {
                    Value::Mapping(inner) if !inner.is_empty() => {
                        out.push('\n');
                        pad(indent + 2, out);
                        block(&entry.value, indent + 2, out);
                    }
                    Value::Sequence(items) if !items.is_empty() => {
                        out.push('\n');
                        pad(indent, out);
                        block(&entry.value, indent, out);
                    }
                    _ => {
                        out.push(' ');
                        block(&entry.value, indent + 2, out);
                    }
                }
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str("- ");
                block(item, indent + 2, out);
            }
        }
        Value::Mapping(_) => out.push_str("{}\n"),
        Value::Sequence(_) => out.push_str("[]\n"),
        Value::Scalar(scalar) => write_scalar(scalar, indent, out),
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn key(key: &str, quoted: bool) -> String {
    if is_plain(key) && !(quoted && Node::plain(key).describe().starts_with("the number")) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn write_scalar(scalar: &Scalar, indent: usize, out: &mut String) {
    let text = &*scalar.text;
    let is_string = scalar.resolve() == Resolved::String;
    match scalar.style {
        Style::SingleQuoted if !text.contains('\n') => {
            out.push_str(&format!("'{}'", text.replace('\'', "''")));
        }
        Style::Literal | Style::Folded if text.contains('\n') => {
            out.push('|');
            if !text.ends_with('\n') {
                out.push('-');
            } else if text.ends_with("\n\n") {
                out.push('+');
            }
            for line in text.trim_end_matches('\n').split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    pad(indent, out);
                }
                out.push_str(line);
            }
        }
        Style::Plain if scalar.tag.as_deref().is_some_and(|tag| tag != "str") && is_string => {
            out.push_str(&format!("!!{} {text}", scalar.tag.as_deref().unwrap_or_default()));
        }
        Style::Plain if !is_string || is_plain(text) => out.push_str(text),
        _ => out.push_str(&quoted(text)),
    }
    out.push('\n');
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| format!("{text:?}"))
}

/// Whether a text reads back as itself without quotes.
fn is_plain(text: &str) -> bool {
    let start = Mark { file: FileId::default(), line: 1, column: 1 };
    let read = coracle_yaml::parse_first(text, start, Repeated::Refused);
    match read.ok().flatten().map(|node| node.value) {
        Some(Value::Scalar(read)) => {
            read.style == Style::Plain && &*read.text == text && read.resolve() == Resolved::String
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use coracle_yaml::{FileId, parse_one};

    use super::written;

    fn check(text: &str) {
        let node = parse_one(text, FileId::default()).unwrap();
        assert_eq!(written(&node, text).unwrap(), text);
    }

    #[test]
    fn text_comes_back_as_it_was() {
        check("b: 1\na:\n- x\n- - y\n  - z: 'q'\n    w: \"5\"\nc: |\n  l\n  m\nd: {}");
        check(r#"{"a":[1,"x"],"b":{"c":null}}"#);
    }
}
