//! Aggregations that make one series of a group: every group for itself, its members one after the other.

use std::{collections::HashMap, sync::Arc};

use super::{
    Annotation, QueryError, aggregate_k,
    annotations::AGGREGATION,
    context::{Context, Frame},
    eval::{self, Evaluated, Outer, collect},
    instant::label_name,
    over_time::{HistogramSum, Mean},
    quantile,
    select::{self, Wanted},
    series::{Cell, Series, histogram_size, is_present},
};
use crate::{
    kahan,
    labels::{Labels, METRIC_NAME},
    number::plain_float,
    parser::ast::{Aggregate, Aggregator, Expr, Span, VectorSelector},
};

/// The labels of the group that a series belongs to.
pub(super) fn group_labels(labels: &Labels, node: &Aggregate) -> Labels {
    let named = |name: &str| node.grouping.iter().any(|label| label == name);
    match node.without {
        true => labels.filter(|name| name != METRIC_NAME && !named(name)),
        false if node.grouping.is_empty() => Labels::empty(),
        false => labels.filter(named),
    }
}

/// Series by group, groups in the order in which they come up.
pub(super) fn groups(all: &[Series], node: &Aggregate) -> Vec<(Labels, Vec<usize>)> {
    let mut groups: Vec<(Labels, Vec<usize>)> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (at, series) in all.iter().enumerate() {
        let labels = group_labels(&series.labels, node);
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(at);
    }
    groups
}

pub(super) fn eval(context: &Context<'_>, node: &Aggregate, frame: Frame, outer: Outer) -> Evaluated {
    if node.op == Aggregator::CountValues {
        return count_values(context, node, frame, outer);
    }
    if let Some(selector) = streamed(node, frame) {
        return Job { context, node, frame, span: node.expr.span() }.stream(selector, outer);
    }
    let mut param = None;
    if let Some(expr) = &node.param {
        param = eval::eval_in(context, expr, frame, outer)?.pop();
    }
    let input = eval::eval_in(context, &node.expr, frame, outer)?;
    let held: usize = input.iter().map(Series::sample_count).sum();
    let all = match node.op {
        Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk | Aggregator::LimitRatio => {
            aggregate_k::eval(context, node, frame, &input, &param.unwrap_or_default())?
        }
        _ => {
            let mut job = Job { context, node, frame, span: node.expr.span() };
            if node.op == Aggregator::Quantile {
                job.check_quantile(param.as_ref());
            }
            job.run(&input, param.as_ref())?
        }
    };
    context.release(held);
    context.hold(all.iter().map(Series::sample_count).sum())?;
    Ok(all)
}

/// The selector whose series can be gathered as they come: of one step, nothing else has to be held.
fn streamed(node: &Aggregate, frame: Frame) -> Option<&VectorSelector> {
    use Aggregator::{Avg, Count, Group, Max, Min, Stddev, Stdvar, Sum};
    let gathers = matches!(node.op, Avg | Count | Group | Max | Min | Stddev | Stdvar | Sum);
    match &node.expr {
        Expr::Vector(selector) if gathers && frame.steps == 1 && !selector.smoothed => Some(selector),
        _ => None,
    }
}

/// What a group has gathered at one step.
enum Gathered {
    Nothing,
    Float(f64),
    /// A count, a group's one.
    Count(f64),
    Sum(kahan::Sum),
    Mean(Mean),
    Variance {
        count: f64,
        mean: f64,
        squares: f64,
    },
    Histogram(Box<HistogramSum>),
    /// Floats and histograms together. Histograms that came first are gone on with, for what is to be told of them.
    Mixed(Option<Box<HistogramSum>>),
    /// Histograms that do not go together.
    Incompatible,
}

/// Groups in the order in which they come up.
#[derive(Default)]
struct Groups {
    gathered: Vec<(Labels, Gathered)>,
    places: HashMap<Labels, usize>,
    /// Groups of labels that came before: a store leaves out what does not matter, and then few are left.
    known: HashMap<Labels, usize>,
}

