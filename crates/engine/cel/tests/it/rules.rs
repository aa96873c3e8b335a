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
        expect![[r#"
            spec.replicas: Forbidden: failed rule: !has(self.max) || self.replicas <= self.max
            spec: Invalid value: failed rule: !has(self.dot__dot__ted) || self.dot__dot__ted != ''
            spec: Invalid value: failed rule: !has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')
            spec.replicas: Invalid value: 12: too many"#]],
    );
    check(
        &schema,
        json!({"spec": {"replicas": 12, "list": [{"k": "a", "v": 1}, {"k": "b", "v": 5}]}}),
        Some(json!({"spec": {"replicas": 12, "list": [{"k": "b", "v": 7}, {"k": "a", "v": 1}]}})),
        expect![[r#"
            spec.list[1]: Invalid value: b went from 7 to 5
            warning: spec.replicas: Invalid value: 12: too many"#]],
    );
    check(
        &schema,
        json!({"spec": {"replicas": 3}}),
        Some(json!({"spec": {"replicas": 4}})),
        expect!["spec: Invalid value: may not shrink"],
    );
}

#[test]
fn rules_that_fail_say_why() {
    let schema = schema(json!({"type": "object",
        "properties": {"port": {"x-kubernetes-int-or-string": true}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.port < 5"}, {"rule": "self.n > 0"}, {"rule": "10 / (self.n - 1) > 0", "message": "odd"}]}));
    check(
        &schema,
        json!({"spec": {"port": "http", "n": 1}}),
        None,
        expect![[r#"
        spec: Invalid value: "object": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.port < 5
        spec: Invalid value: "object": division by zero evaluating rule: odd"#]],
    );
    check(
        &schema,
        json!({"spec": {"port": 80}}),
        None,
        expect![[r#"
        spec: Invalid value: failed rule: self.port < 5
        spec: Invalid value: "object": no such key: n evaluating rule: self.n > 0
        spec: Invalid value: "object": no such key: n evaluating rule: odd"#]],
    );
}

#[test]
fn definitions_with_wrong_rules_are_refused() {
    refused(
        &schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [
            {"rule": "self.b == 1"}, {"rule": "self.a + 'x'"}, {"rule": "self.a == 'x'", "messageExpression": "1"},
            {"rule": "self.a == 'x'", "optionalOldSelf": true}]})),
        expect![[r#"
            schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{Rule:"self.b == 1", Message:"", MessageExpression:"", Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", OptionalOldSelf:(*bool)(nil)}: compilation failed: ERROR: <input>:1:5: undefined field 'b'
             | self.b == 1
             | ....^
            schema.properties[spec].x-kubernetes-validations[1].rule: Invalid value: apiextensions.ValidationRule{Rule:"self.a + 'x'", Message:"", MessageExpression:"", Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", OptionalOldSelf:(*bool)(nil)}: cel expression must evaluate to a bool
            schema.properties[spec].x-kubernetes-validations[2].messageExpression: Invalid value: apiextensions.ValidationRule{Rule:"self.a == 'x'", Message:"", MessageExpression:"1", Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", OptionalOldSelf:(*bool)(nil)}: messageExpression must evaluate to a string
            schema.properties[spec].x-kubernetes-validations[3].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"#]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [
            {"rule": " "}, {"rule": "true", "message": " "}, {"rule": "true\n", "reason": "Nope"},
            {"rule": "true", "fieldPath": ".b"}]})),
        expect![[r#"
            schema.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
            schema.properties[spec].x-kubernetes-validations[1].message: Invalid value: " ": must be non-empty if specified
            schema.properties[spec].x-kubernetes-validations[2].reason: Unsupported value: "Nope": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
            schema.properties[spec].x-kubernetes-validations[3].fieldPath: Invalid value: ".b": must be a valid path"#]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}})),
        expect![[r#"
            schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec].properties[list]
            schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
            schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
    refused(
        &schema(json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "string"}}},
            "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, x == y))"}]})),
        expect![[r#"
            schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
            schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
}
