//! Rules at work: queries become series, and alerts come, fire and go.

use std::collections::{BTreeMap, BTreeSet};

use coracle_promql::{
    Engine, Labels, LabelsBuilder, Value,
    engine::{Interrupt, Sample, SampleValue},
    labels::METRIC_NAME,
    storage::{STALE_NAN, Storage},
};

use crate::{
    file::{Group, Kind, Rule},
    template::{self, Data},
};

/// The label that holds an alert's name.
pub const ALERT_NAME: &str = "alertname";
/// How long a resolved alert is remembered.
const RESOLVED_RETENTION_MS: i64 = 15 * 60 * 1000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFailure {
    #[error("{0}")]
    Query(String),
    #[error("rule result is not a vector or scalar")]
    NoVector,
    #[error("vector contains metrics with the same labelset after applying rule labels")]
    DuplicateSeries,
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    DuplicateAlerts,
    #[error("exceeded limit of {limit} with {found} {what}")]
    Limit { limit: usize, found: usize, what: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Inactive,
    Pending,
    Firing,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Pending => "pending",
            State::Firing => "firing",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    pub value: SampleValue,
    pub state: State,
    pub active_at_ms: i64,
    keep_firing_since_ms: Option<i64>,
    pub resolved_at_ms: Option<i64>,
}

/// What rules are evaluated with.
pub struct World<'a> {
    pub engine: &'a Engine,
    pub storage: &'a dyn Storage,
    pub interrupt: Interrupt<'a>,
    pub external_labels: &'a [(String, String)],
    pub external_url: &'a str,
}

impl World<'_> {
    fn query(&self, rule: &Rule, time_ms: i64) -> Result<Vec<Sample>, RuleFailure> {
        let answer = self.engine.instant_expr(self.storage, rule.expr.clone(), time_ms, self.interrupt);
        vector(answer.map_err(|error| RuleFailure::Query(error.to_string()))?.value)
    }

    fn ask(&self, query: &str, time_ms: i64) -> Result<Vec<Sample>, String> {
        let answer =
            self.engine.instant(self.storage, query, time_ms, self.interrupt).map_err(|error| error.to_string())?;
        vector(answer.value).map_err(|error| error.to_string())
    }
}

/// A vector, or a scalar as one.
pub fn vector(value: Value) -> Result<Vec<Sample>, RuleFailure> {
    match value {
        Value::Vector(vector) => Ok(vector),
        Value::Scalar { time_ms, value } => {
            Ok(vec![Sample { labels: Labels::empty(), time_ms, value: SampleValue::Float(value) }])
        }
        Value::Matrix(_) | Value::String { .. } => Err(RuleFailure::NoVector),
    }
}

/// A group with everything its rules remember.
pub struct RunningGroup {
    pub name: String,
    limit: usize,
    query_offset_ms: i64,
    pub rules: Vec<RunningRule>,
}

pub struct RunningRule {
    pub rule: Rule,
    alerts: BTreeMap<Labels, Alert>,
    /// The series that the last evaluation gave: those that are missing next time have ended.
    before: BTreeSet<Labels>,
    pub failure: Option<RuleFailure>,
}

impl RunningGroup {
    pub fn new(group: &Group) -> Self {
        let rules = group.rules.iter().map(|rule| RunningRule {
            rule: rule.clone(),
            alerts: BTreeMap::new(),
            before: BTreeSet::new(),
            failure: None,
        });
        Self {
            name: group.name.clone(),
            limit: group.limit,
            query_offset_ms: group.query_offset_ms,
            rules: rules.collect(),
        }
    }

    /// Evaluates the rules one after the other; `append` gets what each gave before the next is evaluated, and hands
    /// back the store to query then.
    pub fn evaluate(&mut self, index: usize, world: &World<'_>, time_ms: i64) -> Vec<Sample> {
        let (limit, offset) = (self.limit, self.query_offset_ms);
        let rule = &mut self.rules[index];
        match rule.evaluate(world, time_ms, offset, limit) {
            Ok(samples) => {
                rule.failure = None;
                rule.with_ends(samples, time_ms - offset)
            }
            Err(failure) => {
                rule.failure = Some(failure);
                Vec::new()
            }
        }
    }
}

