//! Input that means harm: refused in words or taken, but nothing panics, grows without end or runs out of stack.

use coracle_schema::{Kind, apply, decode, defaults, fields, kinds, patch, table, validate};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn read(yaml: &str, expected: Expect) {
    expected.assert_eq(&match decode::yaml(yaml.as_bytes(), None) {
        Ok(decoded) => format!("{} deep", height(&decoded.value)),
        Err(error) => error.to_string(),
    });
}

#[test]
fn json_and_yaml_nest_equally_deep() {
    for (depth, is_read) in [(127, true), (128, false), (1_000_000, false)] {
        assert_eq!(decode::json(nested(depth).as_bytes(), None).is_ok(), is_read, "{depth}");
        assert_eq!(decode::yaml(nested(depth).as_bytes(), None).is_ok(), is_read, "{depth}");
    }
    read(&"- ".repeat(5000), expect!["yaml: line 1: exceeded max depth of 127"]);
    read(&"? ".repeat(5000), expect!["yaml: line 1: exceeded max depth of 127"]);
}

#[test]
fn aliases_neither_deepen_nor_multiply_without_end() {
    let inside = |depth: usize, text: &str| format!("{}{text}{}", "[".repeat(depth), "]".repeat(depth));
    let chain = |steps: usize| {
        let step = |number: usize| format!("k{number}: &k{number} {}\n", inside(60, &format!("*k{}", number - 1)));
        format!("k0: &k0 []\n{}", (1..=steps).map(step).collect::<String>())
    };
    read(&chain(2), expect!["122 deep"]);
    read(&chain(3), expect!["yaml: line 4: exceeded max depth of 127"]);
    let wide = |steps: usize| {
        let step = |number: usize| format!("k{number}: &k{number} [{}]\n", format!("*k{},", number - 1).repeat(10));
        format!("k0: &k0 [x]\n{}", (1..=steps).map(step).collect::<String>())
    };
    read(&wide(9), expect!["yaml: line 7: document contains excessive aliasing"]);
    // Each anchor is kept by itself.
    let anchors: String = (0..100).map(|number| format!("[&a{number} ")).collect();
    let inner = "[x".to_owned() + &",x".repeat(20_000) + "]";
    read(
        &format!("{anchors}{inner}{}", "]".repeat(100)),
        expect!["yaml: line 1: document contains excessive aliasing"],
    );
}

fn patched(original: &Value, operations: Vec<Value>, expected: Expect) {
    expected.assert_eq(&match patch::json(original, &Value::Array(operations)) {
        Ok(value) => format!("{} deep, {} bytes", height(&value), value.to_string().len()),
        Err(error) => error.to_string(),
    });
}

#[test]
fn patches_neither_deepen_nor_multiply_without_end() {
    let double = |number: usize| json!({"op": "copy", "from": "", "path": format!("/k{number}")});
    patched(
        &json!({"a": "x".repeat(1000)}),
        (0..60).map(double).collect(),
        expect![
            "Unable to complete the copy, the accumulated size increase of copy is 4152259, exceeding the limit 3145728"
        ],
    );
    let deepen = |times: usize| {
        let once = [
            json!({"op": "add", "path": "/t", "value": {}}),
            json!({"op": "move", "from": "/x", "path": "/t/x"}),
            json!({"op": "move", "from": "/t", "path": "/x"}),
        ];
        std::iter::repeat_n(once, times).flatten().collect::<Vec<_>>()
    };
    patched(&json!({"x": 1}), deepen(90), expect!["91 deep, 547 bytes"]);
    patched(&json!({"x": 1}), deepen(3000), expect!["the object would be nested more than 100 levels deep"]);
    // Moving to and fro is no deepening.
    let to_and_fro = [("/a/b", "/a/c"), ("/a/c", "/a/b")];
    let moves = |_| to_and_fro.map(|(from, path)| json!({"op": "move", "from": from, "path": path}));
    patched(&json!({"a": {"b": [[]]}}), (0..1000).flat_map(moves).collect(), expect!["4 deep, 16 bytes"]);
}

const NAMES: [&str; 22] = [
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$setElementOrder/ports",
    "$deleteFromPrimitiveList/finalizers",
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "labels",
    "finalizers",
    "managedFields",
    "ownerReferences",
    "uid",
    "spec",
    "containers",
    "ports",
    "containerPort",
    "protocol",
    "strategy",
    "volumes",
    "template",
];

