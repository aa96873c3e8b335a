//! `info`: labels of info metrics joined to the series that they describe.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    QueryError,
    context::{Context, Frame},
    eval::{self, Evaluated, collect},
    select,
    series::Series,
};
use crate::{
    labels::{Labels, LabelsBuilder, METRIC_NAME},
    matcher::{MatchOp, Matcher},
    parser::ast::{Call, Expr, Offset, Span, VectorSelector},
};

/// The info metric that is meant when none is named.
const TARGET_INFO: &str = "target_info";
/// Labels by which an info series and what it describes find each other.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What the second argument says: which info metrics, and which of their labels.
struct Wanted {
    names: Vec<Matcher>,
    labels: BTreeMap<String, Vec<Matcher>>,
}

impl Wanted {
    fn new(call: &Call) -> Self {
        let mut wanted = Self { names: Vec::new(), labels: BTreeMap::new() };
        if let Some(Expr::Vector(selector)) = call.args.get(1).map(Expr::unwrapped) {
            for matcher in &selector.matchers {
                if &*matcher.name == METRIC_NAME {
                    wanted.names.push(matcher.clone());
                } else {
                    wanted.labels.entry(matcher.name.to_string()).or_default().push(matcher.clone());
                }
            }
        }
        let positive = wanted.names.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex));
        if wanted.names.is_empty() {
            wanted.names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !positive {
            let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info");
            wanted.names.insert(0, any_info.expect("a regular expression that compiles"));
        }
        wanted
    }

    /// Whether a series without any info may stay.
    fn may_be_missing(&self) -> bool {
        self.labels.values().flatten().all(Matcher::matches_empty)
    }
}

pub(super) fn eval(context: &Context<'_>, call: &Call, frame: Frame) -> Evaluated {
    let base = eval::eval(context, &call.args[0], frame)?;
    let wanted = Wanted::new(call);
    // Info series are not described by info series.
    let is_info = |labels: &Labels| wanted.names.iter().all(|matcher| matcher.matches(labels.metric_name()));
    let infos = fetch(context, call, &base, &wanted, frame, is_info)?;
    let mut results: Vec<Series> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for step in 0..frame.steps {
        context.check("expression evaluation")?;
        let current = current(&infos, step)?;
        let mut seen = HashSet::new();
        for series in &base {
            let Some(cell) = series.get(step) else { continue };
            let labels = if is_info(&series.labels) {
                series.labels.clone()
            } else {
                match enrich(&series.labels, &current, &wanted)? {
                    Some(labels) => labels,
                    None => continue,
                }
            };
            if !seen.insert(labels.clone()) {
                return Err(super::series::same_labels());
            }
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                results.push(Series::new(labels.clone(), false));
                results.len() - 1
            });
            results[place].push(step, cell);
        }
    }
    collect(context, frame, results)
}

/// Info series whose identifying labels occur in the base series; their values are times in milliseconds.
fn fetch(
    context: &Context<'_>,
    call: &Call,
    base: &[Series],
    wanted: &Wanted,
    frame: Frame,
    is_info: impl Fn(&Labels) -> bool,
) -> Evaluated {
    let mut matchers: Vec<Matcher> = Vec::new();
    for label in IDENTIFYING {
        let described = base.iter().filter(|series| !is_info(&series.labels));
        let mut values: Vec<String> =
            described.filter_map(|series| series.labels.get(label)).map(regex::escape).collect();
        values.sort();
        values.dedup();
        if !values.is_empty() {
            let matcher = Matcher::new(MatchOp::Regex, label, &values.join("|"));
            matchers.push(matcher.map_err(|error| QueryError::Execution(error.to_string()))?);
        }
    }
    if matchers.is_empty() {
        return Ok(Vec::new());
    }
    matchers.extend(wanted.labels.values().flatten().cloned());
    matchers.extend(wanted.names.iter().cloned());
    let selector = VectorSelector {
        name: String::new(),
        matchers,
        offset: Offset::None,
        at: None,
        anchored: false,
        smoothed: false,
        may_be_empty: true,
        span: call.args.get(1).map_or(Span::default(), Expr::span),
    };
    select::times_of_samples(context, &selector, frame, false)
}

/// What info metrics and identifying labels find each other by.
type Key = (String, Vec<String>);

fn key(labels: &Labels, metric: &str) -> Key {
    (metric.to_owned(), IDENTIFYING.iter().map(|label| labels.value(label).to_owned()).collect())
}

/// The newest info series of each key at a step.
fn current(infos: &[Series], step: usize) -> Result<BTreeMap<Key, (&Labels, i64)>, QueryError> {
    let mut current: BTreeMap<Key, (&Labels, i64)> = BTreeMap::new();
    for series in infos {
        let Some(super::series::Cell::Float(time)) = series.get(step) else { continue };
        let time = time as i64;
        let entry = current.entry(key(&series.labels, series.labels.metric_name()));
        match entry {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert((&series.labels, time));
            }
            std::collections::btree_map::Entry::Occupied(mut occupied) => {
                let (other, other_time) = *occupied.get();
                if other_time == time {
                    return Err(QueryError::Execution(format!(
                        "found duplicate series for info metric: existing {other} @ {other_time}, new {} @ {time}",
                        series.labels
                    )));
                }
                if other_time < time {
                    occupied.insert((&series.labels, time));
                }
            }
        }
    }
    Ok(current)
}

/// The labels with those of the infos; nothing when the series has to go.
fn enrich(
    labels: &Labels,
    current: &BTreeMap<Key, (&Labels, i64)>,
    wanted: &Wanted,
) -> Result<Option<Labels>, QueryError> {
    let mut added = LabelsBuilder::default();
    let mut found = false;
    let identity = key(labels, "").1;
    for ((_, identifying), (info, _)) in current {
        if *identifying != identity {
            continue;
        }
        found = true;
        for (name, value) in *info {
            if name == METRIC_NAME || (!wanted.labels.is_empty() && !wanted.labels.contains_key(name)) {
                continue;
            }
            let known = added.get(name);
            if !known.is_empty() && known != value {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if !labels.has(name) {
                added.set(name, value);
            }
        }
    }
    if !found && !wanted.may_be_missing() {
        return Ok(None);
    }
    let mut builder = LabelsBuilder::new(labels);
    for (name, value) in &added.build() {
        builder.set(name, value);
    }
    Ok(Some(builder.build()))
}
