//! Folded text (`>`) as it comes back from the original's writer, which is not how it went in: where a line that is
//! indented further follows one that is not, a blank line comes between them.

use coracle_yaml::{Node, Style, Value};

/// Gives all folded text in a tree the form it has once it was written and read again.
pub(crate) fn rewrite(node: &mut Node) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(rewrite),
        Value::Mapping(mapping) => mapping.iter_mut().for_each(|entry| rewrite(&mut entry.value)),
        Value::Scalar(scalar) if scalar.style == Style::Folded => {
            if let Some(text) = rewritten(&scalar.text) {
                scalar.text = text.into();
            }
        }
        Value::Scalar(_) => {}
    }
}

/// The text as it comes back, if it differs.
pub(crate) fn rewritten(text: &str) -> Option<String> {
    let is_blank = |line: &str| line.starts_with([' ', '\t']);
    if !text.contains('\n') || !may_be_folded(text) || is_blank(text.trim_start_matches('\n')) {
        return None;
    }
    let body = text.trim_end_matches('\n');
    let mut out = String::with_capacity(text.len() + 8);
    let mut last_is_blank = true;
    let mut lines = body.split('\n').peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        if !line.is_empty() {
            last_is_blank = is_blank(line);
        }
        let Some(&next) = lines.peek() else { break };
        out.push('\n');
        // Blank lines are told by the first line behind them.
        let ends_run = !line.is_empty();
        let next_text = if next.is_empty() { lines.clone().find(|line| !line.is_empty()) } else { Some(next) };
        if ends_run && !last_is_blank && next_text.is_some_and(is_blank) {
            out.push('\n');
        }
    }
    let ending = &text[body.len()..];
    out.push_str(ending);
    if ending.len() > 1 && !last_is_blank {
        out.push('\n');
    }
    (out != text).then_some(out)
}

/// Text that the writer would rather quote: with spaces at the end of a line, or characters that need escapes.
fn may_be_folded(text: &str) -> bool {
    let is_printable = |char: char| matches!(char, '\n' | '\t' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}');
    !text.contains(" \n") && !text.ends_with(' ') && text.chars().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::rewritten;

    fn check(text: &str, expected: &str) {
        assert_eq!(rewritten(text).as_deref().unwrap_or(text), expected, "{text:?}");
    }

    #[test]
    fn lines_that_are_indented_further_get_a_blank_line_before_them() {
        check("a\n  b\nc\n", "a\n\n  b\nc\n");
        check("a\n\n  b\n  c\n", "a\n\n\n  b\n  c\n");
        check("a\nb\n", "a\nb\n");
        check("a b", "a b");
        check("a \n  b", "a \n  b");
        check("a\n\n", "a\n\n\n");
    }
}
