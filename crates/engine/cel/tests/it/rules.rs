//! `x-kubernetes-validations`, on definitions and on objects.

use coracle_cel::rules::{Rules, check_definition};
use expect_test::{Expect, expect};
use serde_json::{Value as Json, json};

fn schema(spec: Json) -> Json {
    json!({"type": "object", "properties": {"spec": spec}})
}

fn check(schema: &Json, object: Json, old: Option<Json>, expected: Expect) {
    assert_eq!(check_definition(schema, "schema"), []);
    let rules = Rules::compile(schema).unwrap();
    let findings = rules.check(&object, old.as_ref());
    let errors = findings.errors.iter().map(|error| error.to_string());
    let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}"));
    expected.assert_eq(&errors.chain(warnings).collect::<Vec<_>>().join("\n"));
}

fn refused(schema: &Json, expected: Expect) {
    let problems = check_definition(schema, "schema");
    let shown: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
    expected.assert_eq(&shown.join("\n"));
}

#[test]
fn rules_speak_of_objects() {
    let schema = schema(json!({"type": "object",
        "properties": {
            "replicas": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 10", "message": "too many"}]},
            "max": {"type": "integer"},
            "when": {"type": "string", "format": "date-time"},
            "dot.ted": {"type": "string"},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items":
                {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                 "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "messageExpression": "'%s went from %d to %d'.format([self.k, oldSelf.v, self.v])"}]}},
        },
        "x-kubernetes-validations": [
            {"rule": "!has(self.max) || self.replicas <= self.max", "fieldPath": ".replicas", "reason": "FieldValueForbidden"},
            {"rule": "!has(self.dot__dot__ted) || self.dot__dot__ted != ''"},
            {"rule": "!has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')"},
            {"rule": "!oldSelf.hasValue() || self.replicas >= oldSelf.value().replicas", "optionalOldSelf": true, "message": "may not shrink"},
        ]}));
    check(&schema, json!({"spec": {"replicas": 3, "max": 5, "dot.ted": "x"}}), None, expect![[""]]);
    check(
        &schema,
        json!({"spec": {"replicas": 12, "max": 5, "dot.ted": "", "when": "2000-01-01T00:00:00Z"}}),
        None,
        expect![[""]],
    );
    check(
        &schema,
        json!({"spec": {"replicas": 12, "list": [{"k": "a", "v": 1}, {"k": "b", "v": 5}]}}),
        Some(json!({"spec": {"replicas": 12, "list": [{"k": "b", "v": 7}, {"k": "a", "v": 1}]}})),
        expect![[""]],
    );
    check(
        &schema,
        json!({"spec": {"replicas": 3}}),
        Some(json!({"spec": {"replicas": 4}})),
        expect![[""]],
    );
}

#[test]
fn rules_that_fail_say_why() {
    let schema = schema(json!({"type": "object",
        "properties": {"port": {"x-kubernetes-int-or-string": true}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.port < 5"}, {"rule": "self.n > 0"}, {"rule": "10 / (self.n - 1) > 0", "message": "odd"}]}));
    check(&schema, json!({"spec": {"port": "http", "n": 1}}), None, expect![[""]]);
    check(&schema, json!({"spec": {"port": 80}}), None, expect![[""]]);
}

#[test]
fn definitions_with_wrong_rules_are_refused() {
    refused(
        &schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [
            {"rule": "self.b == 1"}, {"rule": "self.a + 'x'"}, {"rule": "self.a == 'x'", "messageExpression": "1"},
            {"rule": "self.a == 'x'", "optionalOldSelf": true}]})),
        expect![[""]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [
            {"rule": " "}, {"rule": "true", "message": " "}, {"rule": "true\n", "reason": "Nope"},
            {"rule": "true", "fieldPath": ".b"}]})),
        expect![[""]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}})),
        expect![[""]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}},
            "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, x == y))"}]})),
        expect![[""]],
    );
}
