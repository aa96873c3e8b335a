//! Functions over instant vectors and scalars.

use std::{cmp::Ordering, collections::HashMap, f64::consts::PI};

use super::{
    Annotation, QueryError, calendar, classic,
    context::{Context, Frame},
    eval::{self, Evaluated, Outer, collect, drop_name},
    natural,
    prepare::{go_max, go_min},
    quantile,
    range::absent_labels,
    select,
    series::{Cell, Series, is_present},
};
use crate::{
    histogram::FloatHistogram,
    labels::Labels,
    number::{parse_float, short_float},
    parser::ast::{Call, Expr, ValueType},
};

/// The label of classic histograms' buckets.
const BUCKET_LABEL: &str = "le";

/// One call with its arguments evaluated.
struct Job<'a> {
    context: &'a Context<'a>,
    call: &'a Call,
    frame: Frame,
    /// The first argument that is a vector.
    vector: Vec<Series>,
    scalars: Vec<Series>,
}

pub(super) fn eval(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    if call.function.name == "timestamp"
        && let Expr::Vector(selector) = &call.args[0]
    {
        let mut all = select::times_of_samples(context, selector, frame, true)?;
        all.iter_mut().for_each(|series| drop_name(context, series));
        return collect(context, frame, all);
    }
    let mut job = Job { context, call, frame, vector: Vec::new(), scalars: Vec::new() };
    for arg in &call.args {
        match arg.value_type() {
            ValueType::Vector => job.vector = eval::eval_in(context, arg, frame, outer)?,
            ValueType::Scalar => job.scalars.extend(eval::eval_in(context, arg, frame, outer)?.pop()),
            ValueType::Matrix | ValueType::String => {}
        }
    }
    let held: usize = job.vector.iter().map(Series::sample_count).sum();
    let all = job.run()?;
    context.release(held);
    context.hold(all.iter().map(Series::sample_count).sum())?;
    Ok(all)
}

/// Functions of one float that know nothing else.
fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => go_acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * PI / 180.0,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

fn go_acosh(value: f64) -> f64 {
    if value < 1.0 { f64::NAN } else { value.acosh() }
}

fn calendar_field(name: &str) -> Option<fn(calendar::Date) -> i128> {
    Some(match name {
        "day_of_month" => |date| date.day,
        "day_of_week" => |date| date.weekday,
        "day_of_year" => |date| date.day_of_year,
        "days_in_month" => |date| calendar::days_in_month(date.year, date.month),
        "hour" => |date| date.hour,
        "minute" => |date| date.minute,
        "month" => |date| date.month,
        "year" => |date| date.year,
        _ => return None,
    })
}

