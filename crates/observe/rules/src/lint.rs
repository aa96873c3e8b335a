//! Rules that are valid and yet a mistake.

use std::{collections::BTreeMap, fmt::Write};

use crate::file::Group;

/// Rules of one file with the same name and labels: whoever reads their series cannot tell which of them wrote.
/// Nothing when there are none.
pub fn duplicates(groups: &[Group]) -> Option<String> {
    let mut counts: BTreeMap<(&str, BTreeMap<&str, &str>), usize> = BTreeMap::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let labels = rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        *counts.entry((&rule.name, labels)).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    if counts.is_empty() {
        return None;
    }
    let mut text = format!("lint error {} duplicate rule(s) found.\n", counts.len());
    let mut put = |arguments: std::fmt::Arguments<'_>| text.write_fmt(arguments).expect("memory takes everything");
    for (name, labels) in counts.keys() {
        put(format_args!("Metric: {name}\nLabel(s):\n"));
        for (label, value) in labels {
            put(format_args!("\t{label}: {value}\n"));
        }
    }
    text.push_str("Might cause inconsistency while recording expressions");
    Some(text)
}
