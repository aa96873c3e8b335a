//! Expressions that mean harm: each ends, in a value or in words, on a thread of the usual stack.

use coracle_cel::{Declaration, Environment, Type, Value, rules};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Much less than is allowed, as tests are not built to be fast.
const COST: u64 = 200_000;

fn run(text: &str, object: &Json) {
    let environment =
        Environment::new().with("object", Declaration::of(Type::Dyn)).with("text", Declaration::of(Type::String));
    if let Ok(program) = environment.compile(text) {
        let variables = [Value::json(object, None), Value::text("hello")];
        let _outcome = program.evaluate(&variables, COST).outcome.map(|value| value.to_text());
    }
}

#[test]
fn nothing_is_too_deep_or_too_long() {
    let object = json!({"a": [1, 2, 3]});
    for times in [50, 200, 1000, 20_000] {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{1:", "}"), ("size(", ")"), ("has(a.", ")")]
        {
            run(&format!("{}1{}", open.repeat(times), close.repeat(times)), &object);
            run(&open.repeat(times), &object);
        }
        for link in [".a", " + 1", " || true", " in [1]", "[0]", ".size()", " ? 1 : 1", ".?a", ".map(x, x)"] {
            run(&format!("object{}", link.repeat(times)), &object);
        }
        run(&"true ? 1 : ".repeat(times), &object);
        run(&format!("{}true{}", "[1].all(x, ".repeat(times), ")".repeat(times)), &object);
        run(&format!("\"{}\"", "\\u00e9".repeat(times)), &object);
        run(&format!("text.matches('{}{}')", "(".repeat(times), ")".repeat(times)), &object);
    }
}

#[test]
fn letters_of_all_the_world_are_no_words_of_the_language() {
    for text in ["\u{d4a}", "é", ".é", "1é", "object.é", "日本 + 1", "`é`", "\u{1f600}"] {
        assert!(Environment::new().compile(text).is_err(), "{text}");
    }
}

#[test]
fn what_would_take_long_or_much_is_stopped_by_its_cost() {
    let object = json!({"a": (0..2000).collect::<Vec<_>>(), "s": "a".repeat(100_000)});
    for text in [
        "object.a.all(x, object.a.all(y, object.a.all(z, object.a.exists(w, x + y + z + w < 0))))",
        "object.a.map(x, object.a.map(y, object.a.map(z, object.s + object.s + object.s)))",
        "object.s.matches('(a+)+$') && object.s.matches('(a|a)*b')",
        "text.matches('a{1000}{1000}{1000}')",
        "text.matches('(((a{100}){100}){100}){100}')",
        "object.s.replace('a', object.s).replace('a', object.s)",
        "lists.range(1000000000)",
        "object.a.map(x, object.s.split('')).flatten()",
        "[object.s, object.s].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() > 0",
    ] {
        run(text, &object);
    }
}

#[test]
fn schemas_nest_without_end_in_rules_too() {
    let mut schema = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]});
    for _ in 0..60 {
        schema = json!({"type": "array", "maxItems": 10, "items": schema});
    }
    assert!(!rules::check_definition(&schema, "schema").is_empty(), "ten to the sixtieth is too much");
}

const WORDS: [&str; 44] = [
    "object",
    "text",
    "object.a",
    "a",
    "x",
    "1",
    "0u",
    "-9223372036854775808",
    "1e400",
    "'a'",
    "b'\\xff'",
    "null",
    "true",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "?",
    ".",
    ".?",
    "[?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    " in ",
    "has(",
    ".all(x, ",
    ".map(x, ",
    ".matches(",
    "duration('1s')",
    "timestamp(0)",
    "optional.of(",
    "quantity('1Gi')",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..14)) {
        run(&words.concat(), &json!({"a": [1, "x", null]}));
    }

    #[test]
    fn any_text(text in "\\PC{0,40}") {
        run(&text, &Json::Null);
    }
}