impl Job<'_> {
    fn run(mut self) -> Evaluated {
        let name = self.call.function.name;
        if let Some(function) = simple(name) {
            return self.map_floats(|_, _, value| function(value));
        }
        if let Some(field) = calendar_field(name) {
            return self.calendar(field);
        }
        match name {
            "absent" => Ok(self.absent()),
            "clamp" => self.clamp(Some(0), Some(1)),
            "clamp_max" => self.clamp(None, Some(0)),
            "clamp_min" => self.clamp(Some(0), None),
            "histogram_avg" => self.map_histograms(|histogram| histogram.sum / histogram.count),
            "histogram_count" => self.map_histograms(|histogram| histogram.count),
            "histogram_fraction" => self.histogram_fraction(),
            "histogram_quantile" => self.histogram_quantile(),
            "histogram_quantiles" => self.histogram_quantiles(),
            "histogram_stddev" => self.map_histograms(|histogram| classic::variance(histogram).sqrt()),
            "histogram_stdvar" => self.map_histograms(classic::variance),
            "histogram_sum" => self.map_histograms(|histogram| histogram.sum),
            "max_of" => Ok(self.of_scalars(|scalars| go_max(scalars[0], scalars[1]))),
            "min_of" => Ok(self.of_scalars(|scalars| go_min(scalars[0], scalars[1]))),
            "pi" => Ok(vec![Series::constant(PI, self.frame.steps)]),
            "round" => self.map_floats(|scalars, step, value| {
                let to_nearest = 1.0 / scalars.first().map_or(1.0, |series| series.float(step));
                (value * to_nearest + 0.5).floor() / to_nearest
            }),
            "scalar" => Ok(self.scalar()),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(),
            "time" => Ok(self.of_steps(|frame, step| frame.time_ms(step) as f64 / 1000.0)),
            "timestamp" => self.timestamp(),
            "vector" => Ok(self.scalars.pop().into_iter().collect()),
            _ => Err(QueryError::Execution(format!("function {name:?} cannot be called like this"))),
        }
    }

    /// Floats through a function, without names; histograms are left out.
    fn map_floats(mut self, function: impl Fn(&[Series], usize, f64) -> f64) -> Evaluated {
        let mut all = std::mem::take(&mut self.vector);
        for series in &mut all {
            series.histograms.clear();
            let first = series.first;
            for (at, value) in series.floats.iter_mut().enumerate().filter(|(_, value)| is_present(**value)) {
                *value = function(&self.scalars, first + at, *value);
            }
            drop_name(self.context, series);
        }
        collect(self.context, self.frame, all)
    }

    /// Histograms through a function, without names; floats are left out.
    fn map_histograms(mut self, function: impl Fn(&FloatHistogram) -> f64) -> Evaluated {
        let all = std::mem::take(&mut self.vector).into_iter().filter(Series::has_histograms);
        let all = all.map(|series| {
            let mut mapped = Series::new(series.labels.clone(), series.drop_name);
            for (step, cell) in series.cells() {
                if let Cell::Histogram(histogram) = cell {
                    mapped.push_float(step, function(histogram));
                }
            }
            drop_name(self.context, &mut mapped);
            mapped
        });
        collect(self.context, self.frame, all.collect())
    }

    fn of_steps(&self, value: impl Fn(Frame, usize) -> f64) -> Vec<Series> {
        let floats = (0..self.frame.steps).map(|step| value(self.frame, step)).collect();
        vec![Series { floats, ..Series::default() }]
    }

    fn of_scalars(&self, function: impl Fn(&[f64]) -> f64) -> Vec<Series> {
        self.of_steps(|_, step| {
            let values: Vec<f64> = self.scalars.iter().map(|series| series.float(step)).collect();
            function(&values)
        })
    }

    fn calendar(self, field: fn(calendar::Date) -> i128) -> Evaluated {
        if self.call.args.is_empty() {
            return Ok(
                self.of_steps(|frame, step| field(calendar::date(i128::from(frame.time_ms(step) / 1000))) as f64)
            );
        }
        self.map_floats(|_, _, value| field(calendar::date(calendar::second(value))) as f64)
    }

    fn timestamp(mut self) -> Evaluated {
        let frame = self.frame;
        for series in &mut self.vector {
            let mut times = Series::new(series.labels.clone(), series.drop_name);
            for (step, _) in series.cells() {
                times.push_float(step, frame.time_ms(step) as f64 / 1000.0);
            }
            *series = times;
        }
        self.map_floats(|_, _, value| value)
    }

    fn absent(&self) -> Vec<Series> {
        let mut series = Series::new(absent_labels(&self.call.args[0]), false);
        for step in 0..self.frame.steps {
            if self.vector.iter().all(|series| series.get(step).is_none()) {
                series.push_float(step, 1.0);
            }
        }
        if series.is_empty() { Vec::new() } else { vec![series] }
    }

    /// The value of the only float, or NaN.
    fn scalar(&self) -> Vec<Series> {
        self.of_steps(|_, step| {
            let mut floats = self.vector.iter().map(|series| series.float(step)).filter(|value| is_present(*value));
            match (floats.next(), floats.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        })
    }

    fn clamp(mut self, least: Option<usize>, most: Option<usize>) -> Evaluated {
        let bound = |at: Option<usize>, scalars: &[Series], step: usize, unbounded: f64| {
            at.map_or(unbounded, |at| scalars[at].float(step))
        };
        let bounds = |scalars: &[Series], step: usize| {
            let least = bound(least, scalars, step, f64::NEG_INFINITY);
            (least, bound(most, scalars, step, f64::INFINITY))
        };
        // Where the bounds cross there is no answer.
        let crossed = |scalars: &[Series], step: usize| {
            let (least, most) = bounds(scalars, step);
            most < least
        };
        if (0..self.frame.steps).any(|step| crossed(&self.scalars, step)) {
            for series in &mut self.vector {
                let mut kept = Series::new(series.labels.clone(), series.drop_name);
                series
                    .cells()
                    .filter(|(step, _)| !crossed(&self.scalars, *step))
                    .for_each(|(step, cell)| kept.push(step, cell));
                *series = kept;
            }
        }
        self.map_floats(|scalars, step, value| {
            let (least, most) = bounds(scalars, step);
            go_max(least, go_min(most, value))
        })
    }

    fn sort(mut self) -> Evaluated {
        let name = self.call.function.name;
        if self.frame.is_range {
            self.context.annotate(Annotation::SortInRangeQuery, self.call.span);
        }
        let mut all = std::mem::take(&mut self.vector);
        let by_label = name.starts_with("sort_by_label");
        if !by_label {
            all.iter_mut().for_each(|series| series.histograms.clear());
            all.retain(|series| !series.is_empty());
        }
        if self.frame.steps == 1 {
            let descending = name.ends_with("_desc");
            let labels: Vec<&str> = self.call.args[1..].iter().filter_map(text).collect();
            if by_label {
                all = natural::sorted(all, |one, other| {
                    let order = natural::compare_labels(&one.labels, &other.labels, &labels);
                    if descending { order.reverse() } else { order }
                });
            } else {
                all.sort_by(|one, other| compare_values(one.float(0), other.float(0), descending));
            }
        }
        Ok(all)
    }

    fn quantiles(&self, q: f64, arg: usize) {
        if !(0.0..=1.0).contains(&q) {
            self.context.annotate(Annotation::InvalidQuantile(q), self.call.args[arg].span());
        }
    }

    fn histogram_quantile(mut self) -> Evaluated {
        for step in 0..self.frame.steps {
            self.quantiles(self.scalars[0].float(step), 0);
        }
        let vector = std::mem::take(&mut self.vector);
        let all = self.quantile_series(&vector, 0, 0)?;
        collect(self.context, self.frame, all)
    }

    fn histogram_quantiles(mut self) -> Evaluated {
        let label = text(&self.call.args[1]).unwrap_or_default().to_owned();
        let vector = std::mem::take(&mut self.vector);
        let mut all = Vec::new();
        for at in 0..self.scalars.len() {
            for step in 0..self.frame.steps {
                self.quantiles(self.scalars[at].float(step), at + 2);
            }
            for series in self.quantile_series(&vector, at, 0)? {
                all.extend(self.with_quantile(series, at, &label));
            }
        }
        collect(self.context, self.frame, all)
    }

    /// The quantile may change from step to step; each value gets a series of its own.
    fn with_quantile(&self, series: Series, scalar: usize, label: &str) -> Vec<Series> {
        let mut by_value: Vec<Series> = Vec::new();
        for (step, cell) in series.cells() {
            let labels = series.labels.with(label, &open_metrics_float(self.scalars[scalar].float(step)));
            let place = by_value.iter().position(|known| known.labels == labels).unwrap_or_else(|| {
                by_value.push(Series::new(labels, series.drop_name));
                by_value.len() - 1
            });
            by_value[place].push(step, cell);
        }
        by_value
    }

    fn quantile_series(&self, vector: &[Series], scalar: usize, span_arg: usize) -> Evaluated {
        let vector_arg = if self.call.function.name == "histogram_quantile" { 1 } else { 0 };
        let span = self.call.args[span_arg].span();
        let monotonicity_span = self.call.args[1].span();
        let q = &self.scalars[scalar];
        self.histograms(
            vector,
            vector_arg,
            |step, histogram, metric| {
                let (value, annotation) = quantile::of_histogram(q.float(step), histogram, metric);
                if let Some(annotation) = annotation {
                    self.context.annotate(annotation, span);
                }
                value
            },
            |step, buckets, metric| {
                let (value, corrected) = classic::quantile(q.float(step), buckets);
                if let Some(corrected) = corrected {
                    let time_ms = self.frame.time_ms(step);
                    let annotation = Annotation::ForcedMonotonicity {
                        metric: metric.to_owned(),
                        time_ms: (time_ms, time_ms),
                        buckets: corrected.buckets,
                        difference: corrected.difference,
                        samples: 1,
                    };
                    self.context.annotate(annotation, monotonicity_span);
                }
                value
            },
        )
    }

    fn histogram_fraction(mut self) -> Evaluated {
        let vector = std::mem::take(&mut self.vector);
        let span = self.call.args[0].span();
        let (lower, upper) = (&self.scalars[0], &self.scalars[1]);
        let all = self.histograms(
            &vector,
            2,
            |step, histogram, metric| {
                let (value, annotation) = quantile::fraction(lower.float(step), upper.float(step), histogram, metric);
                if let Some(annotation) = annotation {
                    self.context.annotate(annotation, span);
                }
                value
            },
            |step, buckets, _| classic::fraction(lower.float(step), upper.float(step), buckets),
        )?;
        collect(self.context, self.frame, all)
    }

    /// Applies one function to native histograms and another to the buckets of classic ones.
    fn histograms(
        &self,
        vector: &[Series],
        arg: usize,
        native: impl Fn(usize, &FloatHistogram, &str) -> f64,
        classic: impl Fn(usize, &mut Vec<classic::Bucket>, &str) -> f64,
    ) -> Evaluated {
        let span = self.call.args[arg].span();
        let delayed = self.context.options.delayed_name_removal;
        let shown = |labels: &Labels| if delayed { labels.metric_name().to_owned() } else { String::new() };
        let groups = Groups::new(vector);
        for series in &groups.without_bound {
            let (metric, label) = (shown(&series.labels), series.labels.value(BUCKET_LABEL).to_owned());
            self.context.annotate(Annotation::BadBucketLabel { metric, label }, span);
        }
        let mut all = Vec::new();
        let mut conflicts: HashMap<&Labels, Vec<usize>> = HashMap::new();
        for series in vector.iter().filter(|series| series.has_histograms()) {
            let mut result = Series::new(series.labels.clone(), true);
            let rival = groups.places.get(&series.labels).map(|place| &groups.list[*place]);
            let metric_after = if delayed { series.labels.metric_name() } else { "" };
            for (step, cell) in series.cells() {
                let Cell::Histogram(histogram) = cell else { continue };
                if let Some(rival) = rival
                    && rival.members.iter().any(|(_, series)| is_present(series.float(step)))
                {
                    let metric = shown(&series.labels);
                    self.context.annotate(Annotation::MixedClassicNativeHistograms { metric }, span);
                    conflicts.entry(&rival.labels).or_default().push(step);
                    continue;
                }
                result.push_float(step, native(step, histogram, metric_after));
            }
            all.push(result);
        }
        let mut buckets = Vec::new();
        for group in &groups.list {
            let mut result = Series::new(group.labels.clone(), true);
            let conflicting = conflicts.get(&group.labels);
            for step in 0..self.frame.steps {
                if conflicting.is_some_and(|steps| steps.contains(&step)) {
                    continue;
                }
                buckets.clear();
                let members = group.members.iter().map(|(upper, series)| (*upper, series.float(step)));
                let present = members.filter(|(_, count)| is_present(*count));
                buckets.extend(present.map(|(upper, count)| classic::Bucket { upper, count }));
                if !buckets.is_empty() {
                    result.push_float(step, classic(step, &mut buckets, &shown(&group.labels)));
                }
            }
            all.push(result);
        }
        all.iter_mut().for_each(|series| drop_name(self.context, series));
        Ok(all)
    }
}

