//! Aggregations over series, and `label_replace`.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use regex::Regex;

use super::range::Vector;
use crate::{
    labels::Labels,
    regexp,
    syntax::{Grouping, Replacement, VectorAggregation, VectorOp},
};

/// The labels of a group that a series belongs to.
pub(super) fn group_labels(grouping: &Grouping, labels: &Labels) -> Labels {
    let named = |name: &str| grouping.labels.iter().any(|label| label == name);
    if grouping.without {
        labels.keep(|name| !named(name) && name != "__name__").without_empty()
    } else {
        labels.keep(named)
    }
}

struct Group {
    labels: Arc<Labels>,
    members: Vec<(Arc<Labels>, f64)>,
}

/// Aggregations remember the groups of series from step to step.
pub(super) struct Aggregator {
    op: VectorOp,
    grouping: Grouping,
    parameter: usize,
    groups_of: HashMap<Arc<Labels>, Arc<Labels>>,
}

impl Aggregator {
    pub(super) fn new(vector: &VectorAggregation) -> Self {
        let grouping = vector.grouping.clone();
        Self { op: vector.op, grouping, parameter: vector.parameter, groups_of: HashMap::new() }
    }

    pub(super) fn apply(&mut self, mut vector: Vector) -> Vector {
        // One order whatever the source's was, so that sums come out the same.
        vector.sort_by(|a, b| a.0.cmp(&b.0));
        let mut order: HashMap<Arc<Labels>, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for (labels, value) in vector {
            let of = match self.groups_of.get(&labels) {
                Some(of) => Arc::clone(of),
                None => {
                    let of = Arc::new(group_labels(&self.grouping, &labels));
                    self.groups_of.insert(Arc::clone(&labels), Arc::clone(&of));
                    of
                }
            };
            let index = *order.entry(Arc::clone(&of)).or_insert_with(|| {
                groups.push(Group { labels: of, members: Vec::new() });
                groups.len() - 1
            });
            groups[index].members.push((labels, value));
        }
        groups.into_iter().flat_map(|group| self.reduce(group)).collect()
    }

    fn reduce(&self, group: Group) -> Vector {
        let Group { labels, mut members } = group;
        let values = || members.iter().map(|(_, value)| *value);
        let count = members.len() as f64;
        let value = match self.op {
            VectorOp::Sum => values().skip(1).fold(members[0].1, |sum, value| sum + value),
            VectorOp::Count => count,
            VectorOp::Avg => mean(values()),
            VectorOp::Max => {
                values().fold(f64::NAN, |best, value| if best.is_nan() || best < value { value } else { best })
            }
            VectorOp::Min => {
                values().fold(f64::NAN, |best, value| if best.is_nan() || best > value { value } else { best })
            }
            VectorOp::Stdvar => variance(values()),
            VectorOp::Stddev => variance(values()).sqrt(),
            VectorOp::TopK | VectorOp::ApproxTopK | VectorOp::SortDesc => {
                members.sort_by(|a, b| numbers_first(b.1, a.1).then(Ordering::Equal));
                return self.first(members);
            }
            VectorOp::BottomK | VectorOp::Sort => {
                members.sort_by(|a, b| match numbers_first(a.1, b.1) {
                    // What is no number is last here too.
                    order if a.1.is_nan() != b.1.is_nan() => order.reverse(),
                    order => order,
                });
                return self.first(members);
            }
        };
        vec![(labels, value)]
    }

    fn first(&self, mut members: Vector) -> Vector {
        if !matches!(self.op, VectorOp::Sort | VectorOp::SortDesc) {
            members.truncate(self.parameter);
        }
        members
    }
}

/// By value; what is no number is less than all that are.
fn numbers_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        if count == 1.0 {
            mean = value;
        } else {
            mean += (value - mean) / count;
        }
    }
    mean
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        if count == 1.0 {
            mean = value;
            continue;
        }
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

/// `label_replace`, remembered from step to step.
pub(super) struct Replacer {
    how: Replacement,
    regex: Regex,
    template: String,
    replaced: HashMap<Arc<Labels>, Arc<Labels>>,
}

impl Replacer {
    pub(super) fn new(how: &Replacement) -> Result<Self, String> {
        let regex = regexp::whole(&how.regex).map_err(|error| error.to_string())?;
        Ok(Self { how: how.clone(), regex, template: how.replacement.clone(), replaced: HashMap::new() })
    }

    pub(super) fn apply(&mut self, mut vector: Vector) -> Vector {
        for (labels, _) in &mut vector {
            *labels = match self.replaced.get(labels) {
                Some(replaced) => Arc::clone(replaced),
                None => {
                    let replaced = self.replace(labels);
                    self.replaced.insert(Arc::clone(labels), Arc::clone(&replaced));
                    replaced
                }
            };
        }
        vector
    }

    fn replace(&self, labels: &Arc<Labels>) -> Arc<Labels> {
        let source = labels.get(&self.how.source).unwrap_or_default();
        let Some(captures) = self.regex.captures(source) else { return Arc::clone(labels) };
        let mut value = String::new();
        captures.expand(&self.template, &mut value);
        Arc::new(labels.without_empty().set(&self.how.destination, &value))
    }
}
