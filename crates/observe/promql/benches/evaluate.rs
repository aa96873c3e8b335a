//! How long range queries take: 1,000 series of 6 hours, a sample every 15 seconds.

use std::time::Instant;

use coracle_promql::{Engine, EngineOptions, Labels, engine::never, memory::MemoryStorage};

const SERIES: i64 = 1000;
const HOURS: i64 = 6;

fn main() {
    let mut storage = MemoryStorage::default();
    for series in 0..SERIES {
        let (job, instance) = (format!("job-{}", series % 10), format!("instance-{series}"));
        let labels =
            Labels::new([("__name__", "requests_total"), ("job", job.as_str()), ("instance", instance.as_str())]);
        for sample in 0..HOURS * 240 {
            let value = (sample * (series % 7 + 1)) as f64 + (series as f64) / 10.0;
            storage.push_float(&labels, sample * 15_000, value, 0);
        }
    }
    let engine = Engine::new(EngineOptions::default());
    let end_ms = HOURS * 3_600_000;
    for query in [
        "requests_total",
        "rate(requests_total[5m])",
        "sum by (job) (rate(requests_total[5m]))",
        "max_over_time(requests_total[30m])",
        "requests_total / on (instance) requests_total",
        "histogram_quantile(0.9, requests_total)",
        "topk(5, rate(requests_total[5m]))",
    ] {
        let mut times: Vec<u128> = (0..5)
            .map(|_| {
                let start = Instant::now();
                let answer = engine.range(&storage, query, (0, end_ms, 60_000), &never);
                assert!(answer.is_ok(), "{query}: {answer:?}");
                start.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        println!("{query}: {:.1} ms", times[2] as f64 / 1000.0);
    }
}
