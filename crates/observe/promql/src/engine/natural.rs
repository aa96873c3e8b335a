//! The order of `sort_by_label`: labels as people order them, runs of digits as numbers.
//!
//! It is the order of Prometheus, which is none for some texts: `01` comes before `1` and `1` before `01`, and nothing
//! comes before or after an empty text. So it is sorted with what does not mind.

use std::cmp::Ordering;

use crate::labels::Labels;

/// Sorts by an order that may contradict itself, in which the standard library's ways would panic. Stable.
pub(super) fn sorted<T>(mut items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering + Copy) -> Vec<T> {
    const SHORT: usize = 12;
    if items.len() <= SHORT {
        for end in 1..items.len() {
            let mut at = end;
            while at > 0 && compare(&items[at], &items[at - 1]) == Ordering::Less {
                items.swap(at, at - 1);
                at -= 1;
            }
        }
        return items;
    }
    let right = items.split_off(items.len() / 2);
    let (left, right) = (sorted(items, compare), sorted(right, compare));
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        merged.extend(if compare(other, one) == Ordering::Less { right.next() } else { left.next() });
    }
    merged.extend(left.chain(right));
    merged
}

pub(super) fn compare_labels(one: &Labels, other: &Labels, names: &[&str]) -> Ordering {
    for name in names {
        let (left, right) = (one.value(name), other.value(name));
        if left != right {
            return if natural_less(left, right) { Ordering::Less } else { Ordering::Greater };
        }
    }
    one.cmp(other)
}

/// Whether one text comes before another when runs of digits count as numbers.
fn natural_less(one: &str, other: &str) -> bool {
    let (left, right) = (chunks(one), chunks(other));
    for (at, chunk) in left.iter().enumerate() {
        let Some(rival) = right.get(at) else { return false };
        let numbers = (chunk.parse::<i64>(), rival.parse::<i64>());
        let same = match numbers {
            (Ok(left), Ok(right)) if left != right => return left < right,
            (Ok(_), Ok(_)) => true,
            _ => chunk == rival,
        };
        if !same {
            return chunk < rival;
        }
        if at + 1 == left.len() {
            return true;
        }
        if at + 1 == right.len() {
            return false;
        }
    }
    false
}

/// Runs of digits and of other characters.
fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 1..=bytes.len() {
        if at == bytes.len() || bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit() {
            chunks.push(&text[start..at]);
            start = at;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_numbers() {
        let sort = |texts: &[&str]| {
            let labels = texts.iter().map(|text| Labels::new([("x", *text)])).collect();
            let sorted = sorted(labels, |one: &Labels, other| compare_labels(one, other, &["x"]));
            sorted.iter().map(|labels| labels.value("x").to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sort(&["a10", "a9", "a", "2b", "10", "a9b"]), "2b 10 a a9 a9b a10");
    }

    #[test]
    fn an_order_that_contradicts_itself_does_no_harm() {
        let texts = ["", "1", "01", "001", "a", "a01", "a1", "x"];
        let labels: Vec<Labels> =
            (0..200).map(|at| Labels::new([("x", texts[at * 7 % 8]), ("y", texts[at % 8])])).collect();
        let sorted = sorted(labels.clone(), |one, other| compare_labels(one, other, &["x", "y"]));
        assert_eq!(sorted.len(), labels.len());
    }
}
