//! Samples for random queries: counters with resets, gauges with gaps and odd values, classic histograms, native ones of
//! every kind, series that end and come back, infos that change. Everything follows from a seed.

use std::{collections::BTreeMap, sync::Arc};

use coracle_promql::{
    FloatHistogram,
    histogram::{CounterResetHint, Span},
};

use super::random::Random;
use crate::{START_MS, native, remote};

pub const STEP_MS: i64 = 15_000;
pub const STEPS: i64 = 220;

const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const LES: [&str; 6] = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];
const BOUNDS: [&[f64]; 3] = [&[1.0, 2.5, 10.0], &[1.0, 5.0], &[0.5, 1.0, 2.5, 5.0, 10.0]];

enum Sample {
    Float(f64),
    Histogram(FloatHistogram),
}

/// How a series moves.
enum Shape {
    Counter {
        total: f64,
        rate: usize,
    },
    Gauge {
        level: f64,
    },
    Odd,
    Constant(f64),
    /// All buckets of a classic histogram move together; this is one.
    Bucket {
        total: f64,
        share: usize,
    },
    Native(Native),
    /// Floats at some times, histograms at others.
    Mixed {
        total: f64,
        native: Native,
        floats: bool,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Exponential,
    Custom,
    Gauge,
}

struct Native {
    kind: Kind,
    schema: i32,
    bounds: &'static [f64],
    zero_threshold: f64,
    zero: u64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
    sum: f64,
    /// Counts with fractions are written as floats.
    unit: f64,
}

impl Native {
    fn new(kind: Kind, random: &mut Random, unit: f64) -> Self {
        let mut native = Self {
            kind,
            schema: 0,
            bounds: BOUNDS[0],
            zero_threshold: 0.001,
            zero: 0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
            sum: 0.0,
            unit,
        };
        native.start_over(random);
        native
    }

    fn start_over(&mut self, random: &mut Random) {
        self.schema = if self.kind == Kind::Custom { -53 } else { random.below(4) as i32 - 1 };
        self.bounds = BOUNDS[if random.below(4) == 0 { random.below(3) } else { 0 }];
        // Below all buckets.
        self.zero_threshold = if random.once_in(5) { 1e-6 } else { 0.001 };
        (self.zero, self.sum) = (0, 0.0);
        self.positive.clear();
        self.negative.clear();
    }

    fn next(&mut self, random: &mut Random) -> FloatHistogram {
        if random.below(60) == 0 || self.kind == Kind::Gauge && random.below(4) == 0 {
            self.start_over(random);
        }
        for _ in 0..random.below(5) {
            let more = 1 + random.below(6) as u64;
            match (self.kind, random.below(8)) {
                (Kind::Custom, _) => {
                    *self.positive.entry(random.below(self.bounds.len() + 1) as i32).or_default() += more;
                }
                (_, 0) => self.zero += more,
                (_, 1 | 2) => *self.negative.entry(random.below(5) as i32 - 1).or_default() += more,
                _ => *self.positive.entry(random.below(9) as i32 - 3).or_default() += more,
            }
            self.sum += more as f64 * (random.below(900) as f64 / 100.0 - 1.0);
        }
        self.histogram()
    }

    fn histogram(&self) -> FloatHistogram {
        let (positive_spans, positive_buckets) = self.buckets(&self.positive);
        let (negative_spans, negative_buckets) = self.buckets(&self.negative);
        let custom = self.kind == Kind::Custom;
        let total = self.zero + self.positive.values().sum::<u64>() + self.negative.values().sum::<u64>();
        FloatHistogram {
            schema: self.schema,
            zero_threshold: if custom { 0.0 } else { self.zero_threshold },
            zero_count: self.zero as f64 * self.unit,
            count: total as f64 * self.unit,
            sum: self.sum * self.unit,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: custom.then(|| Arc::from(self.bounds)),
            counter_reset_hint: match self.kind {
                Kind::Gauge => CounterResetHint::Gauge,
                _ => CounterResetHint::Unknown,
            },
        }
    }

