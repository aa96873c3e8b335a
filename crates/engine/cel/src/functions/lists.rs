//! Lists and sets.

use std::cmp::Ordering;

use super::{
    Implementation,
    operators::{add, compare},
};
use crate::value::{EvalError, List, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "isSorted" => is_sorted,
        "sum" => sum,
        "max" => |args| extreme(args, "max", Ordering::Greater),
        "min" => |args| extreme(args, "min", Ordering::Less),
        "slice" => slice,
        "flatten" => flatten,
        "sort" => |args| sort(args, &args[0]),
        "@sortByAssociatedKeys" => |args| sort(args, &args[1]),
        "lists.range" => range,
        "reverse" => |args| {
            let mut items: Vec<_> = list(&args[0])?.iter().collect();
            items.reverse();
            Ok(Value::list(items))
        },
        "distinct" => distinct,
        "sets.contains" => |args| Ok(Value::Bool(contains_all(list(&args[0])?, list(&args[1])?))),
        "sets.equivalent" => |args| {
            let (a, b) = (list(&args[0])?, list(&args[1])?);
            Ok(Value::Bool(contains_all(a, b) && contains_all(b, a)))
        },
        "sets.intersects" => |args| {
            let (a, b) = (list(&args[0])?, list(&args[1])?);
            Ok(Value::Bool(b.iter().any(|item| a.contains(&item))))
        },
        _ => return None,
    })
}

fn list<'a, 'b>(value: &'b Value<'a>) -> Result<&'b List<'a>, EvalError> {
    match value {
        Value::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The place of an item; -1 where it is not.
pub fn index_of<'a>(args: &[Value<'a>], from_end: bool) -> Outcome<'a> {
    let [Value::List(list), wanted] = args else { return Err(EvalError::no_such_overload()) };
    let mut places = (0..list.len()).filter(|at| list.get(*at).is_some_and(|item| item.equals(wanted)));
    let found = if from_end { places.next_back() } else { places.next() };
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn contains_all<'a>(a: &List<'a>, b: &List<'a>) -> bool {
    b.iter().all(|item| a.contains(&item))
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut before: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        if let Some(before) = &before
            && compare(before, &item).ok_or_else(EvalError::no_such_overload)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut items = list(&args[0])?.iter();
    // What an empty list of durations or doubles sums up to cannot be told from the list; a nought is equal to them all.
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    items.try_fold(first, |sum, item| add(&[sum, item]))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, wanted: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        let better = match &best {
            Some(best) => compare(&item, best).ok_or_else(EvalError::no_such_overload)? == wanted,
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn slice<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let fail = |why: &str| EvalError::new(format!("cannot slice({start}, {end}), {why}"));
    if *start < 0 || *end < 0 {
        return Err(fail("negative indexes not supported"));
    }
    if start > end {
        return Err(fail("start index must be less than or equal to end index"));
    }
    if *end as usize > list.len() {
        return Err(EvalError::new(format!("cannot slice({start}, {end}), list is length {}", list.len())));
    }
    Ok(Value::list((*start as usize..*end as usize).filter_map(|at| list.get(at)).collect()))
}

fn flatten<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let depth = match args.get(1) {
        None => 1,
        Some(Value::Int(depth)) if *depth >= 0 => *depth,
        Some(Value::Int(_)) => return Err(EvalError::new("level must be non-negative")),
        Some(_) => return Err(EvalError::no_such_overload()),
    };
    let mut out = Vec::new();
    flatten_into(list(&args[0])?, depth, &mut out);
    Ok(Value::list(out))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) {
    for item in list.iter() {
        match &item {
            Value::List(inner) if depth > 0 => flatten_into(inner, depth - 1, out),
            _ => out.push(item),
        }
    }
}

fn sort<'a>(args: &[Value<'a>], keys: &Value<'a>) -> Outcome<'a> {
    let (items, keys) = (list(&args[0])?, list(keys)?);
    if items.len() != keys.len() {
        let text = format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively.",
            items.len(),
            keys.len()
        );
        return Err(EvalError::new(text));
    }
    let mut pairs: Vec<_> = keys.iter().zip(items.iter()).collect();
    let mut comparable = true;
    pairs.sort_by(|(a, _), (b, _)| {
        let same_type = a.type_name() == b.type_name();
        compare(a, b).filter(|_| same_type).unwrap_or_else(|| {
            comparable = false;
            Ordering::Equal
        })
    });
    if !comparable {
        return Err(EvalError::new("list elements must have the same type"));
    }
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

/// Longer ranges would take more memory than their cost says.
const LONGEST_RANGE: i64 = 1_000_000;

fn range<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(end)] if *end > LONGEST_RANGE => Err(EvalError::new("lists.range: size exceeds the limit")),
        [Value::Int(end)] => Ok(Value::list((0..*end).map(Value::Int).collect())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn distinct<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut out: Vec<Value<'a>> = Vec::new();
    for item in list(&args[0])?.iter() {
        if !out.iter().any(|known| known.equals(&item)) {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}
