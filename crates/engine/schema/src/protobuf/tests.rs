use std::{env, fs};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::{
    kinds::{self, Kind},
    types::{Field, Format, Shape},
};

/// A field that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, raw)].concat()
}

fn check(group: &str, plural: &str, body: &[u8], expected: Expect) {
    let kind = kinds::find(group, "v1", plural).unwrap();
    let shown = match object(body, kind.schema.root()) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn a_config_map_is_read() {
    let metadata = [field(1, b"a"), field(2, b""), field(3, b"ns"), field(8, b"")].concat();
    let data = [field(1, b"k"), field(2, b"v")].concat();
    let raw = [field(1, &metadata), field(2, &data)].concat();
    check(
        "",
        "configmaps",
        &enveloped("v1", "ConfigMap", &raw),
        expect![[
            r#"{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"ns"}}"#
        ]],
    );
}

#[test]
fn inlined_messages_numbers_and_quantities_are_read() {
    let empty_dir = field(2, b"");
    let volume = [field(1, b"tmp"), field(2, &empty_dir)].concat();
    let limits = [field(1, b"cpu"), field(2, &field(1, b"1"))].concat();
    let container = [field(1, b"c"), field(8, &field(1, &limits))].concat();
    let spec = [field(1, &volume), field(2, &container), vec![4 << 3, 0]].concat();
    check(
        "",
        "pods",
        &enveloped("v1", "Pod", &field(2, &spec)),
        expect![[
            r#"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}],"terminationGracePeriodSeconds":0,"volumes":[{"emptyDir":{},"name":"tmp"}]}}"#
        ]],
    );
}

proptest::proptest! {
    #[test]
    fn no_body_brings_the_reader_down(body: Vec<u8>) {
        let kind = kinds::find("", "v1", "pods").unwrap();
        let _outcome = object(&[MAGIC, &[0x12, u8::try_from(body.len().min(127)).unwrap()], &body].concat(), kind.schema.root());
    }
}

#[test]
fn broken_bodies_are_refused() {
    check("", "pods", b"{}", expect!["the body does not start with the protobuf envelope's magic bytes"]);
    check("", "pods", b"k8s\0\x12\x09\x0a", expect!["unexpected end of the protobuf body"]);
    check(
        "",
        "pods",
        &enveloped("v1", "Pod", &[0x08, 1]),
        expect![[r#"field "metadata" has an unexpected wire type"#]],
    );
}

/// Both ways, for a document in its JSON form.
fn round(kind: &Kind, json: &Value) -> Value {
    object(&document(json.to_string().as_bytes()).unwrap(), kind.schema.root()).unwrap()
}

#[test]
fn every_field_has_a_number() {
    for kind in kinds::builtin() {
        let mut seen = Vec::new();
        each_field(kind.schema.root(), &mut seen, &mut |owner, field| {
            let type_meta = matches!(field.name(), "apiVersion" | "kind");
            assert!(type_meta || field.number()[0] != 0, "{} {} has no number", owner.name(), field.name());
        });
    }
}

fn each_field(of: Type<'_>, seen: &mut Vec<String>, check: &mut impl FnMut(Type<'_>, Field<'_>)) {
    if let Some(element) = of.element() {
        each_field(element, seen, check);
    }
    if !of.has_fields() || seen.iter().any(|name| name == of.name()) {
        return;
    }
    seen.push(of.name().to_owned());
    for field in of.fields() {
        check(of, field);
        each_field(field.value(), seen, check);
    }
}

/// A value of a type with everything in it that the type has, but for what is `inside` itself: numbers and texts made
/// from `seed`.
fn full(of: Type<'_>, seed: u64, inside: &[&str]) -> Option<Value> {
    if inside.contains(&of.name()) {
        return None;
    }
    let named = if of.has_fields() { of.name() } else { "-" };
    let inside = [inside, &[named]].concat();
    let text = || format!("t{}", seed % 1000);
    Some(match of.shape() {
        Shape::String => match of.format() {
            Format::Byte => json!("aGVsbG8="),
            Format::DateTime => json!("2026-11-28T01:02:03Z"),
            Format::MicroTime => json!("2026-11-28T01:02:03.000456Z"),
            _ => json!(text()),
        },
        Shape::Integer if seed.is_multiple_of(3) => json!(-1 - (seed % 100).cast_signed()),
        Shape::Integer => json!(1 + seed % 100_000),
        Shape::Number => json!(1.5),
        Shape::Boolean => json!(true),
        Shape::Quantity => json!("1500m"),
        Shape::IntOrString if seed.is_multiple_of(2) => json!(text()),
        Shape::IntOrString => json!(seed % 100),
        Shape::Any => match SchemaOr::of(of) {
            Some(SchemaOr::Bool) if seed.is_multiple_of(2) => json!(false),
            Some(SchemaOr::Names) => json!(["a", "b"]),
            Some(SchemaOr::Array) if seed.is_multiple_of(2) => json!([{"type": "string"}, {"title": "x"}]),
            Some(_) => json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1.0}}}),
            None => json!({"a": [1, null, "x"]}),
        },
        Shape::List => {
            let items = (seed..seed + if inside.len() < 5 { 2 } else { 1 })
                .filter_map(|seed| full(of.element()?, seed, &inside));
            Some(items.collect::<Vec<_>>()).filter(|items| !items.is_empty())?.into()
        }
        Shape::Object if of.has_fields() => {
            let fields = of.fields().enumerate().filter(|(_, field)| field.number()[0] != 0);
            fields
                .filter_map(|(at, field)| {
                    let seed = seed.wrapping_mul(7).wrapping_add(at as u64);
                    Some((field.name().to_owned(), full(field.value(), seed, &inside)?))
                })
                .collect()
        }
        Shape::Object => match of.element() {
            Some(element) => json!({"k": full(element, seed, &inside)?, "": full(element, seed + 5, &inside)?}),
            None => json!({"f:a": {}}),
        },
    })
}

