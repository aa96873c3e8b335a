//! The three patch types that need no knowledge of owners: JSON patch, JSON merge patch and strategic merge patch.

mod json;
mod strategic;

use serde_json::{Map, Value};
use thiserror::Error;

pub use json::json;
pub use strategic::strategic;

/// A patch that cannot be read or does not fit the object.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatchError {
    /// The patch itself is wrong: upstream answers 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch is fine but does not apply to this object: upstream answers 422.
    #[error("{0}")]
    DoesNotApply(String),
    /// More operations than a patch may have: upstream answers 413.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {found}")]
    TooLarge { limit: usize, found: usize },
}

/// RFC 7386: members are merged, null deletes, everything else replaces.
pub fn merge(original: &Value, patch: &Value) -> Value {
    let mut merged = original.clone();
    merge_into(&mut merged, patch);
    merged
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, change) in patch {
        if change.is_null() {
            members.remove(name);
        } else {
            merge_into(members.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// The merge patch that turns `from` into `to`. A null within `to` cannot be expressed and is left out.
pub fn merge_diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (name, before) in from {
        match to.get(name) {
            None => {
                patch.insert(name.clone(), Value::Null);
            }
            Some(after) if after != before => {
                patch.insert(name.clone(), merge_diff(before, after));
            }
            Some(_) => {}
        }
    }
    for (name, after) in to {
        if !from.contains_key(name) {
            patch.insert(name.clone(), after.clone());
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_rfc_7386() {
        for (original, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge(&original, &patch), expected, "{original} + {patch}");
        }
    }

    /// Any JSON without nulls, small.
    pub(super) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0i64..5).prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d/~]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_difference_applied_gives_the_target(from in any_json(), to in any_json()) {
            prop_assert_eq!(merge(&from, &merge_diff(&from, &to)), to);
        }

        #[test]
        fn merging_twice_changes_nothing_more(original in any_json(), patch in any_json()) {
            let once = merge(&original, &patch);
            prop_assert_eq!(merge(&once, &patch), once);
        }
    }
}
