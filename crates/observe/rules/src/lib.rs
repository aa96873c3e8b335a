//! Recording and alerting rules as Prometheus has them: rule files, their evaluation, the templates of alerts, and
//! promtool's unit tests of rules.
//!
//! Nothing here knows a clock or a network; files are read through [`Files`].

pub mod evaluate;
pub mod file;
mod humanize;
pub mod lint;
pub mod report;
pub mod template;
mod template_histogram;
pub mod unit_test;

/// Reads files by path, and finds those that a pattern matches.
pub trait Files {
    fn read(&self, path: &str) -> Result<String, String>;

    /// The paths that match, in order; the pattern has `*`, `?` and `[…]` in its file's name at most.
    fn matching(&self, pattern: &str) -> Vec<String>;
}