    fn buckets(&self, counts: &BTreeMap<i32, u64>) -> (Vec<Span>, Vec<f64>) {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for index in counts.keys() {
            match spans.last_mut() {
                Some(span) if *index == next => span.length += 1,
                _ => spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
        }
        (spans, counts.values().map(|count| *count as f64 * self.unit).collect())
    }
}

impl Shape {
    fn next(&mut self, random: &mut Random) -> Sample {
        Sample::Float(match self {
            Self::Counter { total, rate } => {
                if random.below(50) == 0 {
                    *total = 0.0;
                }
                *total += random.below(*rate) as f64;
                *total
            }
            Self::Gauge { level } => {
                *level += (random.below(2001) as f64 - 1000.0) / 97.0;
                *level
            }
            Self::Odd => match random.below(12) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => 0.0,
                4 => -0.0,
                5 => 1e300,
                6 => -1e-300,
                _ => random.below(50) as f64 - 25.0,
            },
            Self::Constant(value) => *value,
            Self::Bucket { total, share } => {
                *total += (random.below(3) * *share) as f64;
                *total
            }
            Self::Native(native) => return Sample::Histogram(native.next(random)),
            Self::Mixed { total, native, floats } => {
                if random.below(12) == 0 {
                    *floats = !*floats;
                }
                if !*floats {
                    return Sample::Histogram(native.next(random));
                }
                *total += 1.5;
                *total
            }
        })
    }
}

struct Series {
    labels: Vec<u8>,
    shape: Shape,
    /// Steps that are still to be left out.
    away: i64,
    jitter: bool,
}

fn all(random: &mut Random) -> Vec<Series> {
    let mut all = Vec::new();
    let mut add = |name: &'static str, pairs: &[(&'static str, &str)], shape: Shape, jitter: bool| {
        let mut labels = vec![("__name__", name.to_owned())];
        labels.extend(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        all.push(Series { labels: remote::labels(&labels), shape, away: 0, jitter });
    };
    let places = [("api", "a"), ("api", "b"), ("db", "c"), ("db", "d")];
    for (index, (job, instance)) in places.into_iter().enumerate() {
        let place = [("job", job), ("instance", instance)];
        let with = |name: &'static str, value: &'static str| [place[0], place[1], (name, value)];
        let jitter = index % 2 == 1;
        for code in ["200", "404", "500"] {
            let shape = Shape::Counter { total: 0.0, rate: 2 + random.below(200) };
            add("requests_total", &with("code", code), shape, jitter);
        }
        add("temperature", &place, Shape::Gauge { level: 20.0 }, jitter);
        add("odd", &place, Shape::Odd, !jitter);
        for (share, le) in LES.into_iter().enumerate() {
            // Buckets that do not rise with their bounds, now and then.
            let share = if index == 3 { 6 - share } else { share + 1 };
            add("latency_bucket", &with("le", le), Shape::Bucket { total: 0.0, share }, jitter);
        }
        let native = |kind, unit, random: &mut Random| Native::new(kind, random, unit);
        add("size", &place, Shape::Native(native(Kind::Exponential, 1.0, random)), jitter);
        add("weight", &place, Shape::Native(native(Kind::Exponential, 0.37, random)), !jitter);
        add("wait", &place, Shape::Native(native(Kind::Custom, 1.0, random)), jitter);
        add("level", &place, Shape::Native(native(Kind::Gauge, if jitter { 0.5 } else { 1.0 }, random)), false);
        let native = native(if jitter { Kind::Custom } else { Kind::Exponential }, 1.0, random);
        add("mixed", &place, Shape::Mixed { total: 0.0, native, floats: index < 2 }, jitter);
        let version = ["1.2", "1.3", "2.0", "2.0"][index];
        add("target_info", &with("version", version), Shape::Constant(1.0), false);
        add("build_info", &with("revision", version), Shape::Constant(1.0), jitter);
    }
    add("latency_bucket", &[("job", "odd"), ("le", "wide")], Shape::Bucket { total: 0.0, share: 1 }, false);
    for (job, value) in [("api", 12.0), ("db", 3.0)] {
        add("limit", &[("job", job)], Shape::Constant(value), false);
    }
    all
}

/// Bodies of remote write, a step of time each, in their order.
pub fn bodies(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut all = all(&mut random);
    let mut bodies = Vec::new();
    for step in 0..STEPS {
        let mut message = Vec::new();
        for series in &mut all {
            let sample = series.shape.next(&mut random);
            let late = if series.jitter { random.below(2000) as i64 } else { 0 };
            if series.away > 0 {
                series.away -= 1;
                continue;
            }
            let mut fields = series.labels.clone();
            let ends = random.below(70) == 0;
            if ends {
                series.away = 1 + random.below(40) as i64;
            }
            put(&mut fields, START_MS + step * STEP_MS + late, sample, ends && random.below(2) == 0);
            remote::bytes(&mut message, 1, &fields);
        }
        bodies.push(remote::pack(&message));
    }
    bodies
}

/// A sample, or a mark that the series has ended.
fn put(fields: &mut Vec<u8>, time_ms: i64, sample: Sample, stale: bool) {
    match sample {
        Sample::Float(value) => {
            let mut bytes = Vec::new();
            remote::double(&mut bytes, 1, if stale { STALE } else { value });
            remote::number(&mut bytes, 2, time_ms as u64);
            remote::bytes(fields, 2, &bytes);
        }
        Sample::Histogram(mut histogram) => {
            if stale {
                histogram = FloatHistogram { sum: STALE, ..FloatHistogram::default() };
            }
            native::put(fields, time_ms, &histogram);
        }
    }
}
