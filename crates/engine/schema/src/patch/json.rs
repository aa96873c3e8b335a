//! RFC 6902: a list of operations on paths.

use serde_json::Value;

use super::PatchError;
use crate::{decode::height, fields::DEEPEST};

/// As many as upstream takes.
const OPERATION_LIMIT: usize = 10_000;
/// What all copies of one patch may add up to, in bytes of JSON, as upstream has it.
const COPY_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// Applies all operations in order, or none.
pub fn json(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(operations) = patch.as_array() else {
        let problem = "json: cannot unmarshal object into Go value of type jsonpatch.Patch";
        return Err(PatchError::Malformed(problem.to_owned()));
    };
    if operations.len() > OPERATION_LIMIT {
        return Err(PatchError::TooLarge { limit: OPERATION_LIMIT, found: operations.len() });
    }
    let mut growing = Growing { document: original.clone(), copied_bytes: 0 };
    operations.iter().try_for_each(|operation| growing.apply(operation))?;
    Ok(growing.document)
}

/// A document that may neither grow without end by copies of itself, nor so deep that it could not be read again.
struct Growing {
    document: Value,
    copied_bytes: usize,
}

impl Growing {
    fn apply(&mut self, operation: &Value) -> Result<(), PatchError> {
        let name = operation["op"].as_str().unwrap_or("unknown");
        let path = operation["path"]
            .as_str()
            .ok_or_else(|| fails(name, "operation missing path field: missing value".to_owned()))?;
        let value = operation.get("value").unwrap_or(&Value::Null);
        let from = || {
            let from = operation["from"].as_str();
            from.ok_or_else(|| fails(name, "operation missing from field: missing value".to_owned()))
        };
        match name {
            "add" => {
                check_depth(path, value)?;
                add(&mut self.document, path, value.clone(), name)
            }
            "remove" => remove(&mut self.document, path, name).map(|_| ()),
            "replace" => {
                check_depth(path, value)?;
                let missing = || fails(name, format!("doc is missing key: {path}: missing value"));
                *find(&mut self.document, path).ok_or_else(missing)? = value.clone();
                Ok(())
            }
            "move" => {
                let from = from()?;
                if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(fails(name, format!("{from} cannot be moved into itself: {path}")));
                }
                let moved = remove(&mut self.document, from, name)?;
                check_depth(path, &moved)?;
                add(&mut self.document, path, moved, name)
            }
            "copy" => {
                let from = from()?;
                let missing = || fails(name, format!("doc is missing from path: {from}: missing value"));
                let copied = find(&mut self.document, from).ok_or_else(missing)?.clone();
                self.count_copy(copied.to_string().len())?;
                check_depth(path, &copied)?;
                add(&mut self.document, path, copied, name)
            }
            "test" => {
                // A test for null also holds where nothing is.
                if find(&mut self.document, path).map_or(&Value::Null, |found| found) == value {
                    return Ok(());
                }
                Err(PatchError::DoesNotApply(format!("testing value {path} failed: test failed")))
            }
            other => Err(PatchError::DoesNotApply(format!("Unexpected kind: {other}"))),
        }
    }

    fn count_copy(&mut self, bytes: usize) -> Result<(), PatchError> {
        self.copied_bytes += bytes;
        if self.copied_bytes <= COPY_LIMIT_BYTES {
            return Ok(());
        }
        Err(PatchError::DoesNotApply(format!(
            "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {COPY_LIMIT_BYTES}",
            self.copied_bytes
        )))
    }
}

/// Refuses to put a value where the document would become too deep.
fn check_depth(path: &str, value: &Value) -> Result<(), PatchError> {
    if path.matches('/').count() + height(value) > DEEPEST {
        return Err(PatchError::DoesNotApply(format!("the object would be nested more than {DEEPEST} levels deep")));
    }
    Ok(())
}

fn fails(operation: &str, problem: String) -> PatchError {
    PatchError::DoesNotApply(format!("{operation} operation does not apply: {problem}"))
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn find<'a>(document: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    if path.is_empty() {
        return Some(document);
    }
    path.strip_prefix('/')?.split('/').try_fold(document, |at, token| match at {
        Value::Object(members) => members.get_mut(&unescape(token)),
        Value::Array(items) => {
            let index = position(token, items.len())?;
            items.get_mut(index)
        }
        _ => None,
    })
}

/// Negative positions count from the end, as upstream's library has it.
fn position(token: &str, len: usize) -> Option<usize> {
    let index: i64 = token.parse().ok()?;
    if index < 0 { usize::try_from(len as i64 + index).ok() } else { usize::try_from(index).ok() }
}

