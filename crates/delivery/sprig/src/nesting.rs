//! Values that hold themselves, or nest so deeply that a function which walks through them would run out of stack.

use coracle_gotemplate::Value;

/// How deep values may nest where functions walk through them.
const DEPTH_LIMIT: usize = 1_000;
/// How many lists and maps they may come to, each counted as often as it is met.
const NODES_LIMIT: usize = 2_000_000;

/// Whether functions may walk through a value; it takes no stack to find out.
pub(crate) fn check(value: &Value) -> Result<(), String> {
    check_each(value, |_| Ok(()))
}

/// The same, and `see` is shown everything that is in the value.
pub(crate) fn check_each(value: &Value, mut see: impl FnMut(&Value) -> Result<(), String>) -> Result<(), String> {
    let mut pending = Vec::new();
    let mut look = |value: &Value, depth: usize, pending: &mut Vec<(Value, usize)>| {
        match value {
            Value::List(_) | Value::Dict(_) if depth == DEPTH_LIMIT => {
                return Err(format!("a value holds itself or is nested more than {DEPTH_LIMIT} deep"));
            }
            Value::List(_) | Value::Dict(_) => pending.push((value.clone(), depth + 1)),
            _ => {}
        }
        see(value)
    };
    look(value, 0, &mut pending)?;
    let mut nodes = 0;
    while let Some((value, depth)) = pending.pop() {
        nodes += 1;
        if nodes > NODES_LIMIT {
            return Err(format!("a value comes to more than {NODES_LIMIT} lists and maps"));
        }
        match &value {
            Value::List(list) => list.iter().try_for_each(|item| look(item, depth, &mut pending))?,
            Value::Dict(dict) => dict.entries().values().try_for_each(|item| look(item, depth, &mut pending))?,
            _ => {}
        }
    }
    Ok(())
}
