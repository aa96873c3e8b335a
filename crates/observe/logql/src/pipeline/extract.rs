//! A number out of a line: one for each, its length, or the value of a label.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{
    ERROR_LABEL, LabelsBuilder, Moment, PRESERVE_ERROR_LABEL, Pipeline, builder::Hints, label_filter::Filter, number,
};
use crate::{
    go,
    labels::Labels,
    syntax::{Conversion, Grouping, ParseError, RangeAggregation, RangeOp, Stage},
};

const EXTRACTION_ERROR: &str = "SampleExtractionErr";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleKind {
    Lines,
    Bytes,
    Unwrapped,
}

/// Which labels samples keep.
struct Group {
    labels: Vec<String>,
    without: bool,
    /// None at all.
    nothing: bool,
}

struct Unwrapped {
    label: String,
    conversion: Option<Conversion>,
    filters: Vec<Filter>,
}

/// Makes samples of lines.
pub(crate) struct Extractor {
    pipeline: Pipeline,
    group: Group,
    kind: SampleKind,
    unwrap: Option<Unwrapped>,
    hints: Hints,
}

/// A sample that a line gave.
pub(crate) enum Extracted {
    Sample(f64),
    /// The line went wrong, and the query does not ask for that; its labels tell how.
    Wrong,
}

impl Extractor {
    /// `outer` is the grouping of a `sum` around the aggregation, which may as well be done here.
    pub(crate) fn new(range: &RangeAggregation, outer: Option<&Grouping>, moment: Moment) -> Result<Self, ParseError> {
        let pipeline = Pipeline::new(&range.range.selector.stages, moment)?;
        let grouping = outer.or(range.grouping.as_ref());
        let mut group = Group {
            labels: grouping.map(|grouping| grouping.labels.clone()).unwrap_or_default(),
            without: grouping.is_some_and(|grouping| grouping.without),
            nothing: grouping.is_some_and(Grouping::is_singleton) || range.op == RangeOp::Absent,
        };
        let mut required = pipeline.required_labels();
        let unwrap = match &range.range.unwrap {
            None => None,
            Some(unwrap) => {
                let prepare = |filter| {
                    Filter::new(filter).map_err(|error| {
                        ParseError::new(format!("stage '{}' : {error}", Stage::Labels(filter.clone())))
                    })
                };
                let filters = unwrap.filters.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
                filters.iter().for_each(|filter| filter.labels(&mut required));
                if group.labels.is_empty() || group.without {
                    group.without = true;
                    group.labels.push(unwrap.label.clone());
                }
                Some(Unwrapped { label: unwrap.label.clone(), conversion: unwrap.conversion, filters })
            }
        };
        let kind = match (&unwrap, range.op) {
            (Some(_), _) => SampleKind::Unwrapped,
            (None, RangeOp::Bytes | RangeOp::BytesRate) => SampleKind::Bytes,
            (None, _) => SampleKind::Lines,
        };
        let unwrapped = unwrap.as_ref().map(|unwrap| unwrap.label.clone());
        let hints = hints(&group, required, unwrapped);
        Ok(Self { pipeline, group, kind, unwrap, hints })
    }

    pub(crate) fn kind(&self) -> SampleKind {
        self.kind
    }

    pub(crate) fn builder(&self) -> LabelsBuilder {
        LabelsBuilder::with_hints(self.hints.clone())
    }

    /// The sample of a line, with its labels left in the builder.
    pub(crate) fn extract(&self, ts: i64, line: &str, labels: &mut LabelsBuilder) -> Option<Extracted> {
        let line = self.pipeline.run(ts, line, labels)?;
        let value = match &self.unwrap {
            None if self.kind == SampleKind::Bytes => line.len() as f64,
            None => 1.0,
            Some(unwrap) => unwrap.value(labels)?,
        };
        let wrong = labels.has_error() && labels.get(PRESERVE_ERROR_LABEL) != Some("true");
        Some(if wrong { Extracted::Wrong } else { Extracted::Sample(value) })
    }

    /// The labels that a sample keeps, in order.
    pub(crate) fn series_labels<'b>(&self, labels: &'b LabelsBuilder, into: &mut Vec<(&'b str, &'b str)>) {
        into.clear();
        // Of a line with an error everything is kept, so that the error is seen.
        if labels.has_error() {
            labels.visit(|_, name, value| into.push((name, value)));
        } else if !self.group.nothing {
            let named = |name: &str| self.group.labels.iter().any(|label| label == name);
            let all = self.group.labels.is_empty() && !self.group.without;
            labels.visit(|_, name, value| {
                if all || named(name) != self.group.without {
                    into.push((name, value));
                }
            });
        }
        into.sort_unstable();
    }
}

impl Unwrapped {
    fn value(&self, labels: &mut LabelsBuilder) -> Option<f64> {
        // Lines need not have the label.
        let text = labels.get(&self.label).filter(|text| !text.is_empty())?;
        let read = match self.conversion {
            None => number(text),
            Some(Conversion::Bytes) => go::parse_bytes(text).map(|bytes| bytes as f64),
            Some(Conversion::Duration | Conversion::DurationSeconds) => go::parse_duration(text).map(seconds),
        };
        let value = read.unwrap_or_else(|message| {
            labels.set_error(EXTRACTION_ERROR, &message);
            0.0
        });
        // All filters are asked, as if they stood in one condition.
        let mut passes = true;
        for filter in &self.filters {
            passes &= filter.matches(labels);
        }
        passes.then_some(value)
    }
}

/// A duration as Go's `Seconds` gives it: whole seconds and the rest apart.
pub(crate) fn seconds(nanoseconds: i64) -> f64 {
    (nanoseconds / 1_000_000_000) as f64 + (nanoseconds % 1_000_000_000) as f64 / 1e9
}

fn hints(group: &Group, required: Vec<String>, unwrapped: Option<String>) -> Hints {
    let mut names: Vec<String> = Vec::new();
    for name in required.into_iter().chain(group.labels.iter().cloned()).chain(unwrapped) {
        // A label that collides is known by its suffix only later.
        let stripped = name.strip_suffix(super::DUPLICATE_SUFFIX).map(str::to_owned);
        for name in [Some(name), stripped].into_iter().flatten() {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let preserve_error = names.iter().any(|name| name == ERROR_LABEL);
    if group.nothing && names.is_empty() {
        return Hints { nothing: true, ..Hints::default() };
    }
    if !group.nothing && (group.without || group.labels.is_empty()) {
        return Hints::default();
    }
    Hints { nothing: false, required: names, preserve_error }
}

/// A hash of sorted labels, the same for pairs and for [`Labels`].
pub(crate) fn hash_pairs<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    pairs.for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

/// Whether pairs are these labels.
pub(crate) fn same_pairs(labels: &Labels, pairs: &[(&str, &str)]) -> bool {
    labels.len() == pairs.len() && labels.iter().eq(pairs.iter().copied())
}
