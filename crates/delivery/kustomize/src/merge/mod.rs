//! Strategic merge: mappings merge, lists whose kind says so merge by their keys, other lists are replaced.
//!
//! This follows the original's walk step by step, because trees in use depend on where it surprises: what a patch adds
//! is merged with itself, so that its nulls and directives are worked off; an empty `field:` disappears from every
//! object a patch touches, while `field: null` stays; elements a patch names come first, in its order.

mod lists;
mod openapi;
mod schema;

use coracle_yaml::{Entry, Mapping, Node, Value};

use crate::error::Trouble;
use crate::scalars::{assign, text};

pub(crate) use openapi::CustomTypes;
pub(crate) use schema::{Schema, Types};

/// Objects and patches nest less deep than this; the parser sees to it, this holds for what merging adds.
const DEPTH_LIMIT: usize = 500;

const DIRECTIVE: &str = "$patch";

/// What became of a node.
enum Outcome {
    /// It was changed in place, or stays.
    Kept,
    /// This takes its place.
    Replaced(Node),
    Removed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

/// Merges `patch` into `target`; `false` means that the patch deletes the whole object.
pub(crate) fn merge(types: &Types, target: &mut Node, patch: Node) -> Result<bool, Trouble> {
    let mut merge = Merge { types, depth: 0 };
    match merge.walk(Some(target), Some(patch), None)? {
        Outcome::Kept => Ok(true),
        Outcome::Replaced(node) => {
            *target = node;
            Ok(true)
        }
        Outcome::Removed => Ok(false),
    }
}

struct Merge<'a> {
    types: &'a Types,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Scalar,
    Sequence,
    Mapping,
}

fn shape(node: &Node) -> Shape {
    match node.value {
        Value::Scalar(_) => Shape::Scalar,
        Value::Sequence(_) => Shape::Sequence,
        Value::Mapping(_) => Shape::Mapping,
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shape::Scalar => "a scalar",
            Shape::Sequence => "a list",
            Shape::Mapping => "a mapping",
        })
    }
}

