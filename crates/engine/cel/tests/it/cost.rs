//! Costs, beforehand and afterwards, in Kubernetes' units.

use coracle_cel::{Environment, Value, limits, schema};
use expect_test::{Expect, expect};
use serde_json::json;

fn check(lines: &str, expected: Expect) {
    let schema = json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 10},
        "free": {"type": "string"},
        "count": {"type": "integer"},
        "list": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 20}},
        "open": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "map": {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "integer"}},
    }});
    let declaration = schema::declare(&schema, false).unwrap();
    let object = json!({"name": "abc", "free": "x", "count": 3, "list": ["a", "bb"], "open": [], "map": {"k": 1}});
    let environment = Environment::new().with("self", declaration.clone());
    let mut out = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let program = environment.compile(line).unwrap();
        let estimate = program.estimate();
        let cost = program.evaluate(&[Value::json(&object, Some(&declaration))], limits::PER_CALL).cost;
        out += &format!("{line}  {}..{}  {cost}\n", estimate.min, estimate.max);
    }
    expected.assert_eq(&out);
}

#[test]
fn estimates_and_actual_costs() {
    check(
        r#"
        true
        self.count > 1
        self.name == "abc"
        self.free == "abc"
        self.name.contains("b")
        self.name.matches("^a+$")
        self.list.all(x, x.startsWith("a"))
        self.list.exists(x, x == "a")
        self.list.map(x, x + "!").size()
        self.open.all(o, has(o.a) && o.a.size() < 5)
        self.map.all(k, self.map[k] > 0)
        self.list.isSorted()
        "a" in self.list
        has(self.name) ? self.name.size() : 0
        "%s".format([self.name])
        "#,
        expect![[r#"
            true  0..0  0
            self.count > 1  3..3  3
            self.name == "abc"  3..3  3
            self.free == "abc"  3..3  3
            self.name.contains("b")  2..6  3
            self.name.matches("^a+$")  3..7  3
            self.list.all(x, x.startsWith("a"))  3..28  13
            self.list.exists(x, x == "a")  3..33  12
            self.list.map(x, x + "!").size()  14..124  32
            self.open.all(o, has(o.a) && o.a.size() < 5)  3..8388603  3
            self.map.all(k, self.map[k] > 0)  3..27  11
            self.list.isSorted()  2..47  2
            "a" in self.list  2..7  4
            has(self.name) ? self.name.size() : 0  1..4  4
            "%s".format([self.name])  13..13  13
        "#]],
    );
}

#[test]
fn evaluation_ends_at_the_limit() {
    let environment = Environment::new();
    let list = "[0,1,2,3,4,5,6,7,8,9]";
    let text =
        format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, {list}.all(e, a + b + c + d + e >= 0)))))");
    let program = environment.compile(&text).unwrap();
    let evaluation = program.evaluate(&[], 10_000);
    assert_eq!(evaluation.outcome.unwrap_err().message, "operation cancelled: actual cost limit exceeded");
}

/// Costs that are part of Kubernetes' interface: a definition or an object may not pass there and fail here.
#[test]
fn actual_costs_are_upstreams() {
    let environment = Environment::new();
    for (text, expected) in [
        ("double(5) < 10.0", 1),
        ("'%e'.format([3.14]) == '3.140000×10⁰⁰'", 3),
        ("'%o %o %o'.format([7, 8, 9]) == '7 10 11'", 2),
        ("optional.of('a').or(optional.of('a')).hasValue()", 2),
        ("optional.none().or(optional.of('a')).hasValue()", 3),
        ("optional.of('a').optMap(v, v == 'value').hasValue()", 8),
        ("quantity('50k').add(quantity('20')) == quantity('50.02k')", 5),
        ("lists.range(4) == [0, 1, 2, 3]", 16),
        ("[].sortBy(e, e) == []", 14),
        ("['d', 'a', 'b', 'c'].sort() == ['a', 'b', 'c', 'd']", 45),
        ("[-3, 1, -5, -2, 4].sortBy(e, -(e * e)) == [-5, 4, -3, -2, 1]", 145),
        ("['c', 'a', 'a', 'b', 'a', 'b', 'c', 'c'].distinct() == ['c', 'a', 'b']", 146),
        ("dyn([1, 2, 3, 4]).flatten() == [1, 2, 3, 4]", 16),
    ] {
        let program = environment.compile(text).unwrap();
        let evaluation = program.evaluate(&[], limits::PER_CALL);
        assert!(evaluation.outcome.is_ok(), "{text}: {:?}", evaluation.outcome);
        assert_eq!(evaluation.cost, expected, "{text}");
    }
}
