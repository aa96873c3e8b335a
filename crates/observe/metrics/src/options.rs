//! What can be set, and what stands when nothing is.

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// How a store behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The stretch of time a block of recent samples covers. A store keeps the one it was made with.
    pub block_range_ms: i64,
    /// Samples older than this, counted back from the newest, are dropped a block at a time.
    pub retention_ms: Option<i64>,
    /// When files take more than this together, the oldest block goes.
    pub retention_bytes: Option<u64>,
    /// How far behind the newest sample one may come in; none when 0.
    pub out_of_order_window_ms: i64,
    /// How far ahead of the clock a sample may be.
    pub future_ms: i64,
    /// What series and open chunks may take in memory; above it, new series are refused.
    pub memory_bytes: usize,
    /// What the parts of blocks that were read may take in memory.
    pub cache_bytes: usize,
    /// Series that are written to at one time.
    pub series_max: usize,
    /// Labels of a series.
    pub labels_max: usize,
    /// Bytes of a label's name.
    pub label_name_bytes_max: usize,
    /// Bytes of a label's value.
    pub label_value_bytes_max: usize,
    /// Exemplars that are kept; the oldest goes first.
    pub exemplars_max: usize,
    /// Metrics whose metadata are kept.
    pub metadata_max: usize,
    /// The log of what came in is cut when it is longer than this (or than 300 bytes a series).
    pub wal_bytes: u64,
    /// Samples of a growing chunk.
    pub chunk_samples: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_range_ms: 2 * HOUR_MS,
            retention_ms: Some(15 * 24 * HOUR_MS),
            retention_bytes: None,
            out_of_order_window_ms: 0,
            future_ms: 10 * MINUTE_MS,
            memory_bytes: 1 << 30,
            cache_bytes: 32 << 20,
            series_max: 2_000_000,
            labels_max: 128,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 16 << 10,
            exemplars_max: 10_000,
            metadata_max: 20_000,
            wal_bytes: 64 << 20,
            chunk_samples: 240,
        }
    }
}