/// Values that look a little like objects and patches, and are neither.
fn any_value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(&["", "a", "delete", "replace", "merge", "v1", "Pod", "TCP", "1Gi", "é"][..]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
        let members = prop::collection::btree_map(name, inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect()))
        ]
    })
}

fn any_operation() -> impl Strategy<Value = Value> {
    let path = || "(/(a|b|0|1|-|-1|~0|~1|metadata|containers|)){0,4}";
    let name = prop::sample::select(&["add", "remove", "replace", "move", "copy", "test", "jump"][..]);
    (name, path(), path(), any_value())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
}

const SCHEMA_WORDS: [&str; 20] = [
    "type",
    "properties",
    "items",
    "additionalProperties",
    "required",
    "default",
    "enum",
    "pattern",
    "format",
    "nullable",
    "minimum",
    "maxLength",
    "allOf",
    "not",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
];

fn any_schema() -> impl Strategy<Value = Value> {
    let words = &["object", "array", "string", "integer", "map", "set", "(a", "date-time", "a"][..];
    let leaf = prop_oneof![
        prop::sample::select(words).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        Just(json!(["a"])),
        Just(json!({"type": "string"})),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let name = prop::sample::select(&SCHEMA_WORDS[..]).prop_map(str::to_owned);
        let schema = prop::collection::btree_map(name, inner.clone(), 0..6);
        let properties = prop::collection::btree_map("[a-c]", inner, 0..3);
        prop_oneof![
            schema.prop_map(|members| {
                let mut members: serde_json::Map<_, _> = members.into_iter().collect();
                members.entry("type").or_insert_with(|| json!("object"));
                Value::Object(members)
            }),
            properties.prop_map(|members| Value::Object(members.into_iter().collect()))
        ]
    })
}

fn request<'a>(kind: &'a Kind, live: Option<&'a Value>, manager: &'a str) -> apply::Request<'a> {
    apply::Request { kind, live, manager, subresource: "", now: "2026-01-01T00:00:00Z", force: true }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_json_patch(original in any_value(), operations in prop::collection::vec(any_operation(), 0..6)) {
        if let Ok(value) = patch::json(&original, &Value::Array(operations)) {
            prop_assert!(height(&value) <= 100);
        }
    }

    #[test]
    fn any_strategic_patch(original in any_value(), patch in any_value()) {
        for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("", "Service")] {
            let root = kinds::find_kind(group, "v1", kind).unwrap().schema.root();
            // Directives are no part of what is merged, but for those that stood in the object already.
            let _outcome = patch::strategic(root, &original, &patch);
            let _merged = patch::merge(&original, &patch);
        }
    }

    #[test]
    fn anything_is_applied_or_refused(live in any_value(), config in any_value()) {
        let kind = kinds::find_kind("", "v1", "Pod").unwrap();
        let Ok(applied) = apply::apply(&request(kind, None, "one"), config.clone()) else { return Ok(()) };
        prop_assert_eq!(&apply::apply(&request(kind, Some(&applied), "one"), config.clone()).unwrap(), &applied);
        // Managed fields that nobody wrote.
        let mut spoiled = applied.clone();
        if spoiled["metadata"].is_object() {
            spoiled["metadata"]["managedFields"] = live.clone();
        }
        let _outcome = apply::apply(&request(kind, Some(&spoiled), "two"), config);
        let _updated = apply::update(&request(kind, Some(&spoiled), "three"), applied);
    }

    #[test]
    fn anything_goes_through_checks(value in any_value()) {
        for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("", "Service")] {
            let kind = kinds::find_kind(group, "v1", kind).unwrap();
            let mut value = value.clone();
            if !value.is_object() || fields::type_error(kind, &value).is_some() {
                continue;
            }
            fields::prune(kind, &mut value);
            defaults::apply(kind, &mut value);
            let _problems = validate::create(kind, &value);
            let _cells = table::cells(kind, &value, 0);
        }
    }

    #[test]
    fn any_schema_is_taken_or_refused(schema in any_schema(), value in any_value()) {
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let definition = json!({"metadata": {"name": "as.e.x"}, "spec": {"group": "e.x", "scope": "Namespaced",
            "names": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"}, "versions": [version]}});
        let crds = kinds::find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let _problems = validate::create(crds, &definition);
        for made in Kind::from_crd(&definition).into_iter().flatten() {
            let mut object = json!({"apiVersion": "e.x/v1", "kind": "A", "metadata": {"name": "a"}, "a": value, "b": {"c": 1}});
            fields::prune(&made.kind, &mut object);
            defaults::apply(&made.kind, &mut object);
            let _problems = validate::create(&made.kind, &object);
        }
    }
}
