//! From matchers to series: lists of an index, cut with each other, the most selective first.

use coracle_promql::{MatchOp, Matcher};

use crate::{StoreError, postings};

/// What an index of series, in memory or on disk, can be asked. Lists ascend.
pub(crate) trait Index {
    /// Series are numbered from 0 up to this.
    fn series_count(&self) -> u32;
    /// Appends the series that have the label.
    fn read_postings(&self, name: &str, value: &str, into: &mut Vec<u32>) -> Result<(), StoreError>;
    /// How many series have the label.
    fn postings_count(&self, name: &str, value: &str) -> Result<usize, StoreError>;
    /// How many values the label has.
    fn values_count(&self, name: &str) -> usize;
    /// Appends, in any order, the series with a value that is `wanted`; all such values have what is in `common`.
    fn read_matching(
        &self,
        name: &str,
        common: Common<'_>,
        wanted: &dyn Fn(&str) -> bool,
        into: &mut Vec<u32>,
    ) -> Result<(), StoreError>;
    /// Keeps the series for which every matcher says yes, looking at each.
    fn retain_matching(&self, series: &mut Vec<u32>, matchers: &[&Matcher]) -> Result<(), StoreError>;
}

/// What values have in common that are looked for; empty where nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Common<'a> {
    /// They begin with it.
    pub(crate) prefix: &'a str,
    /// They hold it somewhere.
    pub(crate) needle: &'a str,
}

/// Looking at a series costs about as much as so many entries of a list.
const LOOK_COST: usize = 16;

/// Asking a matcher about a value costs about as much as so many entries of a list.
const MATCH_COST: usize = 8;

/// The series for which every matcher says yes, ascending.
pub(crate) fn resolve(index: &dyn Index, matchers: &[Matcher]) -> Result<Vec<u32>, StoreError> {
    let mut sized = Vec::with_capacity(matchers.len());
    let mut excluding = Vec::new();
    for matcher in matchers {
        if matcher.matches_empty() {
            excluding.push(matcher);
        } else {
            sized.push((size(index, matcher)?, matcher));
        }
    }
    sized.sort_by_key(|(size, _)| *size);
    let mut sized = sized.into_iter();
    let mut found = Vec::new();
    match sized.next() {
        Some((_, first)) => read(index, first, &mut found)?,
        None => found.extend(0..index.series_count()),
    }
    let mut to_look_at = Vec::new();
    let mut others = Vec::new();
    for (size, matcher) in sized {
        if found.is_empty() {
            return Ok(found);
        }
        if found.len() * LOOK_COST < size {
            to_look_at.push(matcher);
            continue;
        }
        others.clear();
        read(index, matcher, &mut others)?;
        postings::retain(&mut found, &others, true);
    }
    for matcher in excluding {
        if found.len() < index.values_count(&matcher.name) * 2 {
            to_look_at.push(matcher);
            continue;
        }
        others.clear();
        index.read_matching(&matcher.name, Common::default(), &|value| !matcher.matches(value), &mut others)?;
        postings::sort(&mut others, index.series_count());
        postings::retain(&mut found, &others, false);
    }
    if !to_look_at.is_empty() && !found.is_empty() {
        index.retain_matching(&mut found, &to_look_at)?;
    }
    Ok(found)
}

/// About how much work it is to read what a matcher selects.
fn size(index: &dyn Index, matcher: &Matcher) -> Result<usize, StoreError> {
    Ok(match (matcher.op, matcher.set_matches()) {
        (MatchOp::Equal, _) => index.postings_count(&matcher.name, &matcher.value)?,
        (MatchOp::Regex, Some(set)) => {
            let mut sum = 0;
            for value in set {
                sum += index.postings_count(&matcher.name, value)?;
            }
            sum
        }
        _ => index.series_count() as usize + index.values_count(&matcher.name) * MATCH_COST,
    })
}

fn read(index: &dyn Index, matcher: &Matcher, into: &mut Vec<u32>) -> Result<(), StoreError> {
    match (matcher.op, matcher.set_matches()) {
        (MatchOp::Equal, _) => return index.read_postings(&matcher.name, &matcher.value, into),
        (MatchOp::Regex, Some(set)) => {
            for value in set {
                index.read_postings(&matcher.name, value, into)?;
            }
        }
        (MatchOp::Regex, None) => {
            let common = Common { prefix: matcher.prefix(), needle: matcher.needle() };
            index.read_matching(&matcher.name, common, &|value| matcher.matches(value), into)?;
        }
        _ => index.read_matching(&matcher.name, Common::default(), &|value| matcher.matches(value), into)?,
    }
    postings::sort(into, index.series_count());
    Ok(())
}
