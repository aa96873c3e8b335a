//! Calls of functions over ranges: series by series, every step of one before the next.

use std::sync::Arc;

use super::{
    Annotation, QueryError,
    context::{Context, Frame},
    eval::{self, Evaluated, Outer, Raw, drop_name},
    extrapolate, over_time, regression,
    select::{self, Shift, Wanted, storage_error, strip_buckets},
    series::{Series, contains_same_labels, is_present, same_labels},
    window::{Around, Outcome, Window, is_start_reset, without_stale_markers},
};
use crate::{
    labels::{Labels, LabelsBuilder, METRIC_NAME, METRIC_TYPE},
    matcher::{MatchOp, Matcher},
    parser::ast::{Call, Expr, MatrixSelector, Span, ValueType, VectorSelector},
    storage::Columns,
};

type Function = fn(&Window<'_>) -> Result<Outcome, QueryError>;

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "absent_over_time" | "present_over_time" => |_| Ok(Outcome::Float(1.0)),
        "avg_over_time" => over_time::avg,
        "changes" => over_time::changes,
        "count_over_time" => |window| Ok(Outcome::Float(window.len() as f64)),
        "delta" => extrapolate::delta,
        "deriv" => regression::deriv,
        "double_exponential_smoothing" => regression::double_exponential_smoothing,
        "first_over_time" => over_time::first,
        "idelta" => extrapolate::idelta,
        "increase" => extrapolate::increase,
        "irate" => extrapolate::irate,
        "last_over_time" => over_time::last,
        "mad_over_time" => over_time::mad,
        "max_over_time" => over_time::max,
        "min_over_time" => over_time::min,
        "predict_linear" => regression::predict_linear,
        "quantile_over_time" => over_time::quantile,
        "rate" => extrapolate::rate,
        "resets" => over_time::resets,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "sum_over_time" => over_time::sum,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "ts_of_max_over_time" => over_time::time_of_max,
        "ts_of_min_over_time" => over_time::time_of_min,
        _ => return None,
    })
}

/// Functions that understand `anchored`, ordered by name as the error lists them.
const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
/// Functions that understand `smoothed`.
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

/// One call, with its arguments evaluated.
struct Job<'a> {
    context: &'a Context<'a>,
    call: &'a Call,
    function: Function,
    frame: Frame,
    shift: Shift,
    range_ms: i64,
    anchored: bool,
    smoothed: bool,
    scalars: Vec<Series>,
}

pub(super) fn eval(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let name = call.function.name;
    let function = function(name).ok_or_else(|| QueryError::Execution(format!("function {name:?} is not known")))?;
    let is_range = |arg: &&Expr| matches!(arg.unwrapped(), Expr::Matrix(_) | Expr::Subquery(_));
    let range =
        call.args.iter().find(is_range).ok_or_else(|| QueryError::Execution(format!("{name} needs a range")))?;
    let mut job = Job {
        context,
        call,
        function,
        frame,
        shift: Shift::default(),
        range_ms: 0,
        anchored: false,
        smoothed: false,
        scalars: Vec::new(),
    };
    let all = match range.unwrapped() {
        Expr::Matrix(matrix) => {
            job.shift = Shift::of(&matrix.selector, frame);
            job.range_ms = matrix.range.ns() / 1_000_000;
            (job.anchored, job.smoothed) = (matrix.selector.anchored, matrix.selector.smoothed);
            job.scalars(outer)?;
            job.check_extended(&matrix.selector)?;
            job.over_selector(matrix, outer)?
        }
        Expr::Subquery(subquery) => {
            job.shift = Shift::new(subquery.at, &subquery.offset, frame);
            job.range_ms = subquery.range.ns() / 1_000_000;
            let raw = eval::subquery(context, subquery, frame)?;
            job.scalars(outer)?;
            // What does not change is taken out of `predict_linear`, which then finds no range in Prometheus.
            let taken_out = |arg: &Expr| matches!(arg, Expr::StepInvariant(_)) && arg.value_type() == ValueType::Matrix;
            if call.args.iter().any(taken_out) { Vec::new() } else { job.over_subquery(raw)? }
        }
        _ => unreachable!("only ranges were looked for"),
    };
    if name == "absent_over_time" {
        return Ok(job.absent(&all, range));
    }
    if !context.options.delayed_name_removal && contains_same_labels(&all) {
        return Err(same_labels());
    }
    Ok(all)
}

