//! `| json label="a.b[0]"`.

use super::{
    DUPLICATE_SUFFIX, LabelsBuilder,
    json::{self, JSON_ERROR, Kind, Stop, Value},
};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathStep {
    Key(String),
    Index(usize),
}

/// Reads `a.b["c d"][0]`.
pub(super) fn parse(path: &str) -> Result<Vec<PathStep>, String> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start();
    if rest.is_empty() {
        return Err("syntax error: unexpected $end, expecting LSB or FIELD".to_owned());
    }
    while !rest.is_empty() {
        let first = steps.is_empty();
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = bracket(inside.trim_start())?;
            steps.push(step);
            rest = after;
        } else {
            let field = match rest.strip_prefix('.') {
                Some(field) if !first => field.trim_start(),
                _ if first => rest,
                _ => return Err(unexpected(rest)),
            };
            let len = field.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(field.len());
            if len == 0 || field.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(unexpected(field));
            }
            steps.push(PathStep::Key(field[..len].to_owned()));
            rest = &field[len..];
        }
        rest = rest.trim_start();
    }
    Ok(steps)
}

fn unexpected(rest: &str) -> String {
    match rest.chars().next() {
        None => "syntax error: unexpected $end, expecting FIELD".to_owned(),
        Some('.') => "syntax error: unexpected DOT".to_owned(),
        Some(']') => "syntax error: unexpected RSB".to_owned(),
        Some(c) if c.is_ascii_alphanumeric() || c == '_' => "syntax error: unexpected FIELD".to_owned(),
        Some(c) => format!("unexpected char {c}"),
    }
}

fn bracket(inside: &str) -> Result<(PathStep, &str), String> {
    let close = |rest: &str| rest.find(']').ok_or("syntax error: unexpected $end, expecting RSB".to_owned());
    if let Some(quoted) = inside.strip_prefix('"') {
        let end = quoted.find('"').ok_or("syntax error: unexpected $end, expecting RSB".to_owned())?;
        let after = &quoted[end + 1..];
        let closing = close(after)?;
        if !after[..closing].trim().is_empty() {
            return Err(unexpected(after.trim_start()));
        }
        return Ok((PathStep::Key(quoted[..end].to_owned()), &after[closing + 1..]));
    }
    let closing = close(inside)?;
    let number = inside[..closing].trim();
    if number.contains('.') {
        return Err("cannot use float as array index".to_owned());
    }
    match number.parse() {
        Ok(index) => Ok((PathStep::Index(index), &inside[closing + 1..])),
        Err(_) => Err(match number.chars().find(|c| !c.is_ascii_digit()) {
            Some(c) if number.starts_with(|c: char| c.is_ascii_digit()) => format!("non-integer value: {c}"),
            _ => unexpected(number),
        }),
    }
}

pub(super) fn extract(line: &str, paths: &[(String, Vec<PathStep>)], labels: &mut LabelsBuilder) {
    if line.is_empty() || labels.wants_nothing() {
        return;
    }
    if !line.starts_with(['"', '{', '[']) {
        labels.set_parser_error(JSON_ERROR, "");
        return;
    }
    let mut missing = Vec::new();
    for (label, path) in paths {
        match follow(line, path) {
            Ok(Some(value)) => {
                let text = match value.kind {
                    Kind::Null => "".into(),
                    Kind::Object => value.raw.into(),
                    _ => json::clean(value.raw),
                };
                if labels.is_taken(label) {
                    labels.set(&format!("{label}{DUPLICATE_SUFFIX}"), &text);
                } else {
                    labels.set(label, &text);
                }
            }
            Ok(None) => missing.push(label),
            Err(malformed) => {
                labels.set_parser_error(JSON_ERROR, malformed.message());
                missing.push(label);
            }
        }
    }
    // Every label is there, and empty where the line has nothing for it.
    for label in missing {
        if labels.get(label).is_none() {
            labels.set(label, "");
        }
    }
}

fn follow<'t>(text: &'t str, path: &[PathStep]) -> Result<Option<Value<'t>>, json::Malformed> {
    let mut found = Value { kind: Kind::Object, raw: text };
    for step in path {
        let mut next = None;
        match step {
            PathStep::Key(wanted) => {
                let walked = json::object(found.raw, &mut |key, value| {
                    if key != wanted {
                        return Ok(());
                    }
                    next = Some(value);
                    Err(Stop::Enough)
                });
                if let Err(Stop::Malformed(json::Malformed::UnknownValue)) = walked {
                    return Err(json::Malformed::UnknownValue);
                }
            }
            PathStep::Index(wanted) => {
                let mut index = 0;
                if found.raw.trim_start().starts_with('[') {
                    json::array(found.raw, &mut |value| {
                        if index == *wanted {
                            next = Some(value);
                        }
                        index += 1;
                        next.is_none()
                    });
                }
            }
        }
        match next {
            Some(value) => found = value,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |key: &str| PathStep::Key(key.to_owned());
        assert_eq!(parse("a.b"), Ok(vec![key("a"), key("b")]));
        assert_eq!(parse(r#"a["b c"][2].d"#), Ok(vec![key("a"), key("b c"), PathStep::Index(2), key("d")]));
        assert_eq!(parse("[0]"), Ok(vec![PathStep::Index(0)]));
        assert_eq!(parse("a[1.5]"), Err("cannot use float as array index".to_owned()));
        assert!(parse("a.").is_err());
        assert!(parse("").is_err());
        assert!(parse("a b").is_err());
    }
}
