//! The language's own conformance suite, where `CEL_SPEC_TESTDATA` names its folder `tests/simple/testdata`. What is about
//! protobuf messages, which Kubernetes' expressions never see, or about unchecked expressions, which it never evaluates,
//! is left out and counted.

use std::{collections::BTreeMap, rc::Rc};

use coracle_cel::{
    Declaration, Environment, Type, Value,
    value::{Entries, Map},
};

use crate::textproto::{Field, Message};

/// Files that are about protobuf messages, or about libraries that Kubernetes does not have.
const LEFT_OUT: [&str; 12] = [
    "block_ext",
    "dynamic",
    "encoders_ext",
    "enums",
    "math_ext",
    "network_ext",
    "proto2",
    "proto2_ext",
    "proto3",
    "type_deduction",
    "unknowns",
    "wrappers",
];

/// Cases that differ, with the reason; a name that ends in a slash stands for all cases below it.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("string_ext/reverse/", "Kubernetes has version 2 of the library, without it"),
    ("string_ext/format/", "Kubernetes' version writes exponents as powers of ten"),
    ("string_ext/format_errors/", "the same"),
    (
        "timestamps/timestamp_conversions/toString_timestamp_nanos",
        "the clock's library ends a day before the year 9999 does",
    ),
];

/// What marks a case as one about messages.
const MESSAGES: [&str; 6] =
    ["TestAllTypes", "google.protobuf", "object_value", "NestedTestAllTypes", "cel.expr", "proto."];

#[test]
fn the_conformance_suite_passes() {
    let Some(folder) = std::env::var_os("CEL_SPEC_TESTDATA") else {
        println!("CEL_SPEC_TESTDATA does not name the conformance suite: left out");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut passed, mut left_out, mut failed) = (0, 0, Vec::new());
    let mut by_file: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "textproto")) {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let suite = Message::parse(&std::fs::read_to_string(file).unwrap());
        for section in suite.messages("section") {
            for test in section.messages("test") {
                let name = format!("{stem}/{}/{}", section.text("name"), test.text("name"));
                if LEFT_OUT.contains(&stem.as_str()) || is_about_messages(test) || test.text("disable_check") == "true"
                {
                    left_out += 1;
                    continue;
                }
                let counts = by_file.entry(stem.clone()).or_default();
                match run(test) {
                    Ok(()) => {
                        passed += 1;
                        counts.0 += 1;
                    }
                    Err(why) if EXCEPTIONS.iter().any(|(known, _)| name.starts_with(known)) => {
                        println!("exception {name}: {why}");
                    }
                    Err(why) => {
                        counts.1 += 1;
                        failed.push(format!("{name}: {}\n    {why}", test.text("expr")));
                    }
                }
            }
        }
    }
    for (file, (passed, failed)) in by_file {
        println!("{file}: {passed} passed, {failed} failed");
    }
    println!("{passed} passed, {} failed, {left_out} left out", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn is_about_messages(test: &Message) -> bool {
    let shown = format!("{test:?}");
    MESSAGES.iter().any(|mark| test.text("expr").contains(mark) || shown.contains(&format!("(\"{mark}\"")))
        || test.get("container").is_some()
        || shown.contains("message_type")
        || shown.contains("enum_value")
}

fn run(test: &Message) -> Result<(), String> {
    let mut environment = Environment::new().with_mixed_literals();
    let mut values: Vec<Value<'static>> = Vec::new();
    for binding in test.messages("bindings") {
        let value = binding.messages("value").flat_map(|outer| outer.messages("value")).next();
        let value = value.map_or(Ok(Value::Null), value_of)?;
        environment.declare(&binding.text("key"), Declaration::of(Type::Dyn));
        values.push(value);
    }
    let wants_error = test.get("eval_error").is_some();
    let program = match environment.compile(&test.text("expr")) {
        Ok(program) => program,
        // Without its checker the suite finds these when evaluating.
        Err(_) if wants_error => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if test.text("check_only") == "true" {
        return Ok(());
    }
    let outcome = program.evaluate(&values, u64::MAX).outcome;
    match (outcome, wants_error) {
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(error.to_string()),
        (Ok(value), true) => Err(format!("an error was expected, not {}", value.to_text())),
        (Ok(value), false) => {
            let typed = test.messages("typed_result").flat_map(|typed| typed.messages("result")).next();
            let expected = match test.messages("value").next().or(typed) {
                Some(expected) => value_of(expected)?,
                None => Value::Bool(true),
            };
            let is_nan = |value: &Value<'_>| matches!(value, Value::Double(value) if value.is_nan());
            let same_type = value.type_name() == expected.type_name();
            if same_type && (value.equals(&expected) || (is_nan(&value) && is_nan(&expected))) {
                return Ok(());
            }
            Err(format!("expected {}, found {}", expected.to_text(), value.to_text()))
        }
    }
}

fn value_of(message: &Message) -> Result<Value<'static>, String> {
    let Some((kind, field)) = message.0.first() else { return Err("no value".to_owned()) };
    let word = match field {
        Field::Word(word) => word.clone(),
        Field::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Field::Message(_) => String::new(),
    };
    let wrong = |_| format!("{kind} {word}");
    Ok(match (kind.as_str(), field) {
        ("null_value", _) => Value::Null,
        ("bool_value", _) => Value::Bool(word == "true"),
        ("int64_value", _) => match word.strip_prefix("0x") {
            Some(digits) => Value::Int(i64::from_str_radix(digits, 16).map_err(wrong)?),
            None => Value::Int(word.parse().map_err(wrong)?),
        },
        ("uint64_value", _) => Value::Uint(word.parse().map_err(wrong)?),
        ("double_value", _) => Value::Double(word.replace("infinity", "inf").parse().map_err(|_| word.clone())?),
        ("string_value", _) => Value::text(word),
        ("bytes_value", Field::Text(bytes)) => Value::Bytes(bytes.as_slice().into()),
        ("type_value", _) => Value::Type(word.into()),
        ("list_value", Field::Message(list)) => {
            Value::list(list.messages("values").map(value_of).collect::<Result<_, _>>()?)
        }
        ("map_value", Field::Message(map)) => {
            let mut entries = Entries::default();
            for entry in map.messages("entries") {
                let part = |name| entry.messages(name).next().map_or(Err("no value".to_owned()), value_of);
                entries.insert(part("key")?, part("value")?).map_err(|error| error.to_string())?;
            }
            Value::Map(Map::Owned(Rc::new(entries)))
        }
        _ => return Err(format!("a value of kind {kind}")),
    })
}