impl Groups {
    const KNOWN_MAX: usize = 1024;

    fn of(&mut self, labels: &Labels, node: &Aggregate) -> &mut Gathered {
        let learns = self.known.len() < Self::KNOWN_MAX;
        let known = if learns { self.known.get(labels).copied() } else { None };
        let place = known.unwrap_or_else(|| {
            let place = *self.places.entry(group_labels(labels, node)).or_insert_with_key(|group| {
                self.gathered.push((group.clone(), Gathered::Nothing));
                self.gathered.len() - 1
            });
            if learns {
                self.known.insert(labels.clone(), place);
            }
            place
        });
        &mut self.gathered[place].1
    }
}

struct Job<'a> {
    context: &'a Context<'a>,
    node: &'a Aggregate,
    frame: Frame,
    span: Span,
}

impl Job<'_> {
    fn annotate(&self, annotation: Annotation) {
        self.context.annotate(annotation, self.span);
    }

    fn ignore_histogram(&self) {
        self.annotate(Annotation::HistogramIgnoredInAggregation { op: self.node.op.name() });
    }

    fn check_quantile(&self, param: Option<&Series>) {
        let Some((param, expr)) = param.zip(self.node.param.as_ref()) else { return };
        let (least, most) = aggregate_k::extremes(param);
        let nan = aggregate_k::has_nan(param).then_some(f64::NAN);
        let (most, least) = (Some(most).filter(|most| *most > 1.0), Some(least).filter(|least| *least < 0.0));
        for q in [nan, most, least].into_iter().flatten() {
            self.context.annotate(Annotation::InvalidQuantile(q), expr.span());
        }
    }

    /// The labels that tell groups apart, and the name where it may have to be told; nothing when it may be any.
    fn labels_that_matter(&self) -> Option<Vec<String>> {
        if self.node.without {
            return None;
        }
        let mut names = self.node.grouping.clone();
        if matches!(self.node.op, Aggregator::Sum | Aggregator::Avg) {
            names.push(METRIC_NAME.to_owned());
        }
        Some(names)
    }

    fn stream(&self, selector: &VectorSelector, outer: Outer) -> Evaluated {
        let names = self.labels_that_matter();
        let wanted =
            Wanted { without_buckets: outer.without_buckets, only_labels: names.as_deref(), ..Wanted::default() };
        let mut groups = Groups::default();
        let mut held = 0;
        select::each_at_one_step(self.context, selector, self.frame, wanted, &mut |labels, cell| {
            let size = if let Cell::Histogram(histogram) = cell { histogram_size(histogram) } else { 1 };
            held += size;
            self.context.hold(size)?;
            let gathered = groups.of(labels, self.node);
            match cell {
                Cell::Float(value) => self.add_float(gathered, value),
                Cell::Histogram(histogram) => self.add_histogram(gathered, histogram, labels),
            }
            Ok(())
        })?;
        self.context.release(held);
        let mut all = Vec::with_capacity(groups.gathered.len());
        for (labels, gathered) in groups.gathered {
            let mut result = Series::new(labels, false);
            self.conclude(gathered, 0, &mut result);
            if !result.is_empty() {
                self.context.hold(result.sample_count())?;
                all.push(result);
            }
        }
        Ok(all)
    }

    fn run(&mut self, input: &[Series], param: Option<&Series>) -> Evaluated {
        let mut all = Vec::new();
        for (labels, members) in groups(input, self.node) {
            self.context.check("expression evaluation")?;
            let mut result = Series::new(labels, false);
            result.drop_name = members.iter().any(|at| input[*at].drop_name);
            if self.node.op == Aggregator::Quantile {
                self.quantile(input, &members, param, &mut result);
            } else {
                self.group(input, &members, &mut result);
            }
            if !result.is_empty() {
                all.push(result);
            }
        }
        Ok(all)
    }

    fn group(&self, input: &[Series], members: &[usize], result: &mut Series) {
        let first = members.iter().map(|at| input[*at].first).min().unwrap_or(0);
        let end = members.iter().map(|at| input[*at].end()).max().unwrap_or(0);
        let mut row: Vec<Gathered> = (first..end).map(|_| Gathered::Nothing).collect();
        for at in members {
            let series = &input[*at];
            let window = &mut row[series.first - first..];
            if series.has_histograms() {
                for (step, cell) in series.cells() {
                    let gathered = &mut window[step - series.first];
                    match cell {
                        Cell::Float(value) => self.add_float(gathered, value),
                        Cell::Histogram(histogram) => self.add_histogram(gathered, histogram, &series.labels),
                    }
                }
            } else {
                for (gathered, value) in window.iter_mut().zip(&series.floats) {
                    if is_present(*value) {
                        self.add_float(gathered, *value);
                    }
                }
            }
        }
        for (at, gathered) in row.into_iter().enumerate() {
            self.conclude(gathered, first + at, result);
        }
    }

    #[inline]
    fn add_float(&self, gathered: &mut Gathered, value: f64) {
        match (self.node.op, &mut *gathered) {
            (_, Gathered::Mixed(_) | Gathered::Incompatible) => {}
            (Aggregator::Sum, Gathered::Sum(sum)) => sum.add(value),
            (Aggregator::Sum, Gathered::Nothing) => *gathered = Gathered::Sum(kahan::Sum { sum: value, lost: 0.0 }),
            (Aggregator::Avg, Gathered::Mean(mean)) => mean.add(value),
            (Aggregator::Avg, Gathered::Nothing) => *gathered = Gathered::Mean(Mean::new(value)),
            (Aggregator::Sum | Aggregator::Avg, _) => {
                *gathered = match std::mem::replace(gathered, Gathered::Nothing) {
                    Gathered::Histogram(sum) => Gathered::Mixed(Some(sum)),
                    _ => Gathered::Mixed(None),
                };
            }
            (Aggregator::Count, Gathered::Count(count)) => *count += 1.0,
            (Aggregator::Count | Aggregator::Group, Gathered::Nothing) => *gathered = Gathered::Count(1.0),
            (Aggregator::Max, Gathered::Float(most)) => {
                *most = if *most < value || most.is_nan() { value } else { *most };
            }
            (Aggregator::Min, Gathered::Float(least)) => {
                *least = if *least > value || least.is_nan() { value } else { *least };
            }
            (Aggregator::Max | Aggregator::Min, _) => *gathered = Gathered::Float(value),
            (Aggregator::Stddev | Aggregator::Stdvar, Gathered::Variance { count, mean, squares }) => {
                *count += 1.0;
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            (Aggregator::Stddev | Aggregator::Stdvar, _) => {
                let squares = if value.is_finite() { 0.0 } else { f64::NAN };
                *gathered = Gathered::Variance { count: 1.0, mean: value, squares };
            }
            _ => {}
        }
    }

    fn add_histogram(&self, gathered: &mut Gathered, histogram: &super::Histogram, labels: &Labels) {
        match (self.node.op, &mut *gathered) {
            (Aggregator::Count | Aggregator::Group, _) => self.add_float(gathered, 0.0),
            (Aggregator::Sum | Aggregator::Avg, Gathered::Mixed(None) | Gathered::Incompatible) => {}
            (Aggregator::Sum | Aggregator::Avg, Gathered::Nothing) => {
                let is_mean = self.node.op == Aggregator::Avg;
                *gathered = Gathered::Histogram(Box::new(HistogramSum::new(histogram, is_mean)));
            }
            (Aggregator::Sum | Aggregator::Avg, Gathered::Histogram(sum)) => {
                if !self.sum_up(sum, histogram, labels) {
                    *gathered = Gathered::Incompatible;
                }
            }
            (Aggregator::Sum | Aggregator::Avg, Gathered::Mixed(Some(sum))) => {
                if !self.sum_up(sum, histogram, labels) {
                    *gathered = Gathered::Mixed(None);
                }
            }
            (Aggregator::Sum | Aggregator::Avg, _) => *gathered = Gathered::Mixed(None),
            _ => self.ignore_histogram(),
        }
    }

    /// Adds one more; whether it goes together with those before.
    fn sum_up(&self, sum: &mut HistogramSum, histogram: &super::Histogram, labels: &Labels) -> bool {
        let failed = sum.add(histogram).is_err();
        if std::mem::take(&mut sum.bounds_reconciled) {
            self.annotate(Annotation::MismatchedCustomBuckets { operation: AGGREGATION });
        }
        if failed {
            self.annotate(select::mixed(labels.metric_name()));
        }
        !failed
    }

    fn conclude(&self, gathered: Gathered, step: usize, result: &mut Series) {
        let deviation = self.node.op == Aggregator::Stddev;
        match gathered {
            Gathered::Nothing | Gathered::Incompatible => {}
            Gathered::Mixed(_) => self.annotate(Annotation::MixedFloatsHistogramsInAggregation),
            Gathered::Float(value) | Gathered::Count(value) => result.push_float(step, value),
            Gathered::Sum(sum) => result.push_float(step, sum.sum + sum.lost),
            Gathered::Mean(mean) => result.push_float(step, mean.value()),
            Gathered::Variance { count, squares, .. } => {
                let variance = squares / count;
                result.push_float(step, if deviation { variance.sqrt() } else { variance });
            }
            Gathered::Histogram(sum) => {
                if sum.hints_collide() {
                    self.annotate(Annotation::CounterResetCollision { operation: AGGREGATION });
                }
                let mut value = sum.into_value();
                value.compact();
                result.push_histogram(step, Arc::new(value));
            }
        }
    }

    fn quantile(&self, input: &[Series], members: &[usize], param: Option<&Series>, result: &mut Series) {
        let mut values = Vec::with_capacity(members.len());
        for step in 0..self.frame.steps {
            values.clear();
            for at in members {
                match input[*at].get(step) {
                    Some(Cell::Float(value)) => values.push(value),
                    Some(Cell::Histogram(_)) => self.ignore_histogram(),
                    None => {}
                }
            }
            if !values.is_empty() {
                let q = param.map_or(f64::NAN, |param| param.float(step));
                result.push_float(step, quantile::of_values(q, &mut values));
            }
        }
    }
}

