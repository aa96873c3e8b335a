//! Optional values, and the maps that two-variable comprehensions build.

use std::rc::Rc;

use super::Implementation;
use crate::value::{Entries, EvalError, Map, Value};

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "optional.of" => |args| Ok(Value::some(args[0].clone())),
        "optional.ofNonZeroValue" => {
            |args| Ok(if args[0].is_zero() { Value::Optional(None) } else { Value::some(args[0].clone()) })
        }
        "optional.none" => |_| Ok(Value::Optional(None)),
        "value" => |args| match &args[0] {
            Value::Optional(Some(value)) => Ok((**value).clone()),
            Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
            _ => Err(EvalError::no_such_overload()),
        },
        "hasValue" => |args| match &args[0] {
            Value::Optional(value) => Ok(Value::Bool(value.is_some())),
            _ => Err(EvalError::no_such_overload()),
        },
        "or" => |args| match args {
            [Value::Optional(None), other @ Value::Optional(_)] => Ok(other.clone()),
            [first @ Value::Optional(_), _] => Ok(first.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "orValue" => |args| match args {
            [Value::Optional(Some(value)), _] => Ok((**value).clone()),
            [Value::Optional(None), other] => Ok(other.clone()),
            _ => Err(EvalError::no_such_overload()),
        },
        "optional.unwrap" | "unwrapOpt" => |args| match &args[0] {
            Value::List(list) => Ok(Value::list(
                list.iter()
                    .filter_map(|item| match item {
                        Value::Optional(value) => value.map(|value| (*value).clone()),
                        other => Some(other),
                    })
                    .collect(),
            )),
            _ => Err(EvalError::no_such_overload()),
        },
        "cel.@mapInsert" => insert,
        _ => return None,
    })
}

fn insert<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut entries = Entries::default();
    let more: Vec<(Value<'a>, Value<'a>)> = match args {
        [Value::Map(_), Value::Map(more)] => more.iter().collect(),
        [Value::Map(_), key, value] => vec![(key.clone(), value.clone())],
        _ => return Err(EvalError::no_such_overload()),
    };
    let Value::Map(map) = &args[0] else { return Err(EvalError::no_such_overload()) };
    for (key, value) in map.iter().chain(more) {
        let shown = key.to_text();
        entries.insert(key, value).map_err(|_| EvalError::new(format!("insert failed: key {shown} already exists")))?;
    }
    Ok(Value::Map(Map::Owned(Rc::new(entries))))
}
