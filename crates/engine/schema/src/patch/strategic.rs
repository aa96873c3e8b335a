//! Strategic merge patch: a merge patch that knows, from the types, which lists merge by key, and carries directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`).

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::PatchError;
use crate::types::{Field, Shape, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER_PREFIX: &str = "$setElementOrder/";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of the given type.
pub fn strategic(of: Type<'_>, original: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        let problem = "cannot unmarshal the patch: an object is expected";
        return Err(PatchError::Malformed(problem.to_owned()));
    };
    let mut merged = original.clone();
    merge_map(Some(of), &mut merged, patch)?;
    Ok(Value::Object(merged))
}

fn malformed<T>(problem: String) -> Result<T, PatchError> {
    Err(PatchError::Malformed(problem))
}

fn merge_map(
    of: Option<Type<'_>>,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *original = patch.iter().filter(|(name, _)| *name != DIRECTIVE).map(clone_entry).collect();
            return Ok(());
        }
        Some("delete") => {
            original.clear();
            return Ok(());
        }
        Some(other) => {
            let shown = go_text(&Value::Object(patch.clone()));
            return malformed(format!("unknown patch type: {other} in map: {shown}"));
        }
    }
    retain_keys(original, patch)?;
    let orders = patch.iter().filter_map(|(name, order)| Some((name.strip_prefix(ORDER_PREFIX)?, order)));
    for (name, order) in orders {
        merge_ordered(of.and_then(|of| of.field(name)), original, patch.get(name), name, order)?;
    }
    for (name, change) in patch {
        if name == DIRECTIVE || name == RETAIN_KEYS || name.starts_with(ORDER_PREFIX) {
            continue;
        }
        if let Some(name) = name.strip_prefix(DELETE_PREFIX) {
            delete_scalars(original, name, change)?;
        } else if change.is_null() {
            original.remove(name);
        } else if !(change.is_array() && patch.contains_key(&format!("{ORDER_PREFIX}{name}"))) {
            merge_member(of, original, name, change)?;
        }
    }
    Ok(())
}

fn clone_entry((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// A value as Go prints it in messages: `map[image:j ports:[map[port:80]]]`.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}:{}", go_text(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

fn merge_member(
    of: Option<Type<'_>>,
    original: &mut Map<String, Value>,
    name: &str,
    change: &Value,
) -> Result<(), PatchError> {
    let field = of.and_then(|of| of.field(name));
    let merged = match (original.get_mut(name), change) {
        (Some(Value::Object(members)), Value::Object(change)) => {
            return merge_map(of.and_then(|of| of.member(name)), members, change);
        }
        (Some(Value::Array(items)), Value::Array(change)) => merge_list(field, items, change)?,
        (_, change) => without_directives(change),
    };
    original.insert(name.to_owned(), merged);
    Ok(())
}

/// A value taken over whole loses its directives, and what its directives delete.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let plain = |name: &str| {
                name != DIRECTIVE
                    && name != RETAIN_KEYS
                    && !name.starts_with(ORDER_PREFIX)
                    && !name.starts_with(DELETE_PREFIX)
            };
            let kept = members.iter().filter(|(name, member)| plain(name) && !member.is_null());
            Value::Object(kept.map(|(name, member)| (name.clone(), without_directives(member))).collect())
        }
        Value::Array(items) => {
            let kept = items.iter().filter(|item| {
                let directive = item.get(DIRECTIVE).and_then(Value::as_str);
                directive != Some("delete") && !(directive == Some("replace") && only_directive(item))
            });
            Value::Array(kept.map(without_directives).collect())
        }
        other => other.clone(),
    }
}

fn only_directive(item: &Value) -> bool {
    item.as_object().is_some_and(|members| members.len() == 1)
}

fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(retained) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Some(retained) = retained.as_array() else {
        return malformed("invalid patch format of retainKeys".to_owned());
    };
    let kept = |name: &str| retained.iter().any(|r| r == name);
    let stray = patch.iter().find(|(name, change)| {
        !change.is_null()
            && *name != RETAIN_KEYS
            && !name.starts_with(ORDER_PREFIX)
            && !name.starts_with(DELETE_PREFIX)
            && !kept(name)
    });
    if stray.is_some() {
        return malformed("invalid patch format of retainKeys".to_owned());
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

fn delete_scalars(original: &mut Map<String, Value>, name: &str, deleted: &Value) -> Result<(), PatchError> {
    let Some(deleted) = deleted.as_array() else {
        return malformed(format!("invalid patch format of delete primitive list for {name}"));
    };
    if let Some(Value::Array(items)) = original.get_mut(name) {
        items.retain(|item| !deleted.contains(item));
    }
    Ok(())
}

/// How a list's items are told apart.
#[derive(Clone, Copy)]
enum Identity<'a> {
    Key(&'a str),
    Whole,
}

impl Identity<'_> {
    fn same(self, a: &Value, b: &Value) -> bool {
        match self {
            Identity::Key(key) => a.get(key).is_some() && a.get(key) == b.get(key),
            Identity::Whole => a == b,
        }
    }

    fn position(self, list: &[Value], item: &Value) -> Option<usize> {
        list.iter().position(|other| self.same(other, item))
    }
}

