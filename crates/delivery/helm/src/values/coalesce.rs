//! Coalescing: the chart's values beneath the user's, globals handed down, and what `null` does.
//!
//! Every rule here is Helm's. "Merging" keeps nulls, "coalescing" lets a null of the user's remove what the chart sets.

use std::{collections::BTreeSet, rc::Rc};

use coracle_gotemplate::{Dict, Str, Value};

use super::{GLOBAL, copy_table, table};
use crate::{Chart, Flavour, Warnings};

/// How values come together.
#[derive(Clone, Copy)]
struct Rules {
    merge: bool,
    flavour: Flavour,
}

/// A chart cannot take its values: a subchart's are no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type mismatch on {chart}: {found}")]
pub struct TypeMismatch {
    chart: String,
    found: String,
}

/// The values templates see: the user's over the chart's and its subcharts'.
pub(crate) fn coalesce_values(
    chart: &Chart,
    values: &Dict,
    flavour: Flavour,
    warnings: &mut Warnings,
) -> Result<Rc<Dict>, TypeMismatch> {
    let values = copy_table(values);
    coalesce(chart, &values, "", Rules { merge: false, flavour }, warnings)?;
    Ok(values)
}

/// As [`coalesce_values`], but nulls stay.
pub(crate) fn merge_values(
    chart: &Chart,
    values: &Dict,
    flavour: Flavour,
    warnings: &mut Warnings,
) -> Result<Rc<Dict>, TypeMismatch> {
    let values = copy_table(values);
    coalesce(chart, &values, "", Rules { merge: true, flavour }, warnings)?;
    Ok(values)
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn coalesce(
    chart: &Chart,
    values: &Rc<Dict>,
    prefix: &str,
    rules: Rules,
    warnings: &mut Warnings,
) -> Result<(), TypeMismatch> {
    chart_values(chart, values, prefix, rules, warnings);
    for subchart in &chart.dependencies {
        let name = subchart.name();
        let inner = match values.get(name) {
            None => {
                let inner = table();
                values.set(name, Value::Dict(inner.clone()));
                inner
            }
            Some(Value::Dict(inner)) => inner,
            Some(other) => {
                let found = go_boolean(&other);
                return Err(TypeMismatch { chart: name.to_owned(), found });
            }
        };
        let prefix = join(prefix, chart.name());
        globals(&inner, values, &prefix, warnings);
        coalesce(subchart, &inner, &prefix, rules, warnings)?;
    }
    Ok(())
}

/// `%t` of anything.
fn go_boolean(value: &Value) -> String {
    coracle_gotemplate::sprintf("%t", std::slice::from_ref(value)).to_string()
}

/// Hands the globals of a chart's values down to a subchart's.
fn globals(values: &Rc<Dict>, above: &Rc<Dict>, prefix: &str, warnings: &mut Warnings) {
    let mine = match values.get(GLOBAL) {
        None => table(),
        Some(Value::Dict(mine)) => mine,
        Some(_) => return warnings.add("warning: skipping globals because destination global is not a table."),
    };
    let theirs = match above.get(GLOBAL) {
        None => table(),
        Some(Value::Dict(theirs)) => theirs,
        Some(_) => return warnings.add("warning: skipping globals because source global is not a table."),
    };
    for (key, value) in theirs.snapshot() {
        match (&value, mine.get(&key)) {
            (Value::Dict(new), None) => mine.set(key, Value::Dict(shallow(new))),
            (Value::Dict(new), Some(Value::Dict(old))) => {
                // What stands above wins here, so the order of the two is turned round.
                let new = shallow(new);
                tables(&new, &old, &join(prefix, &key), true, warnings);
                mine.set(key, Value::Dict(new));
            }
            (Value::Dict(_), Some(_)) => {
                warnings.add(format!("Conflict: cannot merge map onto non-map for {key:?}. Skipping."));
            }
            (_, Some(Value::Dict(_))) => warnings.add(format!("key {key} is table. Skipping")),
            (_, _) => mine.set(key, value),
        }
    }
    values.set(GLOBAL, Value::Dict(mine));
}

fn shallow(dict: &Dict) -> Rc<Dict> {
    Rc::new(Dict::from_entries(dict.dict_type(), dict.snapshot()))
}

/// A chart's own values beneath those given.
fn chart_values(chart: &Chart, values: &Rc<Dict>, prefix: &str, rules: Rules, warnings: &mut Warnings) {
    let prefix = join(prefix, chart.name());
    let cleans = !rules.merge && rules.flavour == Flavour::Helm4;
    for (key, default) in copy_table(&chart.values).snapshot() {
        match values.get(&key) {
            None => {
                if cleans {
                    match &default {
                        Value::Nil => continue,
                        Value::Dict(inner) => remove_nulls(inner),
                        _ => {}
                    }
                }
                values.set(key, default);
            }
            Some(Value::Nil) if !rules.merge => {
                values.remove(&key);
            }
            Some(Value::Dict(given)) => match &default {
                Value::Dict(default) => {
                    let merge = rules.merge || chart.dependencies.iter().any(|subchart| subchart.name() == &*key);
                    if !merge && cleans {
                        remove_nulls(default);
                    }
                    tables(&given, default, &join(&prefix, &key), merge, warnings);
                }
                Value::Nil => {}
                _ => warnings.add(format!("warning: skipped value for {prefix}.{key}: Not a table.")),
            },
            Some(_) => {}
        }
    }
}

fn remove_nulls(dict: &Dict) {
    dict.entries_mut().retain(|_, value| !value.is_nil());
    for value in dict.entries().values() {
        if let Value::Dict(inner) = value {
            remove_nulls(inner);
        }
    }
}

/// `src` beneath `dst`; nulls stay.
pub(crate) fn merge_tables(dst: &Rc<Dict>, src: &Rc<Dict>, warnings: &mut Warnings) {
    tables(dst, src, "", true, warnings);
}

fn tables(dst: &Rc<Dict>, src: &Rc<Dict>, prefix: &str, merge: bool, warnings: &mut Warnings) {
    if Rc::ptr_eq(dst, src) {
        return;
    }
    let set_by_src: BTreeSet<Str> =
        src.entries().iter().filter(|(_, value)| !value.is_nil()).map(|(key, _)| key.clone()).collect();
    for (key, value) in dst.snapshot() {
        if value.is_nil() {
            src.set(key, Value::Nil);
        }
    }
    for (key, value) in src.snapshot() {
        let full = join(prefix, &key);
        match (dst.get(&key), &value) {
            (Some(Value::Nil), _) if !merge && set_by_src.contains(&key) => {
                dst.remove(&key);
            }
            (None, _) => dst.set(key, value),
            (Some(Value::Dict(inner)), Value::Dict(value)) => tables(&inner, value, &full, merge, warnings),
            (Some(_), Value::Dict(_)) => {
                warnings.add(format!("warning: cannot overwrite table with non table for {full} ({value})"));
            }
            (Some(Value::Dict(_)), value) if !value.is_nil() => {
                let message = format!("warning: destination for {full} is a table. Ignoring non-table value ({value})");
                warnings.add(message);
            }
            _ => {}
        }
    }
}