impl Job<'_> {
    fn scalars(&mut self, outer: Outer) -> Result<(), QueryError> {
        for arg in &self.call.args {
            if arg.value_type() == ValueType::Scalar {
                let mut value = eval::eval_in(self.context, arg, self.frame, outer)?;
                self.scalars.extend(value.pop());
            }
        }
        Ok(())
    }

    fn check_extended(&self, selector: &VectorSelector) -> Result<(), QueryError> {
        let (word, safe): (&str, &[&str]) = match (selector.anchored, selector.smoothed) {
            (true, _) => ("anchored", &ANCHORED),
            (_, true) => ("smoothed", &SMOOTHED),
            _ => return Ok(()),
        };
        let name = self.call.function.name;
        if safe.contains(&name) {
            return Ok(());
        }
        let safe = safe.join(", ");
        Err(QueryError::Execution(format!("{word} modifier can only be used with: {safe} - not with {name}")))
    }

    fn wants_start_timestamps(&self) -> bool {
        let understood = matches!(self.call.function.name, "rate" | "irate" | "increase" | "resets");
        self.context.options.start_timestamps && understood
    }

    /// How far samples are wanted before and after the range itself.
    fn margins(&self) -> (i64, i64) {
        let lookback_ms = self.context.options.lookback_ms;
        match (self.anchored, self.smoothed) {
            (true, _) => (lookback_ms, 0),
            (_, true) => (lookback_ms, lookback_ms),
            _ => (0, 0),
        }
    }

    fn over_selector(&self, matrix: &MatrixSelector, outer: Outer) -> Evaluated {
        let (before, after) = self.margins();
        let start_ms = self.shift.reference(self.frame.start_ms) - self.range_ms - before + 1;
        let end_ms = self.shift.reference(self.frame.end_ms()) + after;
        let wanted = Wanted {
            function: self.call.function.name,
            without_buckets: outer.without_buckets,
            start_timestamps: self.wants_start_timestamps(),
            ..Wanted::default()
        };
        let (times, lengths) = ((start_ms, end_ms), (self.frame.step_ms, self.range_ms));
        let found = select::fetch(self.context, &matrix.selector, times, lengths, false, wanted)?;
        let mut columns = Columns::default();
        let mut all = Vec::with_capacity(found.len());
        for at in 0..found.len() {
            self.context.check("expression evaluation")?;
            columns.clear();
            found.read(at, start_ms, end_ms, &mut columns).map_err(storage_error)?;
            without_stale_markers(&mut columns);
            if outer.without_buckets {
                strip_buckets(&mut columns);
            }
            if !wanted.start_timestamps {
                columns.floats.starts_ms.clear();
                columns.histograms.starts_ms.clear();
            }
            all.extend(self.one_series(found.labels(at), false, &columns)?);
        }
        Ok(all)
    }

    fn over_subquery(&self, raw: Vec<Raw>) -> Evaluated {
        let mut all = Vec::with_capacity(raw.len());
        for Raw { series, columns } in raw {
            self.context.check("expression evaluation")?;
            all.extend(self.one_series(&series.labels, series.drop_name, &columns)?);
        }
        Ok(all)
    }

    /// All steps of one series; nothing when no step has an outcome.
    fn one_series(&self, labels: &Labels, names_go: bool, columns: &Columns) -> Result<Option<Series>, QueryError> {
        if columns.is_empty() {
            return Ok(None);
        }
        let name = self.call.function.name;
        let mut series = Series::new(labels.clone(), names_go);
        if names_go || !matches!(name, "last_over_time" | "first_over_time") {
            drop_name(self.context, &mut series);
        }
        let resets = if matches!(name, "rate" | "increase") { find_resets(columns) } else { Vec::new() };
        let args = &self.call.args;
        let around = Around {
            context: self.context,
            labels,
            first_span: self.first_span(),
            all_spans: self.first_span().to(args[args.len() - 1].span()),
            range_ms: self.range_ms,
            anchored: self.anchored,
            smoothed: self.smoothed,
            resets: &resets,
        };
        let held = self.steps(&around, columns, &mut series)?;
        self.context.release(held);
        if series.is_empty() {
            return Ok(None);
        }
        self.context.hold(series.sample_count())?;
        if matches!(name, "rate" | "increase") && series.floats.iter().any(|value| is_present(*value)) {
            self.doubt_counter(labels);
        }
        Ok(Some(series))
    }

    /// Where what is told about the range is said to be: a subquery has no place of its own, as in Prometheus.
    fn first_span(&self) -> Span {
        match self.call.args[0].unwrapped() {
            Expr::Subquery(_) => Span::default(),
            first => first.span(),
        }
    }

    /// The answer is how many samples the widest window held.
    fn steps(&self, around: &Around<'_>, columns: &Columns, series: &mut Series) -> Result<usize, QueryError> {
        let (before, after) = self.margins();
        let (floats, histograms) = (&columns.floats, &columns.histograms);
        let mut scalars = vec![0.0; self.scalars.len()];
        let (mut float_bounds, mut histogram_bounds) = (0..0, 0..0);
        let mut held = 0;
        for step in 0..self.frame.steps {
            let time_ms = self.frame.time_ms(step);
            let end_ms = self.shift.reference(time_ms);
            let start_ms = end_ms - self.range_ms;
            if step == 0 || !self.shift.is_fixed() {
                advance(&mut float_bounds, &floats.times_ms, start_ms - before, end_ms + after);
                advance(&mut histogram_bounds, &histograms.times_ms, start_ms - before, end_ms + after);
            }
            let samples = float_bounds.len() + histogram_bounds.len();
            if samples == 0 {
                continue;
            }
            if samples > held {
                self.context.hold(samples - held)?;
                held = samples;
            }
            for (value, series) in scalars.iter_mut().zip(&self.scalars) {
                *value = series.float(step);
            }
            let window = Window {
                around,
                times: &floats.times_ms[float_bounds.clone()],
                floats: &floats.values[float_bounds.clone()],
                starts: floats.starts_ms.get(float_bounds.clone()).unwrap_or(&[]),
                offset: float_bounds.start,
                histogram_times: &histograms.times_ms[histogram_bounds.clone()],
                histograms: &histograms.values[histogram_bounds.clone()],
                histogram_starts: histograms.starts_ms.get(histogram_bounds.clone()).unwrap_or(&[]),
                start_ms,
                end_ms,
                time_ms,
                scalars: &scalars,
            };
            match (self.function)(&window)? {
                Outcome::Nothing => {}
                Outcome::Float(value) => series.push_float(step, value),
                Outcome::Histogram(histogram) => series.push_histogram(step, Arc::new(*histogram)),
                Outcome::Shared(histogram) => series.push_histogram(step, histogram),
            }
        }
        Ok(held)
    }

    /// Says so when the name (or type) is not a counter's.
    fn doubt_counter(&self, labels: &Labels) {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return;
        }
        let span = self.first_span();
        if self.context.options.type_and_unit_labels {
            let label = labels.value(METRIC_TYPE);
            if !matches!(label, "counter" | "histogram") {
                let (metric, label) = (metric.to_owned(), label.to_owned());
                self.context.annotate(Annotation::PossibleNonCounterLabel { metric, label }, span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
            self.context.annotate(Annotation::PossibleNonCounter { metric: metric.to_owned() }, span);
        }
    }

    /// A one at every step at which no series has a sample.
    fn absent(&self, all: &[Series], range: &Expr) -> Vec<Series> {
        let mut series = Series::new(absent_labels(range), true);
        for step in 0..self.frame.steps {
            if all.iter().all(|series| series.get(step).is_none()) {
                series.push_float(step, 1.0);
            }
        }
        if series.is_empty() { Vec::new() } else { vec![series] }
    }
}

/// Moves a window on to the samples after `after_ms` and up to `to_ms`.
#[inline]
fn advance(bounds: &mut std::ops::Range<usize>, times: &[i64], after_ms: i64, to_ms: i64) {
    while times.get(bounds.start).is_some_and(|time| *time <= after_ms) {
        bounds.start += 1;
    }
    bounds.end = bounds.end.max(bounds.start);
    while times.get(bounds.end).is_some_and(|time| *time <= to_ms) {
        bounds.end += 1;
    }
}

fn find_resets(columns: &Columns) -> Vec<usize> {
    let floats = &columns.floats;
    let start = |at: usize| floats.starts_ms.get(at).copied().unwrap_or(0);
    let is_reset = |at: &usize| {
        let at = *at;
        floats.values[at] < floats.values[at - 1]
            || (!floats.starts_ms.is_empty()
                && is_start_reset(start(at - 1), floats.times_ms[at - 1], start(at), floats.times_ms[at]))
    };
    (1..floats.len()).filter(is_reset).collect()
}

/// The labels that a selector says exactly.
pub(super) fn absent_labels(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match expr.unwrapped() {
        Expr::Vector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| &*matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}