/// One classic histogram.
struct Group<'a> {
    labels: Labels,
    members: Vec<(f64, &'a Series)>,
}

struct Groups<'a> {
    list: Vec<Group<'a>>,
    places: HashMap<Labels, usize>,
    /// Float series whose `le` is no number.
    without_bound: Vec<&'a Series>,
}

impl<'a> Groups<'a> {
    fn new(vector: &'a [Series]) -> Self {
        let mut groups = Self { list: Vec::new(), places: HashMap::new(), without_bound: Vec::new() };
        for series in vector.iter().filter(|series| series.floats.iter().any(|value| is_present(*value))) {
            let Ok(upper) = parse_float(series.labels.value(BUCKET_LABEL)) else {
                groups.without_bound.push(series);
                continue;
            };
            let labels = series.labels.filter(|name| name != BUCKET_LABEL);
            let list = &mut groups.list;
            let place = *groups.places.entry(labels).or_insert_with_key(|labels| {
                list.push(Group { labels: labels.clone(), members: Vec::new() });
                list.len() - 1
            });
            list[place].members.push((upper, series));
        }
        groups
    }
}

pub(super) fn text(expr: &Expr) -> Option<&str> {
    match expr.unwrapped() {
        Expr::String(text) => Some(&text.value),
        _ => None,
    }
}

/// An argument that is a label's name: UTF-8, and not empty. Else what was written comes back.
pub(super) fn label_name(expr: &Expr) -> Result<&str, String> {
    match expr.unwrapped() {
        Expr::String(text) if text.invalid_utf8.is_none() && !text.value.is_empty() => Ok(&text.value),
        other => Err(other.to_string()),
    }
}

/// A float as label values have it: always with a point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = short_float(value);
    let is_plain = value.is_finite() && !text.contains(['e', '.']);
    if is_plain { format!("{text}.0") } else { text }
}

/// Ascending or descending, NaN last in both.
fn compare_values(one: f64, other: f64, descending: bool) -> Ordering {
    match (one.is_nan(), other.is_nan()) {
        (false, false) if descending => other.total_cmp(&one),
        (false, false) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
        (one, other) => one.cmp(&other),
    }
}
