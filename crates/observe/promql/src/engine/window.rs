//! The samples a range function sees at one step.

use super::{Annotation, Histogram, context::Context};
use crate::{
    labels::Labels,
    parser::ast::Span,
    storage::{Columns, is_stale},
};

/// Takes staleness markers out: ranges do not see them.
pub(super) fn without_stale_markers(columns: &mut Columns) {
    if columns.floats.values.iter().any(|value| is_stale(*value)) {
        let floats = &mut columns.floats;
        let kept: Vec<bool> = floats.values.iter().map(|value| !is_stale(*value)).collect();
        keep(&mut floats.times_ms, &kept);
        keep(&mut floats.starts_ms, &kept);
        keep(&mut floats.values, &kept);
    }
    if columns.histograms.values.iter().any(|histogram| histogram.is_stale()) {
        let histograms = &mut columns.histograms;
        let kept: Vec<bool> = histograms.values.iter().map(|histogram| !histogram.is_stale()).collect();
        keep(&mut histograms.times_ms, &kept);
        keep(&mut histograms.starts_ms, &kept);
        keep(&mut histograms.values, &kept);
    }
}

fn keep<V>(values: &mut Vec<V>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().copied().unwrap_or(false));
}

/// Everything about a call that is the same for all windows of a series.
pub(super) struct Around<'a> {
    pub context: &'a Context<'a>,
    pub labels: &'a Labels,
    /// Of the call's first argument.
    pub first_span: Span,
    /// Of all arguments together.
    pub all_spans: Span,
    pub range_ms: i64,
    pub anchored: bool,
    pub smoothed: bool,
    /// Indices of floats that are less than the one before, or that a start timestamp calls a fresh start.
    pub resets: &'a [usize],
}

impl Around<'_> {
    pub fn metric(&self) -> String {
        self.labels.metric_name().to_owned()
    }

    pub fn annotate(&self, annotation: Annotation) {
        self.context.annotate(annotation, self.first_span);
    }

    pub fn range_seconds(&self) -> f64 {
        self.range_ms as f64 / 1000.0
    }
}

/// Samples after `start_ms` and up to `end_ms` (for anchored and smoothed selectors: and around).
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub around: &'a Around<'a>,
    pub times: &'a [i64],
    pub floats: &'a [f64],
    pub starts: &'a [i64],
    /// Where `floats` begins in the series' column.
    pub offset: usize,
    pub histogram_times: &'a [i64],
    pub histograms: &'a [Histogram],
    pub histogram_starts: &'a [i64],
    pub start_ms: i64,
    pub end_ms: i64,
    /// The step.
    pub time_ms: i64,
    /// The values of the scalar arguments at this step.
    pub scalars: &'a [f64],
}

impl<'a> Window<'a> {
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    pub fn is_mixed(&self) -> bool {
        !self.floats.is_empty() && !self.histograms.is_empty()
    }

    /// Says that floats and histograms do not go together; true when they are mixed.
    pub fn refuses_mix(&self) -> bool {
        if self.is_mixed() {
            self.around.annotate(Annotation::MixedFloatsHistograms { metric: self.around.metric() });
        }
        self.is_mixed()
    }

    /// Says that histograms were left out, if there are any.
    pub fn ignores_histograms(&self) {
        if !self.histograms.is_empty() {
            self.around.annotate(Annotation::HistogramIgnoredInMixedRange { metric: self.around.metric() });
        }
    }

    /// The resets inside the window, as indices into `floats`.
    pub fn resets(&self) -> impl Iterator<Item = usize> + 'a {
        let (offset, end) = (self.offset, self.offset + self.floats.len());
        let resets = self.around.resets;
        let from = resets.partition_point(|at| *at <= offset);
        resets[from..].iter().take_while(move |at| **at < end).map(move |at| at - offset)
    }

    pub fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    pub fn histogram_start(&self, at: usize) -> i64 {
        self.histogram_starts.get(at).copied().unwrap_or(0)
    }
}

/// What a range function makes of a window.
pub(super) enum Outcome {
    Nothing,
    Float(f64),
    Histogram(Box<crate::histogram::FloatHistogram>),
    Shared(Histogram),
}

/// Whether a start timestamp says that the counter began anew between two samples.
pub(super) fn is_start_reset(previous_start: i64, previous: i64, start: i64, time: i64) -> bool {
    if start == 0 || start > time || start < previous {
        return false;
    }
    if start > previous {
        return true;
    }
    // It starts exactly at the sample before: a delta, if that one knew its start, else a counter that does not.
    previous_start <= previous && previous_start != 0
}
