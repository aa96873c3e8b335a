//! The functions through templates, against what the real Helms made of the same (`cargo xtask record helm-functions`).

mod certificates;
mod world;

use std::sync::Arc;

use coracle_gotemplate::{Dict, DictType, Limits, MissingKey, Set, Value, execute};

use world::World;

/// What `template` prints with the golden cases' values, or the innermost function's error.
pub fn run(template: &str, values_type: &'static str) -> Result<String, String> {
    let mut set = Set::new("golden", Arc::new(coracle_sprig::functions()), MissingKey::Zero);
    set.parse("case", template).map_err(|error| error.to_string())?;
    let values = coracle_sprig::yaml::read(include_str!("../golden/values.yaml"))?;
    let values = values.as_dict().expect("the values are a map").snapshot();
    let values = Value::Dict(Dict::from_entries(DictType::Named(values_type), values).into());
    let data = Value::dict([("Values", values)]);
    match execute(&Arc::new(set), "case", &data, &mut World::default(), Limits::default()) {
        Ok(output) => Ok(String::from_utf8_lossy(&output).into_owned()),
        Err(error) => {
            let text = error.to_string();
            Err(text.rsplit_once("error calling ").map_or(text.as_str(), |(_, cause)| cause).to_owned())
        }
    }
}

/// Compares every recorded case, and says all that differ at once.
fn check(helm: &str, values_type: &'static str) {
    let mut wrong = Vec::new();
    for line in include_str!("../golden/recorded.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("the recorder writes JSON");
        let template = case["template"].as_str().expect("a template");
        let expected = case.get(helm).unwrap_or(&case["helm4"]);
        let found = match run(template, values_type) {
            Ok(output) => serde_json::json!({ "output": output }),
            Err(error) => serde_json::json!({ "error": error }),
        };
        if !expected.is_null() && *expected != found {
            wrong.push(format!("{template}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn helm_4_prints_the_same() {
    check("helm4", "common.Values");
}

#[test]
fn helm_3_prints_the_same() {
    check("helm3", "chartutil.Values");
}

#[test]
fn every_function_has_a_recorded_case() {
    let mut words = std::collections::BTreeSet::new();
    for line in include_str!("../golden/recorded.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("the recorder writes JSON");
        let template = case["template"].as_str().expect("a template");
        words.extend(template.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').map(str::to_owned));
    }
    let missing: Vec<&str> =
        include_str!("names.txt").split_whitespace().filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_function_is_missing() {
    let functions = coracle_sprig::functions();
    let missing: Vec<&str> =
        include_str!("names.txt").split_whitespace().filter(|name| functions.get(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
