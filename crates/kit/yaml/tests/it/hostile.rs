//! Texts that mean harm end with an error, in bounded time and memory; and what is written reads back as the same.

use coracle_yaml::{Build, FileId, emit, load, parse};
use proptest::prelude::*;
use serde_json::Value;

struct Json;

impl Build for Json {
    type Value = Value;

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Value {
        value.into()
    }

    fn number(&mut self, value: f64) -> Value {
        value.into()
    }

    fn text(&mut self, text: &str) -> Value {
        text.into()
    }

    fn list(&mut self, items: Vec<Value>) -> Value {
        items.into()
    }

    fn map(&mut self, entries: Vec<(String, Value)>) -> Value {
        Value::Object(entries.into_iter().collect())
    }

    fn copy(&mut self, value: &Value) -> Value {
        value.clone()
    }

    fn entries_of(&mut self, value: Value) -> Option<Vec<(String, Value)>> {
        match value {
            Value::Object(fields) => Some(fields.into_iter().collect()),
            _ => None,
        }
    }

    fn size(&self, value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(|item| self.size(item)).sum::<usize>(),
            Value::Object(fields) => 1 + fields.values().map(|value| self.size(value)).sum::<usize>(),
            _ => 1,
        }
    }
}

#[track_caller]
fn refused(text: &str) {
    assert!(load(text, &mut Json).is_err(), "values");
    assert!(parse(text, FileId::default()).is_err(), "a tree");
}

#[test]
fn nesting_ends() {
    refused(&"[".repeat(50_000));
    refused(&"{a: ".repeat(50_000));
    refused(&format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)));
    refused(&"- ".repeat(20_000));
    refused(&(0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
}

#[test]
fn aliases_of_aliases_end() {
    let mut text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    refused(&text);
    refused("a: &a [*a]\n");
}

/// Values that JSON and YAML can both hold.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_000_000i64..1_000_000).prop_map(Value::from),
        "[ -~\\n\\té☃]{0,30}".prop_map(Value::from),
        prop::sample::select(vec![
            "yes",
            "0x1F",
            "1e3",
            "~",
            "null",
            "- a",
            "a: b",
            "# c",
            " x ",
            "|",
            ">",
            "",
            "1_0",
            "0o7",
            "2001-01-01"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z0-9 .:#-]{0,12}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Numbers as floats, which is what reading makes of them.
fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(with_floats).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), with_floats(value))).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = load(&text, &mut Json);
        let _ = parse(&text, FileId::default());
    }

    #[test]
    fn any_marks_in_a_row_are_read_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "b: ", "- ", ": ", "? ", "[", "]", "{", "}", ",", "&x ", "*x", "!t ", "!!binary ", "|", ">", "|2-", "'", "\"",
            "\\", "#", "%YAML 1.1\n", "---\n", "...\n", "\n", "  ", "\t", "<<: ", "é", "0x", "1", ".inf", "~", "\r\n",
        ]), 0..50),
    ) {
        let text = words.concat();
        let _ = load(&text, &mut Json);
        let _ = parse(&text, FileId::default());
    }

    #[test]
    fn what_is_written_reads_back(value in value()) {
        let text = emit(&value);
        let read = load(&text, &mut Json).expect("what was written is YAML");
        prop_assert_eq!(read.unwrap_or(Value::Null), with_floats(&value), "{}", text);
        let tree = parse(&text, FileId::default()).expect("what was written is YAML");
        let tree = tree.first().map_or(Value::Null, coracle_yaml::Node::to_json);
        prop_assert_eq!(with_floats(&tree), with_floats(&value), "{}", text);
    }
}
