//! Aggregations over time: reads the samples of a whole query once, and gives the vector of each step.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    Direction, EvalError, Failure, Limits, Request, Sink, Source, SourceEntry, Steps, series::SeriesIndex, window,
};
use crate::{
    labels::Labels,
    matcher::MatchOp,
    pipeline::{ERROR_LABEL, Extracted, Extractor, LabelsBuilder, Moment, Needle, SampleKind, seconds},
    syntax::{Grouping, RangeAggregation, RangeOp},
};

/// What a step gives: series with values.
pub(super) type Vector = Vec<(Arc<Labels>, f64)>;

/// An aggregation whose samples were read.
pub(super) struct RangeValues {
    op: RangeOp,
    parameter: f64,
    interval_seconds: f64,
    labels: Vec<Arc<Labels>>,
    held: Held,
    /// The moments that a window spans.
    frame: Frame,
    absent: Arc<Labels>,
}

/// How far windows reach.
#[derive(Debug, Clone, Copy)]
struct Frame {
    steps: Steps,
    interval: i64,
    offset: i64,
}

impl Frame {
    /// The steps whose windows a moment is in: first, and one after the last.
    fn steps_of(&self, ts: i64) -> (usize, usize) {
        let (shifted, step) = (ts + self.offset - self.steps.start, self.steps.step);
        let up = |distance: i64| -> usize {
            let rounded = distance.div_euclid(step) + i64::from(distance.rem_euclid(step) != 0);
            usize::try_from(rounded).unwrap_or(0).min(self.steps.count)
        };
        (up(shifted), up(shifted + self.interval))
    }

    /// The window of a step: after the first moment, up to the second.
    fn window(&self, index: usize) -> (i64, i64) {
        let end = self.steps.at(index) - self.offset;
        (end - self.interval, end)
    }
}

enum Held {
    /// Where only how many and how much counts: what changes at each step.
    Changes(Vec<Vec<Change>>),
    /// Samples in order of time, with the place where the current window starts and ends.
    Samples(Vec<Timeline>),
}

#[derive(Clone, Copy, Default)]
struct Change {
    count: i64,
    sum: f64,
}

struct Timeline {
    samples: Vec<(i64, f64)>,
    from: usize,
    to: usize,
}

impl RangeValues {
    pub(super) fn read<S: Source>(
        range: &RangeAggregation,
        outer: Option<&Grouping>,
        steps: &Steps,
        limits: &Limits,
        moment: Moment,
        source: &S,
    ) -> Result<Self, EvalError<S::Error>> {
        let extractor = Extractor::new(range, outer, moment)?;
        let frame = Frame { steps: *steps, interval: range.range.interval_ns, offset: range.range.offset_ns };
        let counts = extractor.kind() != SampleKind::Unwrapped;
        let held = if counts { Held::Changes(Vec::new()) } else { Held::Samples(Vec::new()) };
        let mut sink = SampleSink {
            builder: extractor.builder(),
            extractor: &extractor,
            index: SeriesIndex::default(),
            untouched: None,
            held,
            frame,
            used: 0,
            max_samples: limits.max_samples,
            failure: None,
        };
        let (earliest, latest) = (frame.window(0).0, frame.window(steps.count.saturating_sub(1)).1);
        let request = Request {
            matchers: &range.range.selector.matchers,
            start: earliest.saturating_add(1),
            end: latest.saturating_add(1),
            direction: Direction::Forward,
            needles: Needle::of(&range.range.selector.stages),
        };
        if steps.count > 0 {
            source.read(&request, &mut sink).map_err(EvalError::Source)?;
        }
        let SampleSink { index, mut held, failure, .. } = sink;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        held.settle();
        Ok(Self {
            op: range.op,
            parameter: range.parameter.unwrap_or_default(),
            interval_seconds: seconds(range.range.interval_ns),
            labels: index.into_labels(),
            held,
            frame,
            absent: Arc::new(absent_labels(range)),
        })
    }

    /// The vector of a step; steps come in order.
    pub(super) fn next(&mut self, index: usize) -> Vector {
        let mut vector = Vec::new();
        match &mut self.held {
            Held::Changes(series) => {
                for (labels, changes) in self.labels.iter().zip(series) {
                    let Change { count, sum } = changes[index];
                    if count > 0 {
                        let value = match self.op {
                            RangeOp::Rate => count as f64 / self.interval_seconds,
                            RangeOp::Bytes => sum,
                            RangeOp::BytesRate => sum / self.interval_seconds,
                            RangeOp::Absent => 1.0,
                            _ => count as f64,
                        };
                        vector.push((Arc::clone(labels), value));
                    }
                }
            }
            Held::Samples(series) => {
                let (after, until) = self.frame.window(index);
                for (labels, timeline) in self.labels.iter().zip(series) {
                    let samples = timeline.window(after, until);
                    if !samples.is_empty() {
                        let value = window::aggregate(self.op, samples, self.interval_seconds, self.parameter);
                        vector.push((Arc::clone(labels), value));
                    }
                }
            }
        }
        if self.op == RangeOp::Absent {
            return if vector.is_empty() { vec![(Arc::clone(&self.absent), 1.0)] } else { Vec::new() };
        }
        vector
    }
}

