//! Lists of indexes as a job's status writes them: `0-2,5,7-9`.

use std::collections::BTreeSet;

/// Reads a list; what is no number is passed over.
pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    let ranges = text.split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse::<i32>().ok()?..=to.parse::<i32>().ok()?)
    });
    ranges.flatten().collect()
}

/// Writes a list, runs of three or more as ranges, of two as upstream does: `1,2`.
pub(super) fn show(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let run = |(first, last): (i32, i32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for text in ["", "3", "1,2", "0-2,5,7-9"] {
            assert_eq!(show(&parse(text)), text);
        }
        assert_eq!(show(&parse("4,1-2,3,x")), "1-4");
    }
}
