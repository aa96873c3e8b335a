//! The parser: what it reads, how it prints, what it says about mistakes.

use std::path::PathBuf;

use coracle_promql::parser::{self, Options, parse, prettify, to_json};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn check(queries: &[&str], expected: Expect) {
    let shown = queries.iter().map(|query| match parse(query, Options::EVERYTHING) {
        Ok(expr) => format!("{expr}\n"),
        Err(error) => format!("{error}\n"),
    });
    expected.assert_eq(&shown.collect::<String>());
}

#[test]
fn expressions_print_in_one_way() {
    check(
        &[
            "1e3 + 0x1F + .5 - 1_000 * 5m",
            "-2^2^3",
            "sum(a) by(b,c)",
            "sum without(b) (rate(a{x=~'y',z!=\"\"}[5m]offset-1h))",
            "a + on(b) group_left(c) d",
            "a and ignoring(b) c or d",
            "{\"strange name\", 'label.x'=`y`}",
            "a[5m:] @ start() offset 1w",
            "a[max_of(step(), 1m + 30s):range() / 2] @ 12.5",
            "a offset (1m) + b",
            "a + fill_left(-1) fill_right(2) b == bool c",
            "topk(3, a) # a comment",
            "rate(a[5m] anchored) + b smoothed",
            "info(a, {b=\"c\"})",
            "fill + fill{x=\"1\"}",
        ],
        expect![[r#"
            1000 + 31 + 0.5 - 1000 * 5m
            -2 ^ 2 ^ 3
            sum by (b, c) (a)
            sum without (b) (rate(a{x=~"y",z!=""}[5m] offset -1h))
            a + on (b) group_left (c) d
            a and ignoring (b) c or d
            {"label.x"="y",__name__="strange name"}
            a[5m:] @ start() offset 1w
            a[max_of(step(), 1m + 30s):range() / 2] @ 12.500
            1:17: parse error: unexpected identifier "b" in offset, expected number, duration, step(), or range()
            a + fill_left (-1) fill_right (2) b == bool c
            topk(3, a)
            rate(a[5m] anchored) + b smoothed
            info(a, {b="c"})
            fill + fill{x="1"}
        "#]],
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    check(
        &[
            "",
            "sum(",
            "a b",
            "sum by b (a)",
            "rate(a)",
            "foo(a)",
            "1 == 1",
            "a[5m] offset 1m offset 2m",
            "{a=\"\"}",
            "a{b=\"c\"",
            "\"abc",
            "a[0s]",
            "a + on(b) group_left(b) c",
            "a{b=~\"(\"}",
            "sum(a,,b)",
            "a @ x",
            "line\n  + *",
        ],
        expect![[r#"
            unknown position: parse error: no expression found in input
            1:5: parse error: unclosed left parenthesis
            1:3: parse error: unexpected identifier "b"
            1:8: parse error: unexpected identifier "b" in grouping opts, expected "("
            1:6: parse error: expected type range vector in call to function "rate", got instant vector
            1:1: parse error: unknown function with name "foo"
            1:3: parse error: comparisons between scalars must use BOOL modifier
            1:1: parse error: offset may not be set multiple times
            1:1: parse error: vector selector must contain at least one non-empty matcher
            1:8: parse error: unexpected end of input inside braces
            1:1: parse error: unterminated quoted string
            1:3: parse error: duration must be greater than 0
            1:3: parse error: label "b" must not occur in ON and GROUP clause at once
            1:3: parse error: error parsing regexp: missing closing ): `(`
            1:6: parse error: trailing commas not allowed in function call args
            1:5: parse error: unexpected identifier "x" in @, expected timestamp
            2:5: parse error: unexpected <op:*>
        "#]],
    );
}

#[test]
fn long_expressions_are_laid_out() {
    let query = "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / on (job) group_left sum by (job) \
                 (rate(http_requests_total[5m])) > 0.05";
    expect![[r#"
            sum by (job) (rate(http_requests_total{code=~"5.."}[5m]))
          / on (job) group_left ()
            sum by (job) (rate(http_requests_total[5m]))
        >
          0.05"#]]
    .assert_eq(&prettify(&parse(query, Options::default()).unwrap()));
}

#[test]
fn json_has_the_shape_of_the_interface() {
    let json = to_json(&parse("rate(a[5m] offset 1m) > bool 2", Options::default()).unwrap());
    expect![[r#"{"bool":true,"lhs":{"args":[{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":60000,"offsetExpr":null,"range":300000,"rangeExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}],"func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"type":"call"},"matching":null,"op":">","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"}"#]]
    .assert_eq(&json.to_string());
}

#[test]
fn nesting_is_bounded() {
    for query in
        ["(".repeat(100_000), "-".repeat(100_000), "1+".repeat(100_000) + "1", "a".to_owned() + &"[1m:1m]".repeat(9000)]
    {
        assert!(parse(&query, Options::EVERYTHING).is_err());
    }
    let chain = "a+".repeat(200) + "a";
    assert_eq!(parse(&chain, Options::default()).unwrap().to_string(), chain.replace('+', " + "));
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(text in "[a-z0-9(){}\\[\\]\"'`,=!~<>+*/^%@:# \\\\\\-.éλ]{0,40}") {
        let _ = parse(&text, Options::EVERYTHING);
        let _ = parser::parse_series(&text);
        let _ = parser::parse_selector(&text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", cut in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let query = super::random::Random::new(seed).query();
        let places: Vec<usize> = query.char_indices().map(|(at, _)| at).collect();
        let at = *cut.get(&places);
        for text in [text.as_str(), &query[..at], &query[at..], &format!("{}{text}{}", &query[..at], &query[at..])] {
            let _ = parse(text, Options::EVERYTHING);
            let _ = parser::parse_series(text);
            let _ = parser::parse_selector(text);
        }
    }

    #[test]
    fn printed_expressions_read_back(seed in any::<u64>()) {
        let query = super::random::Random::new(seed).query();
        let expr = parse(&query, Options::EVERYTHING).unwrap();
        let printed = expr.to_string();
        prop_assert_eq!(parse(&printed, Options::EVERYTHING).unwrap().to_string(), printed);
    }
}

/// Prometheus' own parser tests, read from Go's module cache: the same inputs fail, with the same first error.
#[test]
fn prometheus_parser_tests() {
    let cache = std::env::var_os("GOMODCACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join("go/pkg/mod")));
    let path = cache.map(|cache| cache.join("github.com/prometheus/prometheus@v0.313.5/promql/parser/parse_test.go"));
    let Some(Ok(source)) = path.map(std::fs::read_to_string) else {
        eprintln!("left out: Prometheus' source is not in Go's module cache");
        return;
    };
    let begin = source.find("var testExpr = ").expect("the table of expressions");
    let table = &source[begin..begin + source[begin..].find("\n}\n").expect("its end")];
    let (mut cases, mut wrong) = (0, Vec::new());
    for case in table.split("\n\t\tinput:").skip(1) {
        let Some((query, rest)) = go_string(case.trim_start()) else { continue };
        // A text put together of several literals.
        if rest.trim_start().starts_with('+') {
            continue;
        }
        cases += 1;
        let fails = rest.contains("fail:");
        let result = parse(&query, Options::EVERYTHING);
        let expected = rest.split("Err:").nth(1).and_then(|error| {
            let text = error.trim_start().strip_prefix("errors.New(")?;
            go_string(text).map(|(text, _)| text)
        });
        match (result, fails, expected) {
            (Ok(_), false, _) => {}
            (Err(error), true, Some(expected)) if error.message == expected => {}
            (Err(_), true, None) => {}
            (result, _, expected) => {
                let got = result.map(|expr| expr.to_string()).map_err(|error| error.to_string());
                wrong.push(format!("{query:?}: expected {expected:?}, got {got:?}"));
            }
        }
    }
    println!("{cases} cases, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A literal of Go at the start of a text, and what follows.
fn go_string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '`'))?;
    let mut escaped = false;
    let end = text.char_indices().skip(1).find_map(|(at, c)| {
        let found = c == quote && !escaped;
        escaped = c == '\\' && quote == '"' && !escaped;
        found.then_some(at)
    })?;
    Some((coracle_promql::quote::unquote(&text[..=end])?, &text[end + 1..]))
}