impl Held {
    /// Sums up changes, or puts samples in order.
    fn settle(&mut self) {
        match self {
            Self::Changes(series) => {
                for changes in series {
                    let mut total = Change::default();
                    for change in changes {
                        total.count += change.count;
                        total.sum += change.sum;
                        *change = total;
                    }
                }
            }
            Self::Samples(series) => series.iter_mut().for_each(|timeline| timeline.samples.sort_by_key(|(ts, _)| *ts)),
        }
    }
}

impl Timeline {
    fn window(&mut self, after: i64, until: i64) -> &[(i64, f64)] {
        while self.samples.get(self.from).is_some_and(|(ts, _)| *ts <= after) {
            self.from += 1;
        }
        self.to = self.to.max(self.from);
        while self.samples.get(self.to).is_some_and(|(ts, _)| *ts <= until) {
            self.to += 1;
        }
        &self.samples[self.from..self.to]
    }
}

struct SampleSink<'e> {
    extractor: &'e Extractor,
    builder: LabelsBuilder,
    index: SeriesIndex,
    /// The series of the last line that kept its stream's labels.
    untouched: Option<(Arc<Labels>, usize)>,
    held: Held,
    frame: Frame,
    used: usize,
    max_samples: usize,
    failure: Option<Failure>,
}

impl SampleSink<'_> {
    fn series(&mut self) -> usize {
        let untouched = self.builder.is_untouched();
        if untouched
            && let Some((known, series)) = &self.untouched
            && Arc::ptr_eq(known, self.builder.base())
        {
            return *series;
        }
        let mut pairs = Vec::new();
        self.extractor.series_labels(&self.builder, &mut pairs);
        let series = self.index.of(&pairs);
        if untouched {
            self.untouched = Some((Arc::clone(self.builder.base()), series));
        }
        series
    }

    fn add(&mut self, ts: i64, value: f64, steps: (usize, usize)) -> Result<(), Failure> {
        let series = self.series();
        let count = self.frame.steps.count;
        match &mut self.held {
            Held::Changes(changes) => {
                while changes.len() <= series {
                    self.used += count;
                    changes.push(vec![Change::default(); count + 1]);
                }
                let changes = &mut changes[series];
                changes[steps.0].count += 1;
                changes[steps.0].sum += value;
                changes[steps.1].count -= 1;
                changes[steps.1].sum -= value;
            }
            Held::Samples(timelines) => {
                while timelines.len() <= series {
                    timelines.push(Timeline { samples: Vec::new(), from: 0, to: 0 });
                }
                self.used += 1;
                timelines[series].samples.push((ts, value));
            }
        }
        if self.used <= self.max_samples {
            return Ok(());
        }
        Err(Failure::Limit(format!(
            "the query would hold more than {} samples in memory; narrow its time range or its selector, or group by \
             fewer labels",
            self.max_samples
        )))
    }

    /// The error of a line that cannot be counted, with its labels.
    fn wrong(&self) -> Failure {
        let mut pairs = Vec::new();
        self.extractor.series_labels(&self.builder, &mut pairs);
        let labels = Labels::with_empty(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let error = labels.get(ERROR_LABEL).unwrap_or_default().to_owned();
        Failure::Pipeline(format!(
            "pipeline error: '{error}' for series: '{labels}'.\n\
             Use a label filter to intentionally skip this error. (e.g | __error__!=\"{error}\").\n\
             To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
             The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
        ))
    }
}

impl Sink for SampleSink<'_> {
    fn wants(&self, _: i64, _: i64) -> bool {
        self.failure.is_none()
    }

    fn take(&mut self, entry: SourceEntry<'_>) -> ControlFlow<()> {
        let steps = self.frame.steps_of(entry.ts);
        if self.failure.is_some() {
            return ControlFlow::Break(());
        }
        // Between the windows of two steps.
        if steps.0 >= steps.1 {
            return ControlFlow::Continue(());
        }
        let metadata = entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.builder.start(entry.labels, metadata);
        let done = match self.extractor.extract(entry.ts, entry.line, &mut self.builder) {
            None => Ok(()),
            Some(Extracted::Wrong) => Err(self.wrong()),
            Some(Extracted::Sample(value)) => self.add(entry.ts, value, steps),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

/// What `absent_over_time` can say of the series that is not there: labels that are asked for by one exact value.
fn absent_labels(range: &RangeAggregation) -> Labels {
    let matchers = &range.range.selector.matchers;
    let mut labels = Labels::default();
    let mut unknown = Vec::new();
    for matcher in matchers {
        if matcher.op == MatchOp::Equal && labels.get(&matcher.name).is_none() {
            labels = labels.set(&matcher.name, &matcher.value);
        } else {
            unknown.push(matcher.name.as_str());
        }
    }
    labels.keep(|name| !unknown.contains(&name))
}
