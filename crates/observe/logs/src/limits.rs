//! What tenants may push, and the words for what they may not, which are Loki's.

use std::collections::{HashMap, HashSet};

use coracle_logql::Labels;
use parking_lot::Mutex;

use crate::{
    discover::Discovery,
    entry::{Entry, Stream},
    error::PushError,
};

/// Limits of all tenants.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Of those that are not named.
    pub default: TenantLimits,
    /// Of those that are.
    pub tenants: HashMap<String, TenantLimits>,
}

impl Limits {
    /// The limits of a tenant.
    pub fn of(&self, tenant: &str) -> &TenantLimits {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}

/// Limits of one tenant.
#[derive(Debug, Clone)]
pub struct TenantLimits {
    /// Bytes of lines a second.
    pub rate_bytes: u64,
    /// Bytes of lines at once, over the rate.
    pub burst_bytes: u64,
    /// Bytes of one line.
    pub max_line_bytes: usize,
    /// Streams that lie in memory at once.
    pub max_streams: usize,
    /// Streams of which anything is kept.
    pub max_known_streams: usize,
    /// Labels of a stream.
    pub max_labels: usize,
    /// Bytes of a label's name.
    pub max_label_name_bytes: usize,
    /// Bytes of a label's value.
    pub max_label_value_bytes: usize,
    /// Bytes of a line's structured metadata.
    pub max_metadata_bytes: usize,
    /// Names in a line's structured metadata.
    pub max_metadata_count: usize,
    /// How far ahead of the clock a line may be, in seconds.
    pub max_ahead_seconds: i64,
    /// How old a line may be, in seconds; 0 takes all.
    pub max_age_seconds: i64,
    /// Lines that one query may give.
    pub max_query_lines: usize,
    /// Series that one query may give.
    pub max_query_series: usize,
    /// What is added to lines that come in over HTTP.
    pub discovery: Discovery,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            rate_bytes: 256 << 20,
            burst_bytes: 512 << 20,
            max_line_bytes: 256 << 10,
            max_streams: 10_000,
            max_known_streams: 200_000,
            max_labels: 30,
            max_label_name_bytes: 1024,
            max_label_value_bytes: 2048,
            max_metadata_bytes: 64 << 10,
            max_metadata_count: 128,
            max_ahead_seconds: 600,
            max_age_seconds: 0,
            max_query_lines: 5000,
            max_query_series: 500,
            discovery: Discovery::default(),
        }
    }
}

impl TenantLimits {
    /// Takes out what may not be. The first word on it is the error; what is left may be stored.
    pub(crate) fn sort_out(&self, streams: &mut Vec<Stream>, now: i64) -> Option<PushError> {
        let mut error = None;
        streams.retain_mut(|stream| {
            if let Err(message) = self.check_labels(&stream.labels) {
                error.get_or_insert(message);
                return false;
            }
            let Stream { labels, entries } = stream;
            entries.retain(|entry| match self.check_entry(labels, entry, now) {
                Ok(()) => true,
                Err(message) => {
                    error.get_or_insert(message);
                    false
                }
            });
            !entries.is_empty()
        });
        error.map(PushError::Invalid)
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), String> {
        if labels.is_empty() {
            return Err("error at least one label pair is required per stream".to_owned());
        }
        if labels.len() > self.max_labels {
            let (count, limit) = (labels.len(), self.max_labels);
            return Err(format!("entry for stream '{labels}' has {count} label names; limit {limit}"));
        }
        for (name, value) in labels.iter() {
            if name.len() > self.max_label_name_bytes {
                return Err(format!("stream '{labels}' has label name too long: '{name}'"));
            }
            if value.len() > self.max_label_value_bytes {
                return Err(format!("stream '{labels}' has label value too long: '{value}'"));
            }
        }
        Ok(())
    }