impl Merge<'_> {
    fn walk(
        &mut self,
        dest: Option<&mut Node>,
        patch: Option<Node>,
        schema: Option<Schema>,
    ) -> Result<Outcome, Trouble> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            let mark = patch.map(|patch| patch.mark).unwrap_or_default();
            return Err(Trouble::new(mark, format!("nested more than {DEPTH_LIMIT} levels deep")));
        }
        let outcome = self.walk_kind(dest, patch, schema);
        self.depth -= 1;
        outcome
    }

    fn walk_kind(
        &mut self,
        dest: Option<&mut Node>,
        patch: Option<Node>,
        schema: Option<Schema>,
    ) -> Result<Outcome, Trouble> {
        let present = |node: &&Node| !node.is_null();
        let known = [dest.as_deref().filter(present), patch.as_ref().filter(present)];
        let schema = schema.or_else(|| known.into_iter().flatten().find_map(|node| self.types.of(node)));
        if let [Some(dest), Some(patch)] = known
            && shape(dest) != shape(patch)
        {
            let message = format!("the patch has {} where the object has {}", shape(patch), shape(dest));
            return Err(Trouble::new(patch.mark, message));
        }
        let shape = known[0].or(known[1]).map_or(Shape::Mapping, shape);
        match shape {
            Shape::Mapping => self.walk_mapping(dest, patch, schema),
            Shape::Sequence => match schema.as_ref().and_then(Schema::merge_keys) {
                Some(keys) => self.walk_list(dest, patch, &keys, schema.and_then(|schema| schema.elements())),
                None => Ok(patch.map_or(Outcome::Kept, Outcome::Replaced)),
            },
            Shape::Scalar => Ok(patch.map_or(Outcome::Kept, Outcome::Replaced)),
        }
    }

    fn walk_mapping(
        &mut self,
        dest: Option<&mut Node>,
        patch: Option<Node>,
        schema: Option<Schema>,
    ) -> Result<Outcome, Trouble> {
        let Some(dest) = dest else {
            let Some(patch) = patch else { return Ok(Outcome::Removed) };
            return self.added(patch, schema);
        };
        if dest.is_null() {
            return match patch {
                Some(patch) => self.added(patch, schema),
                // `field:` goes, `field: null` stays.
                None if text(dest).is_empty() => Ok(Outcome::Removed),
                None => Ok(Outcome::Kept),
            };
        }
        let Some(mut patch) = patch else {
            self.fields(dest, Mapping::new(), schema)?;
            return Ok(Outcome::Kept);
        };
        if patch.is_null() {
            return Ok(Outcome::Removed);
        }
        match take_directive(&mut patch)? {
            Directive::Delete => Ok(Outcome::Removed),
            Directive::Replace => self.with_itself(patch, schema),
            Directive::Merge => {
                self.fields(dest, into_mapping(patch), schema)?;
                Ok(Outcome::Kept)
            }
        }
    }

    /// What the patch has and the object has not.
    fn added(&mut self, mut patch: Node, schema: Option<Schema>) -> Result<Outcome, Trouble> {
        if patch.is_null() {
            return Ok(Outcome::Replaced(patch));
        }
        if let Ok(Directive::Delete) = take_directive(&mut patch) {
            return Ok(Outcome::Removed);
        }
        self.with_itself(patch, schema)
    }

    fn with_itself(&mut self, patch: Node, schema: Option<Schema>) -> Result<Outcome, Trouble> {
        let mut dest = patch.clone();
        self.fields(&mut dest, into_mapping(patch), schema)?;
        Ok(Outcome::Replaced(dest))
    }

    fn fields(&mut self, dest: &mut Node, mut patch: Mapping, schema: Option<Schema>) -> Result<(), Trouble> {
        let Some(dest) = dest.as_mapping_mut() else { return Ok(()) };
        let own: Vec<Box<str>> = dest.iter().map(|entry| entry.key.clone()).collect();
        for key in own {
            let value = patch.remove(&key);
            let child = schema.as_ref().and_then(|schema| schema.field(&key));
            match self.walk(dest.get_mut(&key), value, child).map_err(|trouble| within(trouble, &key))? {
                Outcome::Kept => {}
                Outcome::Replaced(node) if !node.is_null() => {
                    assign(dest.get_mut(&key).expect("the key is one of the object's own"), node);
                }
                Outcome::Replaced(_) | Outcome::Removed => {
                    dest.remove(&key);
                }
            }
        }
        for Entry { key, key_mark, key_quoted, value } in patch.into_entries() {
            let child = schema.as_ref().and_then(|schema| schema.field(&key));
            let outcome = self.walk(None, Some(value), child).map_err(|trouble| within(trouble, &key))?;
            if let Outcome::Replaced(value) = outcome
                && !value.is_null()
            {
                dest.push(Entry { key, key_mark, key_quoted, value });
            }
        }
        Ok(())
    }
}

/// Says where in the object the trouble is.
fn within(mut trouble: Trouble, key: &str) -> Trouble {
    trouble.message = match trouble.message.split_once(": ") {
        Some((path, rest)) if !path.contains(' ') => format!("{key}.{path}: {rest}"),
        _ => format!("{key}: {}", trouble.message),
    };
    trouble
}

fn into_mapping(node: Node) -> Mapping {
    match node.value {
        Value::Mapping(mapping) => mapping,
        _ => Mapping::new(),
    }
}

fn read_directive(node: &Node) -> Result<Directive, Trouble> {
    match text(node) {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        _ => {
            let message = format!("$patch: expected merge, replace or delete, found {}", node.describe());
            Err(Trouble::new(node.mark, message))
        }
    }
}

fn take_directive(patch: &mut Node) -> Result<Directive, Trouble> {
    let Some(node) = patch.get(DIRECTIVE) else { return Ok(Directive::Merge) };
    let directive = read_directive(node)?;
    if let Some(mapping) = patch.as_mapping_mut() {
        mapping.remove(DIRECTIVE);
    }
    Ok(directive)
}