impl RunningRule {
    /// Alerts that have not been resolved.
    pub fn active_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.resolved_at_ms.is_none())
    }

    /// The samples, and staleness markers for series that are there no more.
    fn with_ends(&mut self, mut samples: Vec<Sample>, time_ms: i64) -> Vec<Sample> {
        let now: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        for labels in self.before.difference(&now) {
            let value = SampleValue::Float(f64::from_bits(STALE_NAN));
            samples.push(Sample { labels: labels.clone(), time_ms, value });
        }
        self.before = now;
        samples
    }

    fn evaluate(
        &mut self,
        world: &World<'_>,
        time_ms: i64,
        offset_ms: i64,
        limit: usize,
    ) -> Result<Vec<Sample>, RuleFailure> {
        let samples = world.query(&self.rule, time_ms - offset_ms)?;
        match &self.rule.kind {
            Kind::Recording => record(&self.rule, samples, limit),
            Kind::Alerting { .. } => {
                let found = self.found(world, &samples, time_ms)?;
                self.step(found, time_ms, time_ms - offset_ms, limit)
            }
        }
    }

    /// The alerts that the samples stand for.
    fn found(
        &self,
        world: &World<'_>,
        samples: &[Sample],
        time_ms: i64,
    ) -> Result<BTreeMap<Labels, Alert>, RuleFailure> {
        let rule = &self.rule;
        let Kind::Alerting { annotations, .. } = &rule.kind else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for sample in samples {
            let query = |query: &str| world.ask(query, time_ms);
            let data = Data {
                labels: &sample.labels,
                value: &sample.value,
                external_labels: world.external_labels,
                external_url: world.external_url,
                time_ms,
                query: &query,
            };
            let mut labels = LabelsBuilder::new(&sample.labels);
            labels.remove(METRIC_NAME);
            for (name, text) in &rule.labels {
                labels.set(name, &template::expand(&rule.name, text, &data));
            }
            labels.set(ALERT_NAME, &rule.name);
            let labels = labels.build();
            let expanded = annotations.iter().map(|(name, text)| (name, template::expand(&rule.name, text, &data)));
            let alert = Alert {
                labels: labels.clone(),
                annotations: Labels::new(expanded),
                value: sample.value.clone(),
                state: State::Pending,
                active_at_ms: time_ms,
                keep_firing_since_ms: None,
                resolved_at_ms: None,
            };
            if found.insert(labels, alert).is_some() {
                return Err(RuleFailure::DuplicateAlerts);
            }
        }
        Ok(found)
    }

    /// Every alert one step on; the answer is the series that tell of them.
    fn step(
        &mut self,
        found: BTreeMap<Labels, Alert>,
        time_ms: i64,
        sample_time_ms: i64,
        limit: usize,
    ) -> Result<Vec<Sample>, RuleFailure> {
        let Kind::Alerting { for_ms, keep_firing_for_ms, .. } = self.rule.kind else { return Ok(Vec::new()) };
        let present: BTreeSet<Labels> = found.keys().cloned().collect();
        for (labels, alert) in found {
            match self.alerts.get_mut(&labels).filter(|known| known.state != State::Inactive) {
                Some(known) => {
                    known.value = alert.value;
                    known.annotations = alert.annotations;
                }
                None => {
                    self.alerts.insert(labels, alert);
                }
            }
        }
        let mut samples = Vec::new();
        let mut active = 0;
        let rule = &self.rule;
        self.alerts.retain(|labels, alert| {
            let mut keep = true;
            if present.contains(labels) {
                alert.keep_firing_since_ms = None;
            } else {
                let keeps_firing = alert.state == State::Firing && keep_firing_for_ms > 0 && {
                    let since = *alert.keep_firing_since_ms.get_or_insert(time_ms);
                    time_ms - since < keep_firing_for_ms
                };
                let forgotten = alert.resolved_at_ms.is_some_and(|resolved| time_ms - resolved > RESOLVED_RETENTION_MS);
                keep = !(alert.state == State::Pending || forgotten);
                if alert.state != State::Inactive && !keeps_firing {
                    alert.state = State::Inactive;
                    alert.resolved_at_ms = Some(time_ms);
                }
                if !keeps_firing {
                    return keep;
                }
            }
            active += 1;
            let age_ms = time_ms - alert.active_at_ms;
            if alert.state == State::Pending && age_ms >= for_ms {
                alert.state = State::Firing;
            }
            if alert.state == State::Firing && age_ms < for_ms {
                alert.state = State::Pending;
                alert.keep_firing_since_ms = None;
            }
            samples.extend(alert_series(rule, alert, sample_time_ms));
            keep
        });
        if limit > 0 && active > limit {
            self.alerts.clear();
            return Err(RuleFailure::Limit { limit, found: active, what: "alerts" });
        }
        Ok(samples)
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE` of one alert.
fn alert_series(rule: &Rule, alert: &Alert, time_ms: i64) -> [Sample; 2] {
    let mut labels = LabelsBuilder::new(&Labels::new(rule.labels.iter().map(|(name, value)| (name, value))));
    for (name, value) in &alert.labels {
        labels.set(name, value);
    }
    labels.set(ALERT_NAME, &rule.name).set(METRIC_NAME, "ALERTS_FOR_STATE");
    let since = SampleValue::Float(alert.active_at_ms.div_euclid(1000) as f64);
    let for_state = Sample { labels: labels.build(), time_ms, value: since };
    labels.set(METRIC_NAME, "ALERTS").set("alertstate", alert.state.name());
    [Sample { labels: labels.build(), time_ms, value: SampleValue::Float(1.0) }, for_state]
}

fn record(rule: &Rule, mut samples: Vec<Sample>, limit: usize) -> Result<Vec<Sample>, RuleFailure> {
    let mut seen = BTreeSet::new();
    for sample in &mut samples {
        let mut labels = LabelsBuilder::new(&sample.labels);
        labels.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels.set(name, value);
        }
        sample.labels = labels.build();
        if !seen.insert(sample.labels.clone()) {
            return Err(RuleFailure::DuplicateSeries);
        }
    }
    if limit > 0 && samples.len() > limit {
        return Err(RuleFailure::Limit { limit, found: samples.len(), what: "series" });
    }
    Ok(samples)
}
