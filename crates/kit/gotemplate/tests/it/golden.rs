//! Each case: a template, how missing keys are treated, and Go's output and error.

use std::{any::Any, sync::Arc};

use coracle_gotemplate::{
    Context, Function, FunctionError, Functions, Host, Limits, MissingKey, Set, Type, Value, execute,
};
use serde_json::Value as Json;

pub struct Nowhere;

impl Host for Nowhere {
    fn now(&mut self) -> (i64, u32) {
        (0, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

type Answer = Result<Value, FunctionError>;

fn fail(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    Err(arguments[0].to_string().into())
}

fn int(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    match arguments[0] {
        Value::Int(number) => Ok(Value::Int(number + 1)),
        _ => Err("not an int".into()),
    }
}

fn num(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    match arguments[0] {
        Value::Float(number) => Ok(Value::Float(number * 2.0)),
        _ => Err("not a float".into()),
    }
}

fn dict(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::Int(arguments[0].as_dict().map_or(0, |dict| dict.len() as i64)))
}

fn strs(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    Ok(Value::strings(arguments.iter().map(|text| text.as_str().unwrap_or_default())))
}

pub static FUNCTIONS: &[Function] = &[
    Function::new("fail", &[Type::String], fail),
    Function::new("int", &[Type::Int], int),
    Function::new("num", &[Type::Float64], num),
    Function::new("flag", &[Type::Bool], |_, arguments| Ok(Value::Bool(!arguments[0].is_true()))),
    Function::new("dict", &[Type::Dict], dict),
    Function::variadic("strs", &[], Type::String, strs),
    Function::new("nilfn", &[], |_, _| Ok(Value::Nil)),
    Function::new("i64", &[Type::Int64], |_, arguments| Ok(arguments[0].clone())),
    Function::new("bytes", &[Type::String], |_, arguments| {
        Ok(Value::Bytes(arguments[0].as_bytes().unwrap_or_default().into()))
    }),
];

pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Float(number.as_f64().expect("a number")),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(value).collect()),
        Json::Object(fields) => Value::dict(fields.iter().map(|(key, field)| (key.as_str(), value(field)))),
    }
}

fn run(template: &str, missing: &str, data: &Value) -> (String, String) {
    let missing = match missing {
        "zero" => MissingKey::Zero,
        "error" => MissingKey::Error,
        _ => MissingKey::Default,
    };
    let functions = Functions::default().with(FUNCTIONS);
    let mut set = Set::new("file.tpl", Arc::new(functions), missing);
    if let Err(error) = set.parse("file.tpl", template) {
        return (String::new(), error.to_string());
    }
    match execute(&Arc::new(set), "file.tpl", data, &mut Nowhere, Limits::default()) {
        Ok(output) => (String::from_utf8_lossy(&output).into_owned(), String::new()),
        Err(error) => (String::new(), error.to_string()),
    }
}

#[test]
fn output_and_errors_are_gos() {
    let mut lines = include_str!("golden.jsonl").lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let first = lines.next().expect("a first line");
    let data = value(&first["data"]);
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in lines {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let (output, error) = run(text("template"), text("missing"), &data);
        let same_output = output == text("output") || !error.is_empty();
        if !same_output || error != text("error") {
            wrong.push(format!(
                "{}  ({})\n  want {:?} {}\n  got  {output:?} {error}",
                text("template"),
                text("missing"),
                text("output"),
                text("error"),
            ));
        }
        count += 1;
    }
    assert!(count > 200, "only {count} cases");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
