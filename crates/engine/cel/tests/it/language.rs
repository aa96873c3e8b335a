//! The language and its libraries, an expression at a time.

use coracle_cel::{Declaration, Environment, Type, Value, limits};
use expect_test::{Expect, expect};
use serde_json::{Value as Json, json};

fn environment() -> Environment {
    Environment::new().with("object", Declaration::of(Type::Dyn)).with("text", Declaration::of(Type::String))
}

/// Each line's expression with its value, error or issues.
fn check(object: &Json, lines: &str, expected: Expect) {
    let environment = environment();
    let mut out = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out += line;
        match environment.compile(line) {
            Err(error) => out += &format!("\n{error}\n"),
            Ok(program) => {
                let variables = [Value::json(object, None), Value::text("hello")];
                match program.evaluate(&variables, limits::PER_CALL).outcome {
                    Ok(value) => out += &format!("  ->  {}\n", value.to_text()),
                    Err(error) => out += &format!("  !!  {error}\n"),
                }
            }
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn operators() {
    check(
        &json!({"a": 1, "big": 3.5}),
        r#"
        1 + 2 * 3 - -4
        7 / 2 == 3 && 7 % 2 == 1
        -7 / 2
        9223372036854775807 + 1
        -9223372036854775808
        1 / 0
        5u - 6u
        1 < 1.5 && 2u > 1 && object.a <= object.big
        1 == 1.0 && 1u == 1
        "a" + "b" + 'c'
        r"\d" + "\u00e9\t|"
        b"abc" + b"\x01"
        [1, 2] + [3]
        2 in [1, 2, 3] && !("x" in {"y": 1})
        true ? "yes" : "no"
        object.a == 1 || object.missing == 2
        object.missing == 2 || object.a == 1
        object.missing == 2
        has(object.a) && !has(object.missing)
        object.a.b
        [1, 2][5]
        {"a": 1}["b"]
        !!true
        type(1) == int && type("a") == string && type(object) == map
        "#,
        expect![[r#"
            1 + 2 * 3 - -4  ->  11
            7 / 2 == 3 && 7 % 2 == 1  ->  true
            -7 / 2  ->  -3
            9223372036854775807 + 1  !!  integer overflow
            -9223372036854775808  ->  -9223372036854775808
            1 / 0  !!  division by zero
            5u - 6u  !!  unsigned integer overflow
            1 < 1.5 && 2u > 1 && object.a <= object.big  ->  true
            1 == 1.0 && 1u == 1
            ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, double)'
             | 1 == 1.0 && 1u == 1
             | ..^
            ERROR: <input>:1:16: found no matching overload for '_==_' applied to '(uint, int)'
             | 1 == 1.0 && 1u == 1
             | ...............^
            "a" + "b" + 'c'  ->  abc
            r"\d" + "\u00e9\t|"  ->  \dé	|
            b"abc" + b"\x01"  ->  abc
            [1, 2] + [3]  ->  [1,2,3]
            2 in [1, 2, 3] && !("x" in {"y": 1})  ->  true
            true ? "yes" : "no"  ->  yes
            object.a == 1 || object.missing == 2  ->  true
            object.missing == 2 || object.a == 1  ->  true
            object.missing == 2  !!  no such key: missing
            has(object.a) && !has(object.missing)  ->  true
            object.a.b  !!  no such overload
            [1, 2][5]  !!  index out of bounds: 5
            {"a": 1}["b"]  !!  no such key: b
            !!true  ->  true
            type(1) == int && type("a") == string && type(object) == map  ->  true
        "#]],
    );
}

#[test]
fn macros() {
    check(
        &json!({"items": [{"n": 1}, {"n": 2}, {"n": 3}], "labels": {"a": "1", "b": "2"}}),
        r#"
        object.items.all(i, i.n > 0)
        object.items.exists(i, i.n == 2)
        object.items.exists_one(i, i.n > 1)
        object.items.map(i, i.n * 10)
        object.items.map(i, i.n > 1, i.n)
        object.items.filter(i, i.n != 2).size()
        object.labels.all(k, object.labels[k] != "")
        [1, 0, 2].exists(x, 4 / x == 2)
        [1, 0].all(x, 4 / x == 4)
        [1, 0].all(x, 4 / x > 9)
        cel.bind(x, 3, x * x)
        object.labels.all(k, v, k < "c" && v < "3")
        ["x", "y"].transformList(i, v, string(i) + v)
        ["x", "y"].transformMap(i, v, v + v)
        {"a": 1}.transformMapEntry(k, v, {v: k})
        object.items.map(i, i.n).sortBy(n, -n)
        object.?items.orValue([]).size()
        object.?nope.?deeper.hasValue()
        object.?labels.?a.optMap(v, v + "!").orValue("none")
        [1, ?optional.none(), ?optional.of(2)]
        {?"a": optional.none(), "b": 1}
        [1,2,3][?7].orValue(9)
        "#,
        expect![[r#"
            object.items.all(i, i.n > 0)  ->  true
            object.items.exists(i, i.n == 2)  ->  true
            object.items.exists_one(i, i.n > 1)  ->  false
            object.items.map(i, i.n * 10)  ->  [10,20,30]
            object.items.map(i, i.n > 1, i.n)  ->  [2,3]
            object.items.filter(i, i.n != 2).size()  ->  2
            object.labels.all(k, object.labels[k] != "")  ->  true
            [1, 0, 2].exists(x, 4 / x == 2)  ->  true
            [1, 0].all(x, 4 / x == 4)  !!  division by zero
            [1, 0].all(x, 4 / x > 9)  ->  false
            cel.bind(x, 3, x * x)  ->  9
            object.labels.all(k, v, k < "c" && v < "3")  ->  true
            ["x", "y"].transformList(i, v, string(i) + v)  ->  ["0x","1y"]
            ["x", "y"].transformMap(i, v, v + v)  ->  {"0":"xx","1":"yy"}
            {"a": 1}.transformMapEntry(k, v, {v: k})  ->  {"1":"a"}
            object.items.map(i, i.n).sortBy(n, -n)  ->  [3,2,1]
            object.?items.orValue([]).size()  ->  3
            object.?nope.?deeper.hasValue()  ->  false
            object.?labels.?a.optMap(v, v + "!").orValue("none")  ->  1!
            [1, ?optional.none(), ?optional.of(2)]  ->  [1,2]
            {?"a": optional.none(), "b": 1}  ->  {"b":1}
            [1,2,3][?7].orValue(9)  ->  9
        "#]],
    );
}

#[test]
fn mistakes_are_shown_as_cel_go_shows_them() {
    check(
        &json!({}),
        r#"
        foo.bar
        1 + "a"
        text.size() > 1 && text.foo
        unknown(1)
        text.unknown(1, true)
        [1, "a"]
        {"a": 1, "b": true}
        1 +
        1 2
        a.
        text.matches("(")
        duration("x") > duration("1s")
        [1].all(1, true)
        has(text)
        text ? 1 : 2
        1.all(x, true)
        for
        "abc
        $
        "é" + 1
        "#,
        expect![[r#"
            foo.bar
            ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')
             | foo.bar
             | ^
            1 + "a"
            ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'
             | 1 + "a"
             | ..^
            text.size() > 1 && text.foo
            ERROR: <input>:1:24: type 'string' does not support field selection
             | text.size() > 1 && text.foo
             | .......................^
            unknown(1)
            ERROR: <input>:1:8: undeclared reference to 'unknown' (in container '')
             | unknown(1)
             | .......^
            text.unknown(1, true)
            ERROR: <input>:1:13: undeclared reference to 'unknown' (in container '')
             | text.unknown(1, true)
             | ............^
            [1, "a"]
            ERROR: <input>:1:5: expected type 'int' but found 'string'
             | [1, "a"]
             | ....^
            {"a": 1, "b": true}
            ERROR: <input>:1:15: expected type 'int' but found 'bool'
             | {"a": 1, "b": true}
             | ..............^
            1 +
            ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | 1 +
             | ...^
            1 2
            ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>
             | 1 2
             | ..^
            a.
            ERROR: <input>:1:3: Syntax error: mismatched input '<EOF>' expecting {IDENTIFIER, ESC_IDENTIFIER}
             | a.
             | ..^
            text.matches("(")
            ERROR: <input>:1:14: invalid matches argument
             | text.matches("(")
             | .............^
            duration("x") > duration("1s")
            ERROR: <input>:1:10: invalid duration argument
             | duration("x") > duration("1s")
             | .........^
            [1].all(1, true)
            ERROR: <input>:1:9: argument must be a simple name
             | [1].all(1, true)
             | ........^
            has(text)
            ERROR: <input>:1:5: invalid argument to has() macro
             | has(text)
             | ....^
            text ? 1 : 2
            ERROR: <input>:1:6: found no matching overload for '_?_:_' applied to '(string, int, int)'
             | text ? 1 : 2
             | .....^
            1.all(x, true)
            ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)
             | 1.all(x, true)
             | ^
            for
            ERROR: <input>:1:1: reserved identifier: for
             | for
             | ^
            "abc
            ERROR: <input>:1:1: Syntax error: token recognition error at: '"abc'
             | "abc
             | ^
            $
            ERROR: <input>:1:1: Syntax error: token recognition error at: '$'
             | $
             | ^
            "é" + 1
            ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'
             | "é" + 1
             | .．..^
        "#]],
    );
}

#[test]
fn libraries() {
    check(
        &json!({"list": [3, 1, 2]}),
        r#"
        "héllo".charAt(1) + "hello".substring(1, 3) + "Ab".lowerAscii() + "ab".upperAscii()
        "a,b,c".split(",") == ["a", "b", "c"] && ["a", "b"].join("-") == "a-b"
        "hello".indexOf("l") + "hello".lastIndexOf("l")
        "abab".replace("a", "x", 1)
        "%s is %d (%.2f, %x, %b, %e)".format(["it", 5, 1.5, 255, 5, 1234.5])
        "%s %s".format([[1, "a"], {"k": 1.0}])
        strings.quote("a\"b\n")
        object.list.sum() + object.list.max() - object.list.min()
        [1, 2, 3].isSorted() && ![2, 1].isSorted()
        [1, 2, 2].distinct() + [[1], [2, 3]].flatten() + [3, 1].sort() + lists.range(2) + [1, 2].reverse() + [1, 2, 3].slice(0, 1)
        sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])
        "abc123".find("[0-9]+") + "a1b2".findAll("[0-9]").join("")
        url("https://user@example.com:80/a b?x=1&x=2&y=%20#f").getHost()
        url("https://example.com:80/path?x=1&x=2").getQuery()["x"]
        isURL("../relative") || isURL("/absolute")
        ip("192.168.0.1").family() == 4 && ip("::1").isLoopback() && isIP("1.2.3") == false
        cidr("10.0.0.0/8").containsIP("10.1.2.3") && cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")
        cidr("10.1.2.3/8").masked().prefixLength() == 8 && string(cidr("10.1.2.3/8").masked()) == "10.0.0.0/8"
        quantity("1Gi").isGreaterThan(quantity("1G")) && quantity("500m").add(quantity("1.5")).asInteger() == 2
        isQuantity("1x")
        semver("1.2.3").isLessThan(semver("1.10.0")) && semver("v1", true).major() == 1 && !isSemver("1.2")
        format.dns1123Label().validate("Bad_Name").hasValue()
        !format.named("uuid").value().validate("123e4567-e89b-12d3-a456-426614174000").hasValue()
        duration("1h30m").getMinutes() == 90 && timestamp("2024-02-29T12:00:00Z").getDayOfYear() == 59
        timestamp("2024-01-01T00:00:00Z") + duration("24h") == timestamp("2024-01-02T00:00:00Z")
        timestamp("2024-01-01T00:00:00Z").getHours("+05:30")
        int("12") + int(3.9) + int(true ? 1u : 2u)
        string(1.5) + string(true) + string(b"x") + string(duration("90s")) + string(timestamp("2024-01-01T00:00:00Z"))
        double("1e3")
        int("x")
        uint(-1)
        bytes("é").size()
        jsonpatch.escapeKey("a/b~c")
        dyn([1, "a"]).size()
        "#,
        expect![[r#"
            "héllo".charAt(1) + "hello".substring(1, 3) + "Ab".lowerAscii() + "ab".upperAscii()  ->  éelabAB
            "a,b,c".split(",") == ["a", "b", "c"] && ["a", "b"].join("-") == "a-b"  ->  true
            "hello".indexOf("l") + "hello".lastIndexOf("l")  ->  5
            "abab".replace("a", "x", 1)  ->  xbab
            "%s is %d (%.2f, %x, %b, %e)".format(["it", 5, 1.5, 255, 5, 1234.5])  ->  it is 5 (1.50, ff, 101, 1.234500×10⁰³)
            "%s %s".format([[1, "a"], {"k": 1.0}])  ->  [1, a] {k: 1}
            strings.quote("a\"b\n")  ->  "a\"b\n"
            object.list.sum() + object.list.max() - object.list.min()  ->  8
            [1, 2, 3].isSorted() && ![2, 1].isSorted()  ->  true
            [1, 2, 2].distinct() + [[1], [2, 3]].flatten() + [3, 1].sort() + lists.range(2) + [1, 2].reverse() + [1, 2, 3].slice(0, 1)  ->  [1,2,1,2,3,1,3,0,1,2,1,1]
            sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])  ->  true
            "abc123".find("[0-9]+") + "a1b2".findAll("[0-9]").join("")  ->  12312
            url("https://user@example.com:80/a b?x=1&x=2&y=%20#f").getHost()  ->  example.com:80
            url("https://example.com:80/path?x=1&x=2").getQuery()["x"]  ->  ["1","2"]
            isURL("../relative") || isURL("/absolute")  ->  true
            ip("192.168.0.1").family() == 4 && ip("::1").isLoopback() && isIP("1.2.3") == false  ->  true
            cidr("10.0.0.0/8").containsIP("10.1.2.3") && cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")  ->  true
            cidr("10.1.2.3/8").masked().prefixLength() == 8 && string(cidr("10.1.2.3/8").masked()) == "10.0.0.0/8"  ->  true
            quantity("1Gi").isGreaterThan(quantity("1G")) && quantity("500m").add(quantity("1.5")).asInteger() == 2  ->  true
            isQuantity("1x")  ->  false
            semver("1.2.3").isLessThan(semver("1.10.0")) && semver("v1", true).major() == 1 && !isSemver("1.2")  ->  true
            format.dns1123Label().validate("Bad_Name").hasValue()  ->  true
            !format.named("uuid").value().validate("123e4567-e89b-12d3-a456-426614174000").hasValue()  ->  true
            duration("1h30m").getMinutes() == 90 && timestamp("2024-02-29T12:00:00Z").getDayOfYear() == 59  ->  true
            timestamp("2024-01-01T00:00:00Z") + duration("24h") == timestamp("2024-01-02T00:00:00Z")  ->  true
            timestamp("2024-01-01T00:00:00Z").getHours("+05:30")  ->  5
            int("12") + int(3.9) + int(true ? 1u : 2u)  ->  16
            string(1.5) + string(true) + string(b"x") + string(duration("90s")) + string(timestamp("2024-01-01T00:00:00Z"))  ->  1.5truex90s2024-01-01T00:00:00Z
            double("1e3")  ->  1000
            int("x")  !!  strconv.ParseInt: parsing "x": invalid syntax
            uint(-1)  !!  unsigned integer overflow
            bytes("é").size()  ->  2
            jsonpatch.escapeKey("a/b~c")  ->  a~1b~0c
            dyn([1, "a"]).size()
            ERROR: <input>:1:9: expected type 'int' but found 'string'
             | dyn([1, "a"]).size()
             | ........^
        "#]],
    );
}

#[test]
fn what_is_too_deep_is_refused_before_it_takes_the_stack() {
    let environment = environment();
    let deep = [
        format!("{}1{}", "(".repeat(40_000), ")".repeat(40_000)),
        format!("{}1{}", "[".repeat(40_000), "]".repeat(40_000)),
        format!("object{}", ".a".repeat(40_000)),
        format!("1{}", " + 1".repeat(20_000)),
        format!("{}true", "!(".repeat(30_000)),
        format!("object{}", "[0]".repeat(30_000)),
        "a ? b : ".repeat(10_000),
    ];
    for text in deep {
        let error = environment.compile(&text).unwrap_err();
        assert!(error.issues[0].message.contains("recursion limit exceeded"), "{:?}", error.issues);
    }
    let fine = format!("{}true{}{}", "(".repeat(50), ")".repeat(50), " && true".repeat(5_000));
    assert!(environment.compile(&fine).is_ok());
}
