//! Conditions on labels. A value that cannot be read as what it is compared with sets an error and lets the line pass.

use super::{ERROR_LABEL, LabelsBuilder, ip::IpFilter, number};
use crate::{
    go,
    matcher::Matcher,
    syntax::{Comparison, LabelFilter},
};

const LABEL_FILTER_ERROR: &str = "LabelFilterErr";

/// A condition ready to be asked.
pub(super) enum Filter {
    Matcher(Matcher),
    Number(String, Comparison, f64),
    Duration(String, Comparison, i64),
    Bytes(String, Comparison, u64),
    Ip { label: String, negated: bool, filter: IpFilter },
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
}

impl Filter {
    pub(super) fn new(filter: &LabelFilter) -> Result<Self, String> {
        Ok(match filter {
            LabelFilter::Matcher(matcher) => Self::Matcher(matcher.clone()),
            LabelFilter::Number(label, comparison, with) => Self::Number(label.clone(), *comparison, *with),
            LabelFilter::Duration(label, comparison, with) => Self::Duration(label.clone(), *comparison, *with),
            LabelFilter::Bytes(label, comparison, with) => Self::Bytes(label.clone(), *comparison, *with),
            LabelFilter::Ip { label, negated, pattern } => {
                Self::Ip { label: label.clone(), negated: *negated, filter: IpFilter::new(pattern)? }
            }
            LabelFilter::And(left, right) => Self::And(Box::new(Self::new(left)?), Box::new(Self::new(right)?)),
            LabelFilter::Or(left, right) => Self::Or(Box::new(Self::new(left)?), Box::new(Self::new(right)?)),
        })
    }

    pub(super) fn matches(&self, labels: &mut LabelsBuilder) -> bool {
        match self {
            Self::Matcher(matcher) if matcher.name == ERROR_LABEL => matcher.matches(labels.error()),
            Self::Matcher(matcher) => matcher.matches(labels.get(&matcher.name).unwrap_or_default()),
            Self::Number(label, comparison, with) => compare(labels, label, *comparison, *with, number),
            Self::Duration(label, comparison, with) => compare(labels, label, *comparison, *with, go::parse_duration),
            Self::Bytes(label, comparison, with) => compare(labels, label, *comparison, *with, go::parse_bytes),
            Self::Ip { .. } if labels.has_error() => true,
            Self::Ip { label, negated, filter } => {
                labels.get(label).is_some_and(|value| filter.matches(value) != *negated)
            }
            Self::And(left, right) => {
                // The right side is asked too: what it finds wrong is told.
                let left = left.matches(labels);
                let right = right.matches(labels);
                left && right
            }
            Self::Or(left, right) => left.matches(labels) || right.matches(labels),
        }
    }

    pub(super) fn labels(&self, into: &mut Vec<String>) {
        match self {
            Self::Matcher(matcher) => into.push(matcher.name.clone()),
            Self::Number(label, ..) | Self::Duration(label, ..) | Self::Bytes(label, ..) | Self::Ip { label, .. } => {
                into.push(label.clone());
            }
            Self::And(left, right) | Self::Or(left, right) => {
                left.labels(into);
                right.labels(into);
            }
        }
    }
}

fn compare<T: PartialOrd>(
    labels: &mut LabelsBuilder,
    label: &str,
    comparison: Comparison,
    with: T,
    read: impl Fn(&str) -> Result<T, String>,
) -> bool {
    let Some(text) = labels.get(label) else { return false };
    match read(text) {
        Ok(value) => match comparison {
            Comparison::Equal => value == with,
            Comparison::NotEqual => value != with,
            Comparison::Greater => value > with,
            Comparison::GreaterOrEqual => value >= with,
            Comparison::Less => value < with,
            Comparison::LessOrEqual => value <= with,
        },
        Err(message) => {
            // An earlier error may say more.
            if !labels.has_error() {
                labels.set_error(LABEL_FILTER_ERROR, &message);
            }
            true
        }
    }
}