#[test]
fn every_kind_survives_both_ways() {
    for kind in kinds::builtin() {
        for seed in 1..3 {
            let mut value = full(kind.schema.root(), seed, &[]).unwrap();
            value["apiVersion"] = json!(kind.api_version());
            value["kind"] = json!(kind.kind);
            let back = round(kind, &value);
            assert!(back == value, "{} {seed}:\n{value:#}\n{back:#}", kind.kind);
        }
    }
}

#[test]
fn zeros_stay_where_they_mean_something() {
    let budget = kinds::find("policy", "v1", "poddisruptionbudgets").unwrap();
    let value = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"maxUnavailable": 0}});
    assert_eq!(round(budget, &value), value);
    let deployment = kinds::find("apps", "v1", "deployments").unwrap();
    let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "paused": false}});
    assert_eq!(round(deployment, &value)["spec"], json!({"replicas": 0}));
}

#[test]
fn long_messages_get_longer_lengths() {
    let kind = kinds::find("", "v1", "configmaps").unwrap();
    for length in [0, 1, 100, 120, 127, 128, 200, 16_300, 16_384, 3_000_000] {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v".repeat(length)}});
        assert_eq!(round(kind, &value), value);
    }
}

#[test]
fn lists_statuses_and_metadata_have_messages_of_their_own() {
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]});
    let bytes = document(list.to_string().as_bytes()).unwrap();
    let mut writer = ListWriter::new(
        b"{\"resourceVersion\":\"7\"}",
        kinds::find("", "v1", "configmaps").map(|kind| kind.schema.root()),
    )
    .unwrap();
    writer.push(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#).unwrap();
    assert_eq!(writer.finish("v1", "ConfigMapList"), bytes);
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "code": 404, "details": {"name": "x", "causes": [{"reason": "R"}]}});
    let bytes = document(status.to_string().as_bytes()).unwrap();
    assert_eq!(object(&bytes, meta_schema("Status").root()).unwrap(), status);
    let resources = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [{"name": "pods", "namespaced": true, "kind": "Pod", "singularName": "pod", "verbs": ["get", "list"]}]});
    let bytes = document(resources.to_string().as_bytes()).unwrap();
    assert_eq!(object(&bytes, meta_schema("APIResourceList").root()).unwrap(), resources);
    let custom = document(br#"{"apiVersion":"example.com/v1","kind":"Thing"}"#);
    assert_eq!(custom, Err(ProtobufError::NoMessage("Thing".into())));
}

/// `NAME.json` and `NAME.pb` of the real thing, such as k8s.io/api keeps under `testdata`.
#[test]
fn recorded_objects_mean_the_same() {
    let Some(directory) = env::var_os("CORACLE_API_TESTDATA") else {
        println!("left out: CORACLE_API_TESTDATA names no directory with recorded objects");
        return;
    };
    let mut compared = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Some(bytes) = path.extension().filter(|ext| *ext == "pb").map(|_| fs::read(&path).unwrap()) else {
            continue;
        };
        let mut json: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let (api_version, kind) = (json["apiVersion"].as_str().unwrap(), json["kind"].as_str().unwrap().to_owned());
        let Some(schema) = schema(api_version, &kind) else { continue };
        let mut read = object(&bytes, schema.root()).unwrap();
        // A moment that is none, as a map's value.
        drop_nulls(&mut read);
        let written = document(json.to_string().as_bytes()).unwrap();
        drop_nulls(&mut json);
        let name = path.display();
        assert!(read == json, "{name} read:\n{read:#}\n{json:#}");
        let mut back = object(&written, schema.root()).unwrap();
        drop_nulls(&mut back);
        assert!(back == json, "{name} written:\n{back:#}\n{json:#}");
        compared += 1;
    }
    println!("{compared} recorded objects compared");
    assert!(compared > 0);
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
