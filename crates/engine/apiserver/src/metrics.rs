//! Figures about the server, under the names that dashboards for Kubernetes know.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use http::StatusCode;
use parking_lot::Mutex;

use crate::{
    request::info::RequestInfo,
    response::{self, Answer},
    server::Server,
};

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The verb; one of a small set, so that clients cannot grow the table.
    pub verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

const VERBS: [&str; 9] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "connect"];

impl Labels {
    /// What a request is counted under.
    pub fn of(info: &RequestInfo) -> Self {
        let verb = VERBS.iter().find(|verb| **verb == info.verb).copied().unwrap_or("other");
        if !info.is_resource {
            return Self {
                verb,
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource: String::new(),
            };
        }
        Self {
            verb,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
        }
    }

    /// Whether it is about a resource.
    pub fn is_api(&self) -> bool {
        !self.resource.is_empty()
    }

    fn write(&self, into: &mut String) {
        let Self { verb, group, version, resource, subresource } = self;
        let verb = verb.to_uppercase();
        let _infallible = write!(
            into,
            "verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\",subresource=\"{subresource}\""
        );
    }
}

const BUCKETS_SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1.0, 5.0, 15.0, 60.0];
/// Beyond so many combinations everything new is counted together.
const MOST_SERIES: usize = 4096;

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS_SECONDS.len()],
    count: u64,
    sum_seconds: f64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: BTreeMap<(Labels, u16), u64>,
    durations: BTreeMap<Labels, Histogram>,
    reading: i64,
    writing: i64,
    watching: i64,
}

/// The server's figures.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counters>);

/// Which of the gauges a request counts in.
#[derive(Debug, Clone, Copy)]
pub enum InFlight {
    /// Reads.
    Reading,
    /// Writes.
    Writing,
}

impl Metrics {
    /// Counts a request that begins.
    pub fn begin(&self, labels: &Labels) -> InFlight {
        let kind = match labels.verb {
            "get" | "list" | "watch" | "other" => InFlight::Reading,
            _ => InFlight::Writing,
        };
        *self.0.lock().gauge(kind) += 1;
        kind
    }

    /// Counts a request that is answered.
    pub fn end(&self, kind: InFlight, labels: &Labels, code: u16, took: Duration) {
        let mut counters = self.0.lock();
        *counters.gauge(kind) -= 1;
        let key = (labels.clone(), code);
        if counters.requests.len() >= MOST_SERIES && !counters.requests.contains_key(&key) {
            return;
        }
        *counters.requests.entry(key).or_default() += 1;
        if labels.verb == "watch" {
            return;
        }
        let histogram = counters.durations.entry(labels.clone()).or_default();
        let seconds = took.as_secs_f64();
        histogram.count += 1;
        histogram.sum_seconds += seconds;
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS_SECONDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// Counts a watch that begins (1) or ends (-1).
    pub fn watching(&self, change: i64) {
        self.0.lock().watching += change;
    }

    fn text(&self, into: &mut String) {
        let counters = self.0.lock();
        *into += "# HELP apiserver_request_total Requests answered.\n# TYPE apiserver_request_total counter\n";
        for ((labels, code), count) in &counters.requests {
            *into += "apiserver_request_total{";
            labels.write(into);
            *into += &format!(",code=\"{code}\"}} {count}\n");
        }
        *into += "# HELP apiserver_request_duration_seconds Time to answer.\n# TYPE apiserver_request_duration_seconds histogram\n";
        for (labels, histogram) in &counters.durations {
            let mut text = String::new();
            labels.write(&mut text);
            for (bound, count) in BUCKETS_SECONDS.iter().zip(histogram.buckets) {
                *into += &format!("apiserver_request_duration_seconds_bucket{{{text},le=\"{bound}\"}} {count}\n");
            }
            let Histogram { count, sum_seconds, .. } = histogram;
            *into += &format!("apiserver_request_duration_seconds_bucket{{{text},le=\"+Inf\"}} {count}\n");
            *into += &format!("apiserver_request_duration_seconds_sum{{{text}}} {sum_seconds}\n");
            *into += &format!("apiserver_request_duration_seconds_count{{{text}}} {count}\n");
        }
        *into += "# HELP apiserver_current_inflight_requests Requests under way.\n# TYPE apiserver_current_inflight_requests gauge\n";
        *into += &format!("apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {}\n", counters.reading);
        *into += &format!("apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {}\n", counters.writing);
        *into +=
            "# HELP apiserver_longrunning_requests Watches under way.\n# TYPE apiserver_longrunning_requests gauge\n";
        *into += &format!("apiserver_longrunning_requests{{verb=\"WATCH\"}} {}\n", counters.watching);
    }
}

impl Counters {
    fn gauge(&mut self, kind: InFlight) -> &mut i64 {
        match kind {
            InFlight::Reading => &mut self.reading,
            InFlight::Writing => &mut self.writing,
        }
    }
}

/// `/metrics`, in Prometheus' text format.
pub fn answer(server: &Server) -> Answer {
    let mut text = String::new();
    server.metrics.text(&mut text);
    let store = server.store.statistics();
    for (name, kind, value) in [
        ("coracle_store_revision", "counter", store.revision),
        ("coracle_store_objects", "gauge", store.objects as u64),
        ("coracle_store_history_events", "gauge", store.history_events as u64),
        ("coracle_store_history_bytes", "gauge", store.history_bytes as u64),
        ("coracle_store_queued_commits", "gauge", store.queued_commits as u64),
    ] {
        text += &format!("# TYPE {name} {kind}\n{name} {value}\n");
    }
    if let Some(audit) = &server.audit {
        let (written, dropped) = audit.figures();
        text += &format!("# TYPE apiserver_audit_event_total counter\napiserver_audit_event_total {written}\n");
        text += "# TYPE apiserver_audit_error_total counter\n";
        text += &format!("apiserver_audit_error_total{{plugin=\"log\"}} {dropped}\n");
    }
    let mut by_resource: BTreeMap<String, usize> = BTreeMap::new();
    for resource in &server.registry.served().all {
        let name = resource.group_resource().to_string();
        by_resource.entry(name).or_insert_with(|| server.store.snapshot().count(&resource.prefix));
    }
    text += "# HELP apiserver_storage_objects Objects by resource.\n# TYPE apiserver_storage_objects gauge\n";
    for (name, count) in by_resource {
        text += &format!("apiserver_storage_objects{{resource=\"{name}\"}} {count}\n");
    }
    response::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