    fn check_entry(&self, labels: &Labels, entry: &Entry, now: i64) -> Result<(), String> {
        let oldest = now.saturating_sub(self.max_age_seconds.saturating_mul(1_000_000_000));
        if self.max_age_seconds > 0 && entry.ts < oldest {
            return Err(format!(
                "entry for stream '{labels}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
                moment(entry.ts),
                moment(oldest)
            ));
        }
        if entry.ts > now.saturating_add(self.max_ahead_seconds.saturating_mul(1_000_000_000)) {
            return Err(format!("entry for stream '{labels}' has timestamp too new: {}", moment(entry.ts)));
        }
        if entry.line.len() > self.max_line_bytes {
            return Err(format!(
                "max entry size '{}' bytes exceeded for stream '{labels}' while adding an entry with length '{}' bytes",
                self.max_line_bytes,
                entry.line.len()
            ));
        }
        let metadata_bytes = entry.bytes() - entry.line.len();
        if metadata_bytes > self.max_metadata_bytes {
            return Err(format!(
                "stream '{labels}' has structured metadata too large: '{metadata_bytes}' bytes, limit: '{}' bytes. Please \
                 see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it",
                self.max_metadata_bytes
            ));
        }
        if entry.metadata.len() > self.max_metadata_count {
            return Err(format!(
                "stream '{labels}' has too many structured metadata labels: '{}', limit: '{}'. Please see \
                 `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it",
                entry.metadata.len(),
                self.max_metadata_count
            ));
        }
        Ok(())
    }
}

/// As Go's RFC 3339, to the second.
fn moment(ts: i64) -> String {
    jiff::Timestamp::from_second(ts.div_euclid(1_000_000_000)).map_or_else(|_| ts.to_string(), |at| at.to_string())
}

/// How much each tenant may push at the moment.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    tokens: f64,
    at: i64,
}

/// Idle tenants beyond so many are forgotten.
const MAX_BUCKETS: usize = 10_000;

impl Rates {
    /// Takes what a push costs, or says that it is too much.
    pub(crate) fn take(
        &self,
        tenant: &str,
        limits: &TenantLimits,
        lines: usize,
        bytes: usize,
        now: i64,
    ) -> Result<(), PushError> {
        let mut buckets = self.0.lock();
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(tenant) {
            buckets.retain(|_, bucket| now.saturating_sub(bucket.at) < 60_000_000_000);
        }
        let burst = limits.burst_bytes as f64;
        let bucket = buckets.entry(tenant.to_owned()).or_insert(Bucket { tokens: burst, at: now });
        // A clock that jumped back gives nothing, and takes nothing away.
        let passed = now.saturating_sub(bucket.at).max(0) as f64 / 1e9;
        bucket.at = now;
        bucket.tokens = (bucket.tokens + passed * limits.rate_bytes as f64).min(burst);
        if bucket.tokens >= bytes as f64 {
            bucket.tokens -= bytes as f64;
            return Ok(());
        }
        Err(PushError::Limited(format!(
            "ingestion rate limit exceeded for user {tenant} (limit: {} bytes/sec) while attempting to ingest '{lines}' \
             lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can \
             be increased",
            limits.rate_bytes
        )))
    }
}

/// Streams that may not be made because there are too many.
pub(crate) fn over_stream_limit(tenant: &str, labels: &Labels) -> PushError {
    PushError::Limited(format!(
        "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of active streams \
         (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, \
         user: '{tenant}'"
    ))
}

/// Leaves out streams that would be one too many over all time.
pub(crate) fn limit_known_streams(
    tenant: &str,
    limits: &TenantLimits,
    mut known: usize,
    is_known: impl Fn(&Labels) -> bool,
    streams: &mut Vec<Stream>,
) -> Option<PushError> {
    let mut error = None;
    streams.retain(|stream| {
        let new = !is_known(&stream.labels);
        let fits = !new || known < limits.max_known_streams;
        known += usize::from(new && fits);
        if !fits {
            error.get_or_insert_with(|| {
                PushError::Limited(format!(
                    "stream {} would be one more than the {} streams whose lines may be kept for user '{tenant}'; have \
                     fewer label values, or keep lines for a shorter time",
                    stream.labels, limits.max_known_streams
                ))
            });
        }
        fits
    });
    error
}

/// Leaves out streams that would be one too many, beside those that are there.
pub(crate) fn limit_streams(
    tenant: &str,
    limits: &TenantLimits,
    known: &HashSet<Labels>,
    streams: &mut Vec<Stream>,
) -> Option<PushError> {
    let mut active = known.len();
    let mut error = None;
    streams.retain(|stream| {
        if known.contains(&stream.labels) {
            return true;
        }
        active += 1;
        let fits = active <= limits.max_streams;
        if !fits {
            error.get_or_insert_with(|| over_stream_limit(tenant, &stream.labels));
        }
        fits
    });
    error
}