fn split(path: &str) -> Option<(&str, String)> {
    path.rsplit_once('/').map(|(parent, token)| (parent, unescape(token)))
}

fn add(document: &mut Value, path: &str, value: Value, operation: &str) -> Result<(), PatchError> {
    let Some((parent_path, token)) = split(path) else {
        *document = value;
        return Ok(());
    };
    let missing = || fails(operation, format!("doc is missing path: \"{path}\": missing value"));
    match find(document, parent_path).ok_or_else(missing)? {
        Value::Object(members) => {
            members.insert(token, value);
            Ok(())
        }
        Value::Array(items) => {
            let len = items.len();
            let at = if token == "-" { Some(len) } else { position(&token, len + 1).filter(|at| *at <= len) };
            let outside =
                || fails(operation, format!("Unable to access invalid index: {token}: invalid index referenced"));
            items.insert(at.ok_or_else(outside)?, value);
            Ok(())
        }
        _ => Err(missing()),
    }
}

fn remove(document: &mut Value, path: &str, operation: &str) -> Result<Value, PatchError> {
    let missing = || fails(operation, format!("doc is missing path: \"{path}\": missing value"));
    let (parent_path, token) = split(path).ok_or_else(missing)?;
    match find(document, parent_path).ok_or_else(missing)? {
        Value::Object(members) => members
            .remove(&token)
            .ok_or_else(|| fails(operation, format!("Unable to remove nonexistent key: {token}: missing value"))),
        Value::Array(items) => {
            let at = position(&token, items.len()).filter(|at| *at < items.len());
            let outside =
                || fails(operation, format!("Unable to access invalid index: {token}: invalid index referenced"));
            Ok(items.remove(at.ok_or_else(outside)?))
        }
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(original: Value, patch: Value, expected: Expect) {
        let outcome = super::json(&original, &patch).map_or_else(|error| format!("error: {error}"), |v| v.to_string());
        expected.assert_eq(&outcome);
    }

    #[test]
    fn operations() {
        let original = || json!({"a": {"b": [1, 2, 3]}, "x/y": {"~": 1}});
        check(
            original(),
            json!([{"op": "add", "path": "/a/b/1", "value": 9}, {"op": "add", "path": "/a/b/-", "value": 8}]),
            expect![[r#"{"a":{"b":[1,9,2,3,8]},"x/y":{"~":1}}"#]],
        );
        check(
            original(),
            json!([{"op": "replace", "path": "/x~1y/~0", "value": 2}, {"op": "remove", "path": "/a/b/0"}]),
            expect![[r#"{"a":{"b":[2,3]},"x/y":{"~":2}}"#]],
        );
        check(
            original(),
            json!([{"op": "move", "from": "/a/b", "path": "/c"}, {"op": "copy", "from": "/c/0", "path": "/d"}]),
            expect![[r#"{"a":{},"c":[1,2,3],"d":1,"x/y":{"~":1}}"#]],
        );
        check(
            original(),
            json!([{"op": "test", "path": "/a/b/0", "value": 1}]),
            expect![[r#"{"a":{"b":[1,2,3]},"x/y":{"~":1}}"#]],
        );
    }

    #[test]
    fn what_does_not_apply() {
        let original = || json!({"a": [1], "b": {"c": 1}});
        check(
            original(),
            json!([{"op": "remove", "path": "/x"}]),
            expect!["error: remove operation does not apply: Unable to remove nonexistent key: x: missing value"],
        );
        check(
            original(),
            json!([{"op": "replace", "path": "/b/x", "value": 1}]),
            expect!["error: replace operation does not apply: doc is missing key: /b/x: missing value"],
        );
        check(
            original(),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            expect![[r#"error: add operation does not apply: doc is missing path: "/x/y": missing value"#]],
        );
        check(
            original(),
            json!([{"op": "add", "path": "/a/5", "value": 1}]),
            expect!["error: add operation does not apply: Unable to access invalid index: 5: invalid index referenced"],
        );
        check(
            original(),
            json!([{"op": "test", "path": "/b/c", "value": 2}]),
            expect!["error: testing value /b/c failed: test failed"],
        );
        check(original(), json!([{"op": "jump", "path": "/b"}]), expect!["error: Unexpected kind: jump"]);
        check(
            original(),
            json!([{"op": "move", "from": "/b", "path": "/b/c"}]),
            expect!["error: move operation does not apply: /b cannot be moved into itself: /b/c"],
        );
        check(
            original(),
            json!({"op": "move"}),
            expect!["error: json: cannot unmarshal object into Go value of type jsonpatch.Patch"],
        );
    }
}
