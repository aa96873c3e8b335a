//! Lists. None of these changes its argument.

use coracle_gotemplate::{Call, Function, List, ListType, Type, Value};

use crate::{
    args::{
        Result, elements, fail, int, list_or, nil_dereference, nil_list, out_of_range, shared, strings_of, to_text,
    },
    cast::to_int,
    defaults::is_empty,
    nesting,
    reflect::deep_equal,
};

const ANY: Type = Type::Any;

pub(crate) const TABLE: &[Function] = &[
    Function::variadic("list", &[], ANY, LIST),
    Function::variadic("tuple", &[], ANY, LIST),
    Function::new("append", &[ANY, ANY], PUSH),
    Function::new("mustAppend", &[ANY, ANY], PUSH),
    Function::new("push", &[ANY, ANY], PUSH),
    Function::new("mustPush", &[ANY, ANY], PUSH),
    Function::new("prepend", &[ANY, ANY], PREPEND),
    Function::new("mustPrepend", &[ANY, ANY], PREPEND),
    Function::new("first", &[ANY], FIRST),
    Function::new("mustFirst", &[ANY], FIRST),
    Function::new("last", &[ANY], LAST),
    Function::new("mustLast", &[ANY], LAST),
    Function::new("rest", &[ANY], REST),
    Function::new("mustRest", &[ANY], REST),
    Function::new("initial", &[ANY], INITIAL),
    Function::new("mustInitial", &[ANY], INITIAL),
    Function::new("reverse", &[ANY], REVERSE),
    Function::new("mustReverse", &[ANY], REVERSE),
    Function::new("compact", &[ANY], COMPACT),
    Function::new("mustCompact", &[ANY], COMPACT),
    Function::new("uniq", &[ANY], UNIQ),
    Function::new("mustUniq", &[ANY], UNIQ),
    Function::variadic("without", &[ANY], ANY, WITHOUT),
    Function::variadic("mustWithout", &[ANY], ANY, WITHOUT),
    Function::new("has", &[ANY, ANY], HAS),
    Function::new("mustHas", &[ANY, ANY], HAS),
    Function::variadic("slice", &[ANY], ANY, SLICE),
    Function::variadic("mustSlice", &[ANY], ANY, SLICE),
    Function::new("chunk", &[Type::Int, ANY], CHUNK),
    Function::new("mustChunk", &[Type::Int, ANY], CHUNK),
    Function::variadic("concat", &[], ANY, |_, a| concat(a)),
    Function::new("sortAlpha", &[ANY], |_, a| Ok(sort_alpha(&a[0]))),
];

const LIST: Call = |_, a| Ok(Value::list(a.to_vec()));

const PUSH: Call = |_, a| {
    let mut items = list_or(&a[0], "Cannot push on type")?.into_owned();
    items.push(a[1].clone());
    Ok(Value::list(items))
};

const PREPEND: Call = |_, a| {
    let items = list_or(&a[0], "Cannot prepend on type")?;
    Ok(Value::list(std::iter::once(&a[1]).chain(&*items).cloned().collect()))
};

const FIRST: Call = |_, a| Ok(list_or(&a[0], "Cannot find first on type")?.first().cloned().unwrap_or_default());

const LAST: Call = |_, a| Ok(list_or(&a[0], "Cannot find last on type")?.last().cloned().unwrap_or_default());

const REST: Call = |_, a| {
    Ok(match &*list_or(&a[0], "Cannot find rest on type")? {
        [] => nil_list(),
        [_, rest @ ..] => Value::list(rest.to_vec()),
    })
};

const INITIAL: Call = |_, a| {
    Ok(match &*list_or(&a[0], "Cannot find initial on type")? {
        [] => nil_list(),
        [initial @ .., _] => Value::list(initial.to_vec()),
    })
};

const REVERSE: Call = |_, a| {
    let items = list_or(&a[0], "Cannot find reverse on type")?;
    Ok(Value::list(items.iter().rev().cloned().collect()))
};

const COMPACT: Call = |_, a| {
    let items = list_or(&a[0], "Cannot compact on type")?;
    Ok(Value::list(items.iter().filter(|item| !is_empty(item)).cloned().collect()))
};

const UNIQ: Call = |_, a| {
    nesting::check(&a[0])?;
    let mut kept: Vec<Value> = Vec::new();
    for item in &*list_or(&a[0], "Cannot find uniq on type")? {
        if !kept.iter().any(|other| deep_equal(item, other)) {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
};

const WITHOUT: Call = |_, a| {
    a.iter().try_for_each(nesting::check)?;
    let items = list_or(&a[0], "Cannot find without on type")?;
    let is_kept = |item: &&Value| !a[1..].iter().any(|other| deep_equal(item, other));
    Ok(Value::list(items.iter().filter(is_kept).cloned().collect()))
};

const HAS: Call = |_, a| {
    if a[1].is_nil() {
        return Ok(false.into());
    }
    a.iter().try_for_each(nesting::check)?;
    let items = list_or(&a[1], "Cannot find has on type")?;
    Ok(items.iter().any(|item| deep_equal(&a[0], item)).into())
};

const SLICE: Call = |_, a| {
    let items = list_or(&a[0], "list should be type of slice or array but")?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let start = a.get(1).map_or(0, to_int);
    let end = a.get(2).map_or(length, to_int);
    if start < 0 || start > end || end > length {
        return fail("reflect.Value.Slice: slice index out of bounds");
    }
    let at = |index: i64| usize::try_from(index).unwrap_or(0);
    let part = items[at(start)..at(end)].to_vec();
    let list_type = a[0].as_list().map_or(ListType::Any, List::list_type);
    Ok(Value::List(List::new(list_type, part).into()))
};

const CHUNK: Call = |_, a| {
    let items = list_or(&a[1], "Cannot chunk type")?;
    let size = match usize::try_from(int(&a[0])) {
        Ok(size) if size > 0 => size,
        _ => return Err(out_of_range(int(&a[0]), 0)),
    };
    let chunks = items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::List(List::new(ListType::Named("[][]interface {}"), chunks).into()))
};

fn concat(lists: &[Value]) -> Result {
    let mut all = Vec::new();
    for list in lists {
        match elements(list) {
            Some(items) => all.extend_from_slice(&items),
            None if list.is_nil() => return Err(nil_dereference()),
            None => return fail(format!("Cannot concat type {} as list", list.kind().name())),
        }
    }
    Ok(if all.is_empty() { nil_list() } else { Value::list(all) })
}

fn sort_alpha(value: &Value) -> Value {
    if elements(value).is_none() {
        return Value::strings([shared(&to_text(value))]);
    }
    let mut texts = strings_of(value);
    texts.sort();
    Value::strings(texts)
}