/// As many series as there are values; the value goes into a label.
fn count_values(context: &Context<'_>, node: &Aggregate, frame: Frame, outer: Outer) -> Evaluated {
    let label = node.param.as_ref().map(label_name).transpose();
    let label =
        label.map_err(|written| QueryError::Execution(format!("invalid label name {written}")))?.unwrap_or_default();
    let mut node = node.clone();
    if !node.without {
        node.grouping.push(label.to_owned());
    }
    let input = eval::eval_in(context, &node.expr, frame, outer)?;
    let mut all: Vec<Series> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for step in 0..frame.steps {
        let mut counts: Vec<(usize, f64)> = Vec::new();
        let mut at_step: HashMap<usize, usize> = HashMap::new();
        for series in &input {
            let value = match series.get(step) {
                None => continue,
                Some(Cell::Float(value)) => plain_float(value),
                Some(Cell::Histogram(histogram)) => histogram.to_string(),
            };
            let labels = group_labels(&series.labels.with(label, &value), &node);
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                all.push(Series::new(labels.clone(), false));
                all.len() - 1
            });
            let count = *at_step.entry(place).or_insert_with(|| {
                counts.push((place, 0.0));
                counts.len() - 1
            });
            counts[count].1 += 1.0;
        }
        for (place, count) in counts {
            all[place].push_float(step, count);
        }
    }
    collect(context, frame, all)
}