fn identity(field: Option<Field<'_>>) -> Option<Identity<'_>> {
    let field = field.filter(|field| field.patch_merges())?;
    match field.merge_key() {
        Some(key) => Some(Identity::Key(key)),
        None => Some(Identity::Whole),
    }
}

fn merge_list(field: Option<Field<'_>>, original: &[Value], patch: &[Value]) -> Result<Value, PatchError> {
    let Some(identity) = identity(field) else {
        return Ok(without_directives(&Value::Array(patch.to_vec())));
    };
    let element = field.and_then(|field| field.value().element());
    merge_items(element, identity, original, patch).map(Value::Array)
}

fn merge_items(
    element: Option<Type<'_>>,
    identity: Identity<'_>,
    original: &[Value],
    patch: &[Value],
) -> Result<Vec<Value>, PatchError> {
    let mut merged = original.to_vec();
    let mut changes: Vec<&Value> = Vec::new();
    let mut replaced = false;
    for item in patch {
        let directive = item.get(DIRECTIVE).and_then(Value::as_str);
        match (identity, directive) {
            (Identity::Key(key), Some("delete")) => {
                if item.get(key).is_none() {
                    return malformed(missing_key(item, key));
                }
                merged.retain(|other| !identity.same(other, item));
            }
            (Identity::Key(_), Some("replace")) => replaced = true,
            (Identity::Key(_), Some("merge")) => {
                return malformed("merging list by directive is not supported yet".to_owned());
            }
            (Identity::Key(_), Some(other)) => {
                return malformed(format!("unknown patch type: {other} in map: {}", go_text(item)));
            }
            _ => changes.push(item),
        }
    }
    if replaced {
        return Ok(changes.into_iter().map(without_directives).collect());
    }
    for change in &changes {
        merge_item(element, identity, &mut merged, change)?;
    }
    let patch_order: Vec<Value> = changes.into_iter().cloned().collect();
    Ok(ordered(identity, merged, &patch_order, original))
}

fn missing_key(item: &Value, key: &str) -> String {
    format!("map: {} does not contain declared merge key: {key}", go_text(item))
}

fn merge_item(
    element: Option<Type<'_>>,
    identity: Identity<'_>,
    merged: &mut Vec<Value>,
    change: &Value,
) -> Result<(), PatchError> {
    if let Identity::Key(key) = identity
        && change.get(key).is_none_or(Value::is_null)
    {
        return malformed(missing_key(change, key));
    }
    match identity.position(merged, change) {
        None => merged.push(without_directives(change)),
        Some(at) => {
            if let (Value::Object(members), Value::Object(change)) = (&mut merged[at], change) {
                let element = element.filter(|element| element.shape() == Shape::Object);
                merge_map(element, members, change)?;
            }
        }
    }
    Ok(())
}

/// A list that comes with `$setElementOrder`: merged as usual, then put in that order.
fn merge_ordered(
    field: Option<Field<'_>>,
    original: &mut Map<String, Value>,
    change: Option<&Value>,
    name: &str,
    order: &Value,
) -> Result<(), PatchError> {
    let Some(order) = order.as_array() else {
        return malformed(format!("invalid patch format of setElementOrder list for {name}"));
    };
    let identity = identity(field).unwrap_or(Identity::Whole);
    let before = original.get(name).and_then(Value::as_array).cloned();
    let merged = match (&before, change) {
        (Some(before), Some(Value::Array(change))) => {
            check_order(identity, change, order)?;
            merge_list(field, before, change)?
        }
        (None, Some(change @ Value::Array(_))) => without_directives(change),
        (Some(before), None) => Value::Array(before.clone()),
        // Deleted by null, or something else altogether: the ordinary path deals with it.
        _ => return Ok(()),
    };
    let Value::Array(merged) = merged else { return Ok(()) };
    let live = before.unwrap_or_default();
    original.insert(name.to_owned(), Value::Array(ordered(identity, merged, order, &live)));
    Ok(())
}

/// The items a patch sends must all be in its order, in the same sequence.
fn check_order(identity: Identity<'_>, change: &[Value], order: &[Value]) -> Result<(), PatchError> {
    let mut next = 0;
    for item in change.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        match identity.position(&order[next..], item) {
            Some(offset) => next += offset + 1,
            None => {
                return malformed(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    go_text(&Value::Array(change.to_vec())),
                    go_text(&Value::Array(order.to_vec()))
                ));
            }
        }
    }
    Ok(())
}

