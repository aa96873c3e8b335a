//! Which subcharts take part: conditions, tags, aliases; and what they hand up (`import-values`).

use std::rc::Rc;

use coracle_gotemplate::{Dict, Value};

use crate::{
    Chart, Flavour, Warnings,
    metadata::{Dependency, Import},
    values::{self, TypeMismatch, coalesce_values, merge_tables, merge_values, table_at, value_at},
};

/// Takes disabled subcharts out of the chart, names aliased ones, and imports values from children into parents.
pub(crate) fn process(
    chart: &mut Chart,
    values: &Rc<Dict>,
    flavour: Flavour,
    warnings: &mut Warnings,
) -> Result<(), TypeMismatch> {
    enabled(chart, values, "", flavour, warnings)?;
    import(chart, flavour, warnings)
}

fn enabled(
    chart: &mut Chart,
    values: &Rc<Dict>,
    path: &str,
    flavour: Flavour,
    warnings: &mut Warnings,
) -> Result<(), TypeMismatch> {
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    name_dependencies(chart);
    for dependency in &mut chart.metadata.dependencies {
        dependency.enabled = true;
    }
    let values = coalesce_values(chart, values, flavour, warnings)?;
    apply_tags(&mut chart.metadata.dependencies, &values, warnings);
    apply_conditions(&mut chart.metadata.dependencies, &values, path, warnings);
    let removed: Vec<String> = chart
        .metadata
        .dependencies
        .iter()
        .filter(|dependency| !dependency.enabled)
        .map(|dependency| dependency.name.clone())
        .collect();
    chart.dependencies.retain(|subchart| !removed.contains(&subchart.metadata.name));
    chart.metadata.dependencies.retain(|dependency| !removed.contains(&dependency.name));
    for subchart in &mut chart.dependencies {
        let path = format!("{path}{}.", subchart.metadata.name);
        enabled(subchart, &values, &path, flavour, warnings)?;
    }
    Ok(())
}

/// Subcharts nobody lists come first, then those of the list in its order, under their aliases.
fn name_dependencies(chart: &mut Chart) {
    let loaded = std::mem::take(&mut chart.dependencies);
    let is = |dependency: &Dependency, subchart: &Chart| {
        subchart.metadata.name == dependency.name && is_compatible(&dependency.version, &subchart.metadata.version)
    };
    let listed = |subchart: &Chart| chart.metadata.dependencies.iter().any(|dependency| is(dependency, subchart));
    let mut named: Vec<Chart> = loaded.iter().filter(|subchart| !listed(subchart)).cloned().collect();
    for dependency in &mut chart.metadata.dependencies {
        if let Some(subchart) = loaded.iter().find(|subchart| is(dependency, subchart)) {
            let mut subchart = subchart.clone();
            if !dependency.alias.is_empty() {
                subchart.metadata.name.clone_from(&dependency.alias);
            }
            named.push(subchart);
        }
        if !dependency.alias.is_empty() {
            dependency.name.clone_from(&dependency.alias);
        }
    }
    chart.dependencies = named;
}

/// Whether a version is in a range; what cannot be read is in none.
pub(crate) fn is_compatible(range: &str, version: &str) -> bool {
    coracle_sprig::semver::satisfies(range, version).unwrap_or(false)
}

fn apply_tags(dependencies: &mut [Dependency], values: &Rc<Dict>, warnings: &mut Warnings) {
    let Some(tags) = table_at(values, "tags") else { return };
    for dependency in dependencies {
        let mut on = false;
        let mut off = false;
        for tag in &dependency.tags {
            match tags.get(tag) {
                Some(Value::Bool(value)) => {
                    on |= value;
                    off |= !value;
                }
                Some(_) => {
                    let name = &dependency.name;
                    warnings.add(format!("Warning: Tag '{tag}' for chart {name} returned non-bool value"));
                }
                None => {}
            }
        }
        dependency.enabled = on || !off;
    }
}

/// The first condition that names a truth value decides.
fn apply_conditions(dependencies: &mut [Dependency], values: &Rc<Dict>, path: &str, warnings: &mut Warnings) {
    for dependency in dependencies {
        for condition in dependency.condition.trim().split(',').filter(|condition| !condition.is_empty()) {
            match value_at(values, &format!("{path}{condition}")) {
                Some(Value::Bool(value)) => {
                    dependency.enabled = value;
                    break;
                }
                Some(_) => {
                    let name = &dependency.name;
                    let message =
                        format!("Warning: Condition path '{condition}' for chart {name} returned non-bool value");
                    warnings.add(message);
                }
                None => {}
            }
        }
    }
}

fn import(chart: &mut Chart, flavour: Flavour, warnings: &mut Warnings) -> Result<(), TypeMismatch> {
    for subchart in &mut chart.dependencies {
        import(subchart, flavour, warnings)?;
    }
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    // Both Helms keep nulls here.
    let values = merge_values(chart, &Dict::default(), flavour, warnings)?;
    let imported = values::table();
    for dependency in &chart.metadata.dependencies {
        for import in &dependency.import_values {
            let (child, parent) = match import {
                Import::Export(name) => (format!("exports.{name}"), "."),
                Import::Pair { child, parent } => (child.clone(), parent.as_str()),
            };
            match table_at(&values, &format!("{}.{child}", dependency.name)) {
                Some(table) => merge_tables(&imported, &under_path(parent, table), warnings),
                None => {
                    let name = &dependency.name;
                    warnings.add(format!(
                        "Warning: ImportValues missing table from chart {name}: \"{child}\" is not a table"
                    ));
                }
            }
        }
    }
    let own = values::copy_table(&values);
    merge_tables(&own, &imported, warnings);
    chart.values = own;
    Ok(())
}

/// A table under a path of keys between dots; `.` is the table itself.
fn under_path(path: &str, table: Rc<Dict>) -> Rc<Dict> {
    if path == "." {
        return table;
    }
    path.split('.').rev().fold(table, |inner, key| {
        let outer = values::table();
        outer.set(key, Value::Dict(inner));
        outer
    })
}
