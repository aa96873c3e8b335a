//! Deep copies.

use coracle_gotemplate::{Dict, List, Value};

/// A copy that shares no map with the original, so that a change to one is not seen in the other.
pub(crate) fn deep_copy(value: &Value) -> Value {
    match value {
        Value::List(list) => {
            Value::List(List::new(list.list_type(), list.iter().map(deep_copy).collect()).into())
        }
        Value::Dict(dict) => {
            let entries = dict.entries();
            let copied = entries.iter().map(|(key, value)| (key.clone(), deep_copy(value)));
            Value::Dict(Dict::from_entries(dict.dict_type(), copied).into())
        }
        other => other.clone(),
    }
}