/// Items named in `order` follow it; the others keep the live list's order, and are woven in before the first item that the
/// live list has behind them.
fn ordered(identity: Identity<'_>, merged: Vec<Value>, order: &[Value], live: &[Value]) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| identity.position(order, item).is_some());
    let by = |list: &[Value], a: &Value, b: &Value| match (identity.position(list, a), identity.position(list, b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    };
    named.sort_by(|a, b| by(order, a, b));
    others.sort_by(|a, b| by(live, a, b));
    let mut woven = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        while let Some(other) = others.next_if(|other| by(live, other, &item) == Ordering::Less) {
            woven.push(other);
        }
        woven.push(item);
    }
    woven.extend(others);
    woven
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use crate::kinds;

    fn check(kind: (&str, &str, &str), original: Value, patch: Value, expected: Expect) {
        let kind = kinds::find_kind(kind.0, kind.1, kind.2).unwrap();
        let outcome = super::strategic(kind.schema.root(), &original, &patch);
        expected.assert_eq(&outcome.map_or_else(|error| format!("error: {error}"), |value| value.to_string()));
    }

    const POD: (&str, &str, &str) = ("", "v1", "Pod");
    const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");

    #[test]
    fn lists_merge_by_their_key() {
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}}),
            expect![[r#"{"spec":{"containers":[{"image":"1","name":"a"},{"image":"2","name":"b"},{"name":"c"}]}}"#]],
        );
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": [{"image": "2"}]}}),
            expect!["error: map: map[image:2] does not contain declared merge key: name"],
        );
        check(
            POD,
            json!({"spec": {"tolerations": [{"key": "a"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
            expect![[r#"{"spec":{"tolerations":[{"key":"b"}]}}"#]],
        );
        check(
            ("", "v1", "Service"),
            json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}}),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
            expect![[r#"{"spec":{"ports":[{"name":"a","port":80,"targetPort":8080},{"name":"b","port":81}]}}"#]],
        );
    }

    #[test]
    fn lists_of_scalars_merge_as_sets() {
        check(
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["c", "a"]}}),
            expect![[r#"{"metadata":{"finalizers":["c","a","b"]}}"#]],
        );
        check(
            POD,
            json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
            expect![[r#"{"metadata":{"finalizers":["a","c"]}}"#]],
        );
        check(
            POD,
            json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
            json!({"metadata": {"$setElementOrder/finalizers": ["c", "d", "a"], "finalizers": ["d"]}}),
            expect![[r#"{"metadata":{"finalizers":["b","c","d","a"]}}"#]],
        );
    }

    #[test]
    fn directives() {
        let original = || json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"x": "1"}}});
        check(
            POD,
            original(),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
            expect![[r#"{"spec":{"containers":[{"name":"b"}],"nodeSelector":{"x":"1"}}}"#]],
        );
        check(
            POD,
            original(),
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}),
            expect![[r#"{"spec":{"containers":[{"name":"z"}],"nodeSelector":{"x":"1"}}}"#]],
        );
        check(
            POD,
            original(),
            json!({"spec": {"nodeSelector": {"$patch": "replace", "y": "2"}}}),
            expect![[r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}],"nodeSelector":{"y":"2"}}}"#]],
        );
        check(
            POD,
            original(),
            json!({"spec": {"nodeSelector": {"$patch": "delete"}}}),
            expect![[r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}],"nodeSelector":{}}}"#]],
        );
        check(
            POD,
            original(),
            json!({"spec": {"nodeSelector": {"$patch": "what"}}}),
            expect!["error: unknown patch type: what in map: map[$patch:what]"],
        );
        check(
            POD,
            original(),
            json!({"spec": {"nodeSelector": null}}),
            expect![[r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#]],
        );
    }

    #[test]
    fn element_order() {
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                "containers": [{"name": "c"}]}}),
            expect![[r#"{"spec":{"containers":[{"name":"server"},{"name":"b"},{"name":"c"},{"name":"a"}]}}"#]],
        );
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
            expect![[r#"{"spec":{"containers":[{"name":"b"},{"name":"a"}]}}"#]],
        );
        check(
            POD,
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "c"}]}}),
            expect![[r#"
                error: The order in patch list:
                [map[name:c]]
                 doesn't match $setElementOrder list:
                [map[name:a]]
            "#]],
        );
    }

    #[test]
    fn retained_keys() {
        check(
            DEPLOYMENT,
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            expect![[r#"{"spec":{"strategy":{"type":"Recreate"}}}"#]],
        );
        check(
            POD,
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}}),
            expect![[r#"{"spec":{"volumes":[{"hostPath":{"path":"/x"},"name":"v"}]}}"#]],
        );
        check(
            DEPLOYMENT,
            json!({"spec": {"strategy": {"type": "RollingUpdate"}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["x"], "type": "Recreate"}}}),
            expect!["error: invalid patch format of retainKeys"],
        );
    }

    #[test]
    fn what_is_new_loses_its_directives() {
        check(
            DEPLOYMENT,
            json!({}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}, "replicas": null}}),
            expect![[r#"{"spec":{"strategy":{"type":"Recreate"}}}"#]],
        );
    }
}
