use std::sync::Arc;

use coracle_promql::{Column, Columns, FloatHistogram, histogram::Span, storage::STALE_NAN};
use proptest::prelude::*;

use super::{ChunkKind, floats, histograms::OpenHistograms, open::OpenFloats};

fn same(one: &Column<f64>, times_ms: &[i64], values: &[f64]) {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(one.times_ms, times_ms);
    assert_eq!(bits(&one.values), bits(values));
}

/// Both float codecs give back what they took, whole and in part.
fn check(times_ms: &[i64], values: &[f64]) -> usize {
    let finished = floats::encode(times_ms, values);
    let mut open = OpenFloats::default();
    times_ms.iter().zip(values).for_each(|(time_ms, value)| open.push(*time_ms, *value));
    let mut growing = Vec::new();
    open.encode(&mut growing);
    for (kind, bytes) in [(ChunkKind::Floats, &finished), (ChunkKind::OpenFloats, &growing)] {
        let mut columns = Columns::default();
        kind.decode(bytes, i64::MIN, i64::MAX, &mut columns).expect("it was just encoded");
        same(&columns.floats, times_ms, values);
        let (from, to) = (times_ms.len() / 3, times_ms.len() * 2 / 3);
        columns.clear();
        kind.decode(bytes, times_ms[from], times_ms[to], &mut columns).expect("it was just encoded");
        same(&columns.floats, &times_ms[from..=to], &values[from..=to]);
    }
    finished.len()
}

fn regular(count: usize) -> Vec<i64> {
    (0..count as i64).map(|index| 1_700_000_000_000 + index * 15_000).collect()
}

#[test]
fn realistic_series_take_little_room() {
    let mut random = 7u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let count = 480;
    let times = regular(count);
    let mut total = 0u64;
    let counter: Vec<f64> = (0..count)
        .map(|_| {
            total += 900 + below(200);
            total as f64
        })
        .collect();
    let seconds: Vec<f64> = (0..count).map(|index| (index as f64 * 3.0 + below(100) as f64).round() / 100.0).collect();
    let flags: Vec<f64> = (0..count).map(|index| f64::from(u8::from(index % 97 == 0))).collect();
    let memory: Vec<f64> = (0..count).map(|_| (40_000_000 + below(500) * 4096) as f64).collect();
    let ratio: Vec<f64> = (0..count).map(|_| below(1 << 50) as f64 / (1u64 << 50) as f64).collect();
    let sizes = [&counter, &seconds, &flags, &memory, &ratio].map(|values| check(&times, values));
    expect_test::expect![[r#"[499, 498, 81, 851, 3296]"#]].assert_eq(&format!("{sizes:?}"));
}

#[test]
fn strange_floats_survive() {
    let stale = f64::from_bits(STALE_NAN);
    let values = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, stale, f64::MIN_POSITIVE, 1e300, -1e-300, 0.1];
    check(&regular(values.len()), &values);
    check(&[5], &[stale]);
    check(&[i64::MIN, -1, 0, i64::MAX], &[1.0, 2.0, 3.0, stale]);
    let mut mostly_whole: Vec<f64> = (0..100).map(f64::from).collect();
    mostly_whole[99] = stale;
    check(&regular(100), &mostly_whole);
}

fn histogram(scale: f64, buckets: usize) -> FloatHistogram {
    FloatHistogram {
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: scale,
        count: scale * 10.0,
        sum: scale * 1.5,
        positive_spans: vec![Span { offset: -2, length: buckets as u32 }],
        positive_buckets: (0..buckets).map(|bucket| scale * bucket as f64).collect(),
        ..FloatHistogram::default()
    }
}

#[test]
fn histograms_survive() {
    let stale = FloatHistogram { sum: f64::from_bits(STALE_NAN), ..FloatHistogram::default() };
    let custom = FloatHistogram {
        schema: -53,
        custom_values: Some(Arc::from([0.5, 1.0, 5.0])),
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![0.25],
        ..histogram(2.5, 3)
    };
    let samples = [histogram(1.0, 4), histogram(2.0, 4), histogram(2.5, 4), stale, histogram(3.0, 5), custom];
    let mut open = OpenHistograms::default();
    samples.iter().zip((0..).step_by(1000)).for_each(|(sample, time_ms)| open.push(time_ms, sample));
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    let mut columns = Columns::default();
    ChunkKind::Histograms.decode(&bytes, 1000, i64::MAX, &mut columns).expect("it was just encoded");
    assert_eq!(columns.histograms.times_ms, [1000, 2000, 3000, 4000, 5000]);
    let read: Vec<_> = columns.histograms.values.iter().map(|value| FloatHistogram::clone(value)).collect();
    assert_eq!(read, samples[1..]);
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let whole = prop::collection::vec((-1_000_000i64..1_000_000).prop_map(|value| value as f64), 1..300);
    let decimals = prop::collection::vec((-100_000i64..100_000).prop_map(|value| value as f64 / 1000.0), 1..300);
    let odd = prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..60);
    let large = prop::collection::vec(any::<i64>().prop_map(|value| value as f64), 1..60);
    prop_oneof![whole, decimals, odd, large]
}

proptest! {
    #[test]
    fn any_series_survives(values in values(), steps in prop::collection::vec(1i64..100_000, 300), start in any::<i32>()) {
        let times: Vec<i64> = steps.iter().scan(i64::from(start), |time, step| { *time += step; Some(*time) }).collect();
        check(&times[..values.len()], &values);
        check(&regular(values.len()), &values);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in [ChunkKind::OpenFloats, ChunkKind::Floats, ChunkKind::Histograms] {
            let _ = kind.decode(&bytes, i64::MIN, i64::MAX, &mut Columns::default());
        }
    }
}
