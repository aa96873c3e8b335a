//! Samples as a cluster sends them: counters, gauges, histograms and things that rarely change, with the labels of
//! Kubernetes. Everything follows from a seed. Bodies of remote write are made beforehand.

use crate::{
    SENDERS,
    remote::{labels, pack, series},
};

const STEP_MS: i64 = 15_000;
const SERIES_A_BODY: usize = 1000;

pub struct Data {
    /// By sender.
    pub bodies: Vec<Vec<Vec<u8>>>,
    pub samples: usize,
    pub series_count: usize,
    pub start_ms: i64,
    pub end_ms: i64,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn now_ms() -> i64 {
    use coracle_clock::{Clock, SystemClock};
    SystemClock.now().as_millisecond() / STEP_MS * STEP_MS
}

fn pod_labels(number: usize) -> Vec<(&'static str, String)> {
    let (app, pod) = (number % 40, number % 900);
    vec![
        ("cluster", "production-1".to_owned()),
        ("container", format!("app-{app}")),
        ("endpoint", "metrics".to_owned()),
        ("instance", format!("10.42.{}.{}:8080", pod / 200, pod % 200)),
        ("job", format!("app-{app}")),
        ("namespace", format!("team-{}", app % 12)),
        ("pod", format!("app-{app}-6d9f7c8b5d-{:05x}", pod * 7919)),
        ("service", format!("app-{app}")),
    ]
}

/// How a series moves.
enum Shape {
    /// Counts requests.
    Counter { total: f64, rate: u64 },
    /// Seconds of processor time, to the hundredth or finer.
    Seconds { total: f64 },
    /// Bytes, in pages.
    Memory { pages: u64 },
    /// A bucket of a histogram, which often stays.
    Bucket { total: f64, share: u64 },
    /// Up, info, limits: always the same.
    Constant(f64),
    /// A measurement with all its digits.
    Noise { level: f64 },
}

impl Shape {
    fn next(&mut self, random: &mut Random) -> f64 {
        match self {
            Self::Counter { total, rate } => {
                *total += (*rate + random.below(*rate / 4 + 1)) as f64;
                *total
            }
            Self::Seconds { total } => {
                *total += random.below(300) as f64 / 100.0;
                (*total * 100.0).round() / 100.0
            }
            Self::Memory { pages } => {
                if random.below(3) == 0 {
                    *pages = (*pages + random.below(200)).saturating_sub(random.below(200)).max(1000);
                }
                (*pages * 4096) as f64
            }
            Self::Bucket { total, share } => {
                if random.below(100) < *share {
                    *total += random.below(4) as f64;
                }
                *total
            }
            Self::Constant(value) => *value,
            Self::Noise { level } => {
                *level += (random.below(2001) as f64 - 1000.0) / 1e5;
                *level * 1.000_123_7
            }
        }
    }
}

/// Few series with many samples: `series` of them, of which 1,000 (or all, if fewer) are one counter's.
pub fn deep(series_count: usize, steps: usize) -> Data {
    let mut random = Random(42);
    let mut shapes = Vec::new();
    for number in 0..series_count {
        let (metric, shape, extra) = match number {
            0..1000 => ("bench_counter_total", Shape::Counter { total: 0.0, rate: 10 + random.below(2000) }, None),
            _ => match number % 10 {
                0 => ("process_cpu_seconds_total", Shape::Seconds { total: 5.0 }, None),
                1 | 2 => ("container_memory_working_set_bytes", Shape::Memory { pages: 20_000 }, None),
                3..=6 => {
                    let le = ["0.005", "0.05", "0.5", "5", "+Inf"][number / 10 % 5];
                    let share = random.below(100);
                    ("http_request_duration_seconds_bucket", Shape::Bucket { total: 0.0, share }, Some(("le", le)))
                }
                7 => ("http_requests_total", Shape::Counter { total: 0.0, rate: 1 + random.below(40) }, None),
                8 => ("kube_pod_info", Shape::Constant(1.0), None),
                _ => ("node_load1", Shape::Noise { level: 1.5 }, None),
            },
        };
        let mut pairs = pod_labels(number);
        pairs.push(("__name__", metric.to_owned()));
        pairs.push(("shard", number.to_string()));
        pairs.extend(extra.map(|(name, value)| (name, value.to_owned())));
        shapes.push((labels(&pairs), shape));
    }
    let end_ms = now_ms();
    let start_ms = end_ms - (steps as i64 - 1) * STEP_MS;
    let mut bodies = vec![Vec::new(); SENDERS];
    for step in 0..steps as i64 {
        for (index, group) in shapes.chunks_mut(SERIES_A_BODY).enumerate() {
            let mut message = Vec::new();
            for (labels, shape) in group {
                series(&mut message, labels, &[(start_ms + step * STEP_MS, shape.next(&mut random))]);
            }
            bodies[index % SENDERS].push(pack(&message));
        }
    }
    Data { bodies, samples: series_count * steps, series_count, start_ms, end_ms }
}

/// Many series with one sample each.
pub fn wide(series_count: usize) -> Data {
    let end_ms = now_ms();
    let mut bodies = vec![Vec::new(); SENDERS];
    let numbers: Vec<usize> = (0..series_count).collect();
    for (index, group) in numbers.chunks(SERIES_A_BODY).enumerate() {
        let mut message = Vec::new();
        for number in group {
            let pairs = [
                ("__name__", "wide_info".to_owned()),
                ("app", format!("app-{}", number % 500)),
                ("cluster", "production-1".to_owned()),
                ("job", "kube-state-metrics".to_owned()),
                ("node", format!("node-{}", number % 5000)),
                ("pod", format!("pod-{number}")),
                ("uid", format!("{:08x}-{:04x}", number.wrapping_mul(2_654_435_761) as u32, number % 65_536)),
                ("zone", format!("z{}", number % 7)),
            ];
            series(&mut message, &labels(&pairs), &[(end_ms, 1.0)]);
        }
        bodies[index % SENDERS].push(pack(&message));
    }
    Data { bodies, samples: series_count, series_count, start_ms: end_ms, end_ms }
}
