//! Values: how a user's, a chart's and its subcharts' come together.

mod coalesce;
pub mod options;
pub mod set;

use std::rc::Rc;

use coracle_gotemplate::{Dict, List, Value};

pub use coalesce::TypeMismatch;
pub(crate) use coalesce::{coalesce_values, merge_tables, merge_values};

use crate::{Flavour, YamlError};

/// The key whose table every subchart sees.
pub(crate) const GLOBAL: &str = "global";

/// A table of values that nobody else holds.
pub(crate) fn table() -> Rc<Dict> {
    Rc::default()
}

/// Reads a values file: one table. Helm 4 merges all documents of a file, later ones winning; Helm 3 reads the first.
pub fn read(text: &str, flavour: Flavour) -> Result<Rc<Dict>, YamlError> {
    if flavour == Flavour::Helm3 {
        return document(text);
    }
    let mut values = table();
    for text in documents(text) {
        let document = document(text)
            .map_err(|error| YamlError { message: format!("cannot unmarshal yaml document: {error}"), ..error })?;
        values = merge_maps(&values, &document);
    }
    Ok(values)
}

fn document(text: &str) -> Result<Rc<Dict>, YamlError> {
    match coracle_sprig::yaml::read(text).map_err(|error| YamlError::within(text, error))? {
        Value::Dict(document) => Ok(document),
        Value::Nil => Ok(table()),
        other => {
            let kind = json_kind(&other);
            Err(YamlError::new(format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type \
                 map[string]interface {{}}"
            )))
        }
    }
}

/// What Go's JSON decoder calls a value.
pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "bool",
        Value::String(_) | Value::Binary(_) | Value::Bytes(_) => "string",
        Value::List(_) => "array",
        Value::Dict(_) => "object",
        _ => "number",
    }
}

/// The documents of a text: separated by lines that are `---` and nothing else.
fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") && line[3..].trim_end_matches(char::is_whitespace).is_empty() {
            documents.push(&text[start..offset]);
            start = offset + line.len();
        }
        offset += line.len();
    }
    documents.push(&text[start..]);
    documents.retain(|document| !document.trim().is_empty());
    documents
}

/// `b` over `a`: tables are merged, all else in `b` wins. Neither changes.
pub(crate) fn merge_maps(a: &Dict, b: &Dict) -> Rc<Dict> {
    let out = Rc::new(Dict::from_entries(a.dict_type(), a.snapshot()));
    for (key, value) in b.entries().iter() {
        let merged = match (value, out.get(key)) {
            (Value::Dict(new), Some(Value::Dict(old))) => Value::Dict(merge_maps(&old, new)),
            _ => value.clone(),
        };
        out.set(key.clone(), merged);
    }
    out
}

/// A copy that shares no map with the original.
pub(crate) fn copy(value: &Value) -> Value {
    match value {
        Value::Dict(dict) => Value::Dict(copy_table(dict)),
        Value::List(list) => Value::List(Rc::new(List::new(list.list_type(), list.iter().map(copy).collect()))),
        other => other.clone(),
    }
}

pub(crate) fn copy_table(dict: &Dict) -> Rc<Dict> {
    let entries = dict.entries();
    let copies = entries.iter().map(|(key, value)| (key.clone(), copy(value)));
    Rc::new(Dict::from_entries(dict.dict_type(), copies))
}

/// The table under a path of keys between dots.
pub(crate) fn table_at(values: &Rc<Dict>, path: &str) -> Option<Rc<Dict>> {
    let mut table = values.clone();
    for key in path.split('.') {
        let Some(Value::Dict(next)) = table.get(key) else { return None };
        table = next;
    }
    Some(table)
}

/// The value under a path of keys between dots, if it is there and no table.
pub(crate) fn value_at(values: &Rc<Dict>, path: &str) -> Option<Value> {
    let (table, key) = match path.rsplit_once('.') {
        Some((path, key)) => (table_at(values, path)?, key),
        None => (values.clone(), path),
    };
    table.get(key).filter(|value| !matches!(value, Value::Dict(_)))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use coracle_gotemplate::{Dict, Value};
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json};

    use super::{coalesce_values, merge_maps};
    use crate::{File, Flavour, Warnings, json, load};

    /// Tables of tables and scalars, with few names, so that they meet.
    fn tables() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            (0..9).prop_map(|number| Json::from(f64::from(number))),
            "[a-c]{0,2}".prop_map(Json::String),
        ];
        let inner = leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|fields| Json::Object(fields.into_iter().collect()))
    }

    fn dict(json: &Json) -> Rc<Dict> {
        match json::from_json(json) {
            Value::Dict(dict) => dict,
            _ => Rc::default(),
        }
    }

    fn shown(dict: &Rc<Dict>) -> String {
        Value::Dict(dict.clone()).to_string()
    }

    /// Every scalar and list of the user's that is not null, by its path, is in the result.
    fn keeps(user: &Map<String, Json>, result: &Dict) -> bool {
        user.iter().all(|(key, wanted)| match (wanted, result.get(key)) {
            (Json::Null, _) => true,
            (Json::Object(inner), Some(Value::Dict(found))) => keeps(inner, &found),
            (wanted, Some(found)) => json::from_json(wanted).to_string() == found.to_string(),
            (_, None) => false,
        })
    }

    proptest! {
        #[test]
        fn merging_with_itself_or_with_nothing_changes_nothing(a in tables()) {
            let a = dict(&a);
            prop_assert_eq!(shown(&merge_maps(&a, &a)), shown(&a));
            prop_assert_eq!(shown(&merge_maps(&a, &Dict::default())), shown(&a));
            prop_assert_eq!(shown(&merge_maps(&Dict::default(), &a)), shown(&a));
        }

        #[test]
        fn merging_leaves_its_arguments_alone(a in tables(), b in tables()) {
            let (a, b) = (dict(&a), dict(&b));
            let before = (shown(&a), shown(&b));
            let _ = merge_maps(&a, &b);
            prop_assert_eq!((shown(&a), shown(&b)), before);
        }

        #[test]
        fn what_the_user_sets_stays(chart in tables(), user in tables(), helm3 in any::<bool>()) {
            let flavour = if helm3 { Flavour::Helm3 } else { Flavour::Helm4 };
            let file = |name: &str, text: String| File { name: name.to_owned(), data: text.into_bytes().into() };
            let files = vec![
                file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n".to_owned()),
                file("values.yaml", chart.to_string()),
            ];
            let mut warnings = Warnings::default();
            let loaded = load::files(files, flavour, &mut warnings).expect("a chart");
            let before = shown(&loaded.values);
            let result = coalesce_values(&loaded, &dict(&user), flavour, &mut warnings).expect("values");
            prop_assert_eq!(shown(&loaded.values), before);
            prop_assert!(keeps(user.as_object().expect("a table"), &result), "{}", shown(&result));
        }
    }
}
