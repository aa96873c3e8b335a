//! Labels and annotations.

use coracle_yaml::{Node, Value};

use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk};
use crate::resource::Resource;
use crate::scalars::set_field_string;

/// Sets entries in every mapping the field specs lead to, a key at a time.
pub(super) fn set_entries(
    entries: &[(String, String)],
    fields: &[FieldSpec],
    resources: &mut [Resource],
) -> Result<(), Trouble> {
    let mut entries: Vec<&(String, String)> = entries.iter().collect();
    entries.sort();
    for resource in resources {
        let mark = resource.mark();
        for (key, value) in &entries {
            for spec in fields {
                let mut set = |node: &mut Node| set_entry(node, key, value);
                walk(&mut resource.node, spec, Make::Mapping, &mut set).map_err(|trouble| trouble.or_at(mark))?;
            }
        }
    }
    Ok(())
}

fn set_entry(node: &mut Node, key: &str, value: &str) -> Result<(), Trouble> {
    if node.is_null() {
        return Ok(());
    }
    let found = node.describe();
    match &mut node.value {
        Value::Mapping(mapping) => {
            set_field_string(mapping, key, value);
            Ok(())
        }
        _ => Err(Trouble::new(node.mark, format!("expected a mapping, found {found}"))),
    }
}
