//! What a container or a pod uses, as its control group counts it.

use serde::{Deserialize, Serialize};

/// Counters since the group was made, and levels now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub cpu_usage_ns: u64,
    pub memory_usage_bytes: u64,
    /// Usage without file pages that could go at once: what the kubelet compares with limits.
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    /// Processes and threads.
    pub pids: u64,
}
