//! The simple JSON paths that custom resource definitions use: `.spec.x`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.

use serde_json::Value;

#[derive(Debug, PartialEq)]
enum Step {
    Name(String),
    Index(i64),
    All,
    /// Items whose value at a path is (or is not) a constant.
    Where {
        path: Vec<Step>,
        equal: bool,
        value: Value,
    },
}

/// All values a path leads to; none when it leads nowhere or cannot be read.
pub fn find<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    match parse(path) {
        Some(steps) => follow(vec![value], &steps),
        None => Vec::new(),
    }
}

/// Whether a path can be read.
pub fn is_valid(path: &str) -> bool {
    parse(path).is_some()
}

fn follow<'v>(values: Vec<&'v Value>, steps: &[Step]) -> Vec<&'v Value> {
    steps.iter().fold(values, |values, step| values.into_iter().flat_map(|value| take(value, step)).collect())
}

fn take<'v>(value: &'v Value, step: &Step) -> Vec<&'v Value> {
    match (step, value) {
        (Step::Name(name), Value::Object(members)) => members.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(items)) => {
            let at = if *index < 0 { items.len() as i64 + index } else { *index };
            usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
        }
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(members)) => members.values().collect(),
        (Step::Where { path, equal, value: wanted }, Value::Array(items)) => {
            let holds =
                |item: &&Value| follow(vec![item], path).first().is_some_and(|found| (*found == wanted) == *equal);
            items.iter().filter(holds).collect()
        }
        _ => Vec::new(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(inside) => bracket(inside)?,
            None => name(rest.strip_prefix('.').unwrap_or(rest))?,
        };
        steps.extend(step);
        rest = after;
    }
    Some(steps)
}

/// A name up to the next dot or bracket; a backslash takes the next character as it is.
fn name(text: &str) -> Option<(Option<Step>, &str)> {
    let mut taken = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => taken.push(characters.next()?.1),
            '.' | '[' => return Some((named(taken), &text[at..])),
            other => taken.push(other),
        }
    }
    Some((named(taken), ""))
}

fn named(name: String) -> Option<Step> {
    match name.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Name(name)),
    }
}

fn bracket(inside: &str) -> Option<(Option<Step>, &str)> {
    if let Some(filter) = inside.strip_prefix("?(") {
        let end = filter.find(")]")?;
        return Some((Some(condition(&filter[..end])?), &filter[end + 2..]));
    }
    if let Some(quote) = inside.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let end = inside[1..].find(quote)? + 1;
        let after = inside[end + 1..].strip_prefix(']')?;
        return Some((Some(Step::Name(inside[1..end].replace('\\', ""))), after));
    }
    let (content, after) = inside.split_once(']')?;
    let step = if content == "*" { Step::All } else { Step::Index(content.parse().ok()?) };
    Some((Some(step), after))
}

fn condition(text: &str) -> Option<Step> {
    let (left, right, equal) = match text.split_once("==") {
        Some((left, right)) => (left, right, true),
        None => text.split_once("!=").map(|(left, right)| (left, right, false))?,
    };
    let path = parse(left.trim().strip_prefix('@')?)?;
    let right = right.trim();
    let quoted = right.strip_prefix('\'').and_then(|right| right.strip_suffix('\''));
    let value = match quoted {
        Some(text) => Value::String(text.to_owned()),
        None => serde_json::from_str(right).ok()?,
    };
    Some(Step::Where { path, equal, value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let value = json!({"metadata": {"labels": {"a.b/c": "x"}}, "status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}], "n": 3}});
        let found = |path: &str| find(&value, path).into_iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found(".status.n"), "3");
        assert_eq!(found("{.status.n}"), "3");
        assert_eq!(found(".metadata.labels['a.b/c']"), "\"x\"");
        assert_eq!(found(r".metadata.labels.a\.b/c"), "\"x\"");
        assert_eq!(found(".status.conditions[1].type"), "\"Synced\"");
        assert_eq!(found(".status.conditions[-1].type"), "\"Synced\"");
        assert_eq!(found(".status.conditions[*].status"), "\"True\" \"False\"");
        assert_eq!(found(".status.conditions[?(@.type=='Ready')].status"), "\"True\"");
        assert_eq!(found(".status.conditions[?(@.type==\"Synced\")].status"), "\"False\"");
        assert_eq!(found(".status.conditions[?(@.type!=\"Synced\")].status"), "\"True\"");
        assert_eq!(found(".status.missing.deeper"), "");
        assert!(!is_valid(".a[x"));
        assert!(!is_valid(".a[?(@.b)]"));
    }
}
