//! A small world of series: counters with resets, gauges with gaps and ends, classic and native histograms, infos.

use coracle_promql::{
    memory::MemoryStorage,
    parser::{self, SequenceValue},
};

/// Distance between two samples.
pub const INTERVAL_MS: i64 = 30_000;

/// Series with values, as test files write them.
pub const SERIES: &[(&str, &str)] = &[
    (r#"requests_total{job="api", instance="a", code="200"}"#, "0+10x40"),
    (r#"requests_total{job="api", instance="a", code="500"}"#, "0+1x12 0+1x10 3+2x14"),
    (r#"requests_total{job="api", instance="b", code="200"}"#, "5+7x9 _ _ _ 80+7x12 stale _x4 1+9x10"),
    (r#"requests_total{job="db", instance="c", code="200"}"#, "100+3.5x20 0+2.25x18"),
    (r#"temperature{job="api", instance="a"}"#, "20 21.5 19.25 -3 0 NaN 7 8 9.5 11 12 _ _ 14 15.5 -2 Inf 3 4+1x20"),
    (r#"temperature{job="api", instance="b"}"#, "1-0.5x20 -9+0.75x19"),
    (r#"temperature{job="db", instance="c"}"#, "1.5x8 _x13 2x16"),
    (r#"limit{job="api"}"#, "12x40"),
    (r#"limit{job="db"}"#, "3x40"),
    (r#"latency_bucket{job="api", le="0.1"}"#, "0+1x40"),
    (r#"latency_bucket{job="api", le="0.5"}"#, "0+3x40"),
    (r#"latency_bucket{job="api", le="1"}"#, "0+4x40"),
    (r#"latency_bucket{job="api", le="+Inf"}"#, "0+5x40"),
    (
        r#"size{job="api"}"#,
        "{{schema:0 count:4 sum:6 z_bucket:1 z_bucket_w:0.001 buckets:[1 2]}}+{{schema:0 count:5 sum:9 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 1]}}x40",
    ),
    (
        r#"size{job="db"}"#,
        "{{schema:2 count:7 sum:-3 buckets:[1 0 2] offset:-3 n_buckets:[3 1] n_offset:1}}x15 {{schema:1 count:3 sum:1.5 buckets:[2 1]}}+{{schema:1 count:1 sum:0.5 buckets:[0 1]}}x24",
    ),
    (
        r#"wait{job="api"}"#,
        "{{schema:-53 count:6 sum:11 custom_values:[1 2.5 10] buckets:[1 2 2 1]}}+{{schema:-53 count:4 sum:7 custom_values:[1 2.5 10] buckets:[1 1 1 1]}}x40",
    ),
    (r#"wait{job="db"}"#, "{{schema:-53 count:3 sum:4 custom_values:[1 5] buckets:[1 1 1]}}x40"),
    (r#"target_info{job="api", instance="a", version="1.2", zone="x"}"#, "1x40"),
    (r#"target_info{job="api", instance="b", version="1.3", zone="y"}"#, "1x40"),
];

pub fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for (series, values) in SERIES {
        let described = parser::parse_series(&format!("{series} {values}")).unwrap();
        for (index, value) in described.values.into_iter().enumerate() {
            let time_ms = index as i64 * INTERVAL_MS;
            match value {
                SequenceValue::Omitted => {}
                SequenceValue::Float(value) => storage.push_float(&described.labels, time_ms, value, 0),
                SequenceValue::Histogram(value, _) => {
                    storage.push_histogram(&described.labels, time_ms, (*value).clone(), 0);
                }
            }
        }
    }
    storage
}
