//! How a store behaves.

use std::time::Duration;

use coracle_logql::Matcher;

use crate::limits::Limits;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Lines gather in memory up to this, then a segment is written.
    pub head_bytes: usize,
    /// Or up to this age.
    pub head_age: Duration,
    /// Text per block, before compression.
    pub block_bytes: usize,
    /// How hard blocks are compressed: zstd's level. Of lines, 1 makes as little as 2 to 4 do in twice the time; 6 takes a
    /// seventh off in six times the time.
    pub compression_level: i32,
    /// How many threads compress, and how many read for one query.
    pub threads: usize,
    /// What tenants may do.
    pub limits: Limits,
    /// What goes when.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head_bytes: 12 << 20,
            head_age: Duration::from_secs(900),
            block_bytes: 512 << 10,
            compression_level: 1,
            threads: std::thread::available_parallelism().map_or(1, |count| count.get().min(4)),
            limits: Limits::default(),
            retention: Retention::default(),
        }
    }
}

/// How long lines stay. Of the rules that select a stream the first one counts.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// For streams by their labels.
    pub rules: Vec<RetentionRule>,
    /// For all others; `None` keeps them for ever.
    pub default: Option<Duration>,
}

/// How long the lines of some streams stay.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// How long; `None` keeps them for ever.
    pub keep: Option<Duration>,
}