#[cfg(test)]
mod tests {
    use coracle_yaml::{FileId, Node, emit, parse_one};
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::{Types, merge};

    fn node(text: &str) -> Node {
        parse_one(text, FileId::default()).unwrap()
    }

    fn check(target: &str, patch: &str, expected: Expect) {
        let mut target = node(target);
        let text = match merge(&Types::default(), &mut target, node(patch)) {
            Ok(true) => emit(&target.to_json()),
            Ok(false) => "deleted".to_owned(),
            Err(trouble) => format!("{}:{}: {}", trouble.mark.line, trouble.mark.column, trouble.message),
        };
        expected.assert_eq(&text);
    }

    fn pod(spec: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nspec: {spec}\n")
    }

    #[test]
    fn lists_with_a_key_merge_by_it() {
        check(
            &pod("{containers: [{name: a, image: x}, {name: b, image: y}]}"),
            &pod("{containers: [{name: b, image: z}, {name: c}]}"),
            expect![[r#"
                apiVersion: v1
                kind: Pod
                spec:
                  containers:
                  - image: z
                    name: b
                  - name: c
                  - image: x
                    name: a
            "#]],
        );
        check(
            &pod("{containers: [{name: a, args: [x]}]}"),
            &pod("{containers: [{name: a, $patch: delete}, {name: b, args: [y, z]}]}"),
            expect![[r#"
                apiVersion: v1
                kind: Pod
                spec:
                  containers:
                  - args:
                    - "y"
                    - z
                    name: b
            "#]],
        );
    }

    #[test]
    fn directives_and_nulls() {
        check(
            "a: {b: 1, c: 2}",
            "a: {$patch: replace, d: 3}",
            expect![[r#"
            a:
              d: 3
        "#]],
        );
        check("a: 1", "$patch: delete", expect!["deleted"]);
        check(
            "a: {b: 1}\nc: 2",
            "a: {b: null}\nc: null",
            expect![[r#"
            a: {}
        "#]],
        );
        check(
            "a:\nb: null\nc: {d: }",
            "e: 1",
            expect![[r#"
            b: null
            c: {}
            e: 1
        "#]],
        );
        check(
            "a: \"5\"",
            "a: 7",
            expect![[r#"
            a: "7"
        "#]],
        );
        check("a: 1", "a: {b: 2}", expect!["1:4: a: the patch has a mapping where the object has a scalar"]);
        check(
            "a: {b: 1}",
            "a: {$patch: drop}",
            expect![[r#"1:13: a.$patch: expected merge, replace or delete, found the string "drop""#]],
        );
    }

    fn tree() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1".to_owned()),
            Just("\"x\"".to_owned()),
            Just("{$patch: delete}".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            let key = prop_oneof!["name", "containers", "env", "ports", "spec", "containerPort", "a", "\\$patch"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|map| {
                    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                    format!("{{{}}}", entries.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_never_panics_and_nothing_is_its_neutral_element(target in tree(), patch in tree()) {
            let mut merged = node(&pod(&target));
            let _ = merge(&Types::default(), &mut merged, node(&pod(&patch)));
            let mut twice = node(&pod("{a: {b: 1}, containers: [{name: x}]}"));
            let before = twice.clone();
            let is_kept = merge(&Types::default(), &mut twice, node(&pod("{}"))).unwrap();
            prop_assert!(is_kept);
            prop_assert_eq!(twice.to_json(), before.to_json());
        }

        #[test]
        fn merging_a_patch_twice_changes_nothing(target in tree(), patch in tree()) {
            // What a directive deletes is not there a second time.
            let patch = node(&pod(&patch.replace("$patch", "patch")));
            let mut once = node(&pod(&target.replace("$patch", "patch")));
            if let Ok(true) = merge(&Types::default(), &mut once, patch.clone()) {
                let mut twice = once.clone();
                if let Ok(true) = merge(&Types::default(), &mut twice, patch) {
                    prop_assert_eq!(twice.to_json(), once.to_json());
                }
            }
        }
    }
}
