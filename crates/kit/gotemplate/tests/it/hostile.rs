//! Templates that mean harm end with an error, in bounded time and memory.

use std::{rc::Rc, sync::Arc};

use coracle_gotemplate::{Functions, Limits, MissingKey, Set, Value, execute};
use proptest::prelude::*;

use crate::golden::{FUNCTIONS, Nowhere};

const LIMITS: Limits = Limits { stack_bytes: 512 << 10, output_bytes: 1 << 20, steps: 100_000 };

fn run(template: &str, data: &Value) -> Result<Vec<u8>, String> {
    let mut set = Set::new("x", Arc::new(Functions::default().with(FUNCTIONS)), MissingKey::Zero);
    set.parse("x", template).map_err(|error| error.to_string())?;
    execute(&Arc::new(set), "x", data, &mut Nowhere, LIMITS).map_err(|error| error.to_string())
}

#[test]
fn recursion_ends() {
    let error = run(r#"{{define "r"}}{{template "r" .}}{{end}}{{template "r" .}}"#, &Value::Nil).expect_err("endless");
    assert!(error.contains("exceeded maximum template depth"), "{error}");
}

#[test]
fn loops_end() {
    let error = run("{{range 1000000}}{{range 1000000}}{{end}}{{end}}", &Value::Nil).expect_err("endless");
    assert!(error.contains("steps"), "{error}");
}

#[test]
fn output_ends() {
    let error = run(r#"{{range 30000}}0123456789abcdef0123456789abcdef0123456789abcdef{{end}}"#, &Value::Nil)
        .expect_err("too long");
    assert!(error.contains("the output exceeds"), "{error}");
}

#[test]
fn nesting_ends() {
    for (open, close) in [("{{if 1}}", "{{end}}"), ("{{range 1}}", "{{end}}"), ("{{if 0}}{{else}}", "{{end}}")] {
        let template = open.repeat(100_000) + &close.repeat(100_000);
        let error = run(&template, &Value::Nil).expect_err("too deep");
        assert!(error.contains("nested too deeply"), "{error}");
    }
    let template = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(run(&template, &Value::Nil).expect_err("too deep").contains("max expression depth exceeded"));
}

#[test]
fn values_nested_deeply_are_dropped_and_printed() {
    let mut value = Value::Nil;
    for _ in 0..1_000_000 {
        value = Value::list(vec![value]);
    }
    assert!(run("{{.}}", &value).is_ok());
    let dict: Rc<coracle_gotemplate::Dict> = Rc::default();
    dict.set("self", Value::Dict(dict.clone()));
    assert!(run("{{.}}", &Value::Dict(dict.clone())).is_ok());
    dict.remove("self");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,200}") {
        let _ = run(&text, &Value::Nil);
    }

    #[test]
    fn any_words_between_delimiters_are_parsed_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "template", "block", "\"x\"",
            "`", "$x", ":=", "=", "|", "(", ")", ".", ".a", "$", "nil", "true", "1", "1.5", "'a'", "printf", "index",
            "break", "continue", " ", "/*", "*/", ",", "\n", "é", "and", "or", "eq", "len",
        ]), 0..60),
        spaced in any::<bool>(),
    ) {
        let text = words.join(if spaced { " " } else { "" });
        let data = Value::dict([("a", Value::list(vec![Value::Int(1), Value::from("x")]))]);
        let _ = run(&text, &data);
    }
}
