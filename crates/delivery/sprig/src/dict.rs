//! Maps. `set`, `unset` and the merges change their first argument for everybody who holds it.

mod copy;
mod merge;

pub(crate) use copy::deep_copy;

use coracle_gotemplate::{Call, Dict, DictType, Function, Str, Type, Value};

use crate::{
    args::{Result, fail, shared, text, to_text, wrong_type},
    nesting,
};

const D: Type = Type::Dict;
const S: Type = Type::String;
const ANY: Type = Type::Any;

pub(crate) const TABLE: &[Function] = &[
    Function::variadic("dict", &[], ANY, |_, a| Ok(dict(a))),
    Function::new("get", &[D, S], |_, a| Ok(lookup(&a[0], &a[1]).unwrap_or_else(|| "".into()))),
    Function::new("set", &[D, S, ANY], |_, a| {
        let Some(dict) = a[0].as_dict() else { return fail("assignment to entry in nil map") };
        dict.set(shared(&a[1]), a[2].clone());
        Ok(a[0].clone())
    }),
    Function::new("unset", &[D, S], |_, a| {
        if let Some(dict) = a[0].as_dict() {
            dict.remove(&text(&a[1]));
        }
        Ok(a[0].clone())
    }),
    Function::new("hasKey", &[D, S], |_, a| Ok(lookup(&a[0], &a[1]).is_some().into())),
    Function::variadic("pluck", &[S], D, |_, a| {
        Ok(Value::list(a[1..].iter().filter_map(|dict| lookup(dict, &a[0])).collect()))
    }),
    Function::variadic("keys", &[], D, |_, a| {
        let keys =
            a.iter().filter_map(Value::as_dict).flat_map(|dict| dict.entries().keys().cloned().collect::<Vec<_>>());
        Ok(Value::strings(keys))
    }),
    Function::new("values", &[D], |_, a| {
        let values = a[0].as_dict().map(|dict| dict.entries().values().cloned().collect());
        Ok(Value::list(values.unwrap_or_default()))
    }),
    Function::variadic("pick", &[D], S, |_, a| {
        let picked = a[1..].iter().filter_map(|key| Some((shared(key), lookup(&a[0], key)?)));
        Ok(Value::dict(picked))
    }),
    Function::variadic("omit", &[D], S, |_, a| {
        let all = a[0].as_dict().map(Dict::snapshot).unwrap_or_default();
        let is_kept = |entry: &(Str, Value)| !a[1..].iter().any(|key| text(key) == *entry.0);
        Ok(Value::dict(all.into_iter().filter(is_kept)))
    }),
    Function::variadic("dig", &[], ANY, |_, a| dig(a)),
    Function::variadic("merge", &[D], D, |_, a| merged(a, false)),
    Function::variadic("mustMerge", &[D], D, |_, a| merged(a, false)),
    Function::variadic("mergeOverwrite", &[D], D, |_, a| merged(a, true)),
    Function::variadic("mustMergeOverwrite", &[D], D, |_, a| merged(a, true)),
    Function::new("deepCopy", &[ANY], DEEP_COPY),
    Function::new("mustDeepCopy", &[ANY], DEEP_COPY),
];

const DEEP_COPY: Call = |_, a| match &a[0] {
    // The copying library asks for the type of its argument first.
    Value::Nil => fail("reflect: call of reflect.Value.Type on zero Value"),
    value => {
        nesting::check(value)?;
        Ok(deep_copy(value))
    }
};

fn merged(arguments: &[Value], overwrite: bool) -> Result {
    arguments.iter().try_for_each(nesting::check)?;
    Ok(merge::merge(arguments, overwrite))
}

fn lookup(dict: &Value, key: &Value) -> Option<Value> {
    dict.as_dict()?.get(&text(key))
}

fn dict(arguments: &[Value]) -> Value {
    let pairs =
        arguments.chunks(2).map(|pair| (shared(&to_text(&pair[0])), pair.get(1).cloned().unwrap_or_else(|| "".into())));
    Value::dict(pairs)
}

/// `dig "a" "b" default dict`: the value under a path of keys. Go asserts plain maps on the way, so a chart's
/// `.Values` itself is refused while the maps within are not.
fn dig(arguments: &[Value]) -> Result {
    let [keys @ .., default, dict] = arguments else { return fail("dig needs at least three arguments") };
    if keys.is_empty() {
        return fail("dig needs at least three arguments");
    }
    let mut current = plain_dict(dict)?;
    let mut path = Vec::with_capacity(keys.len());
    for key in keys {
        match key {
            Value::String(_) | Value::Binary(_) => path.push(text(key)),
            other => return Err(wrong_type(other, "string")),
        }
    }
    for (index, key) in path.iter().enumerate() {
        let Some(next) = current.as_dict().and_then(|dict| dict.get(key)) else { return Ok(default.clone()) };
        if index + 1 == path.len() {
            return Ok(next);
        }
        current = plain_dict(&next)?;
    }
    Ok(default.clone())
}

fn plain_dict(value: &Value) -> Result {
    match value {
        Value::Dict(dict) if dict.dict_type() == DictType::Any => Ok(value.clone()),
        other => Err(wrong_type(other, "map[string]interface {}")),
    }
}
