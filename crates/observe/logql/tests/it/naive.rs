//! Against an evaluator that is as simple as can be: it goes through all lines for every step.

use std::{collections::BTreeMap, sync::Arc};

use coracle_logql::{Answer, Direction, Labels, Limits, Query, evaluate, syntax::parse};
use proptest::prelude::*;

use crate::source::{Line, Lines};

pub const SECOND: i64 = 1_000_000_000;
const SERIES: [&str; 3] = ["a", "b", "c"];

pub fn lines() -> impl Strategy<Value = Lines> {
    let line = (0..SERIES.len(), 0..600_i64, 0..4_u32, -50..50_i32).prop_map(|(app, tenths, level, value)| Line {
        labels: Arc::new([("app", SERIES[app]), ("env", if app == 2 { "prod" } else { "dev" })].into_iter().collect()),
        ts: tenths * SECOND / 10,
        text: format!("level=l{level} value={value} msg=\"m {value}\""),
        metadata: Vec::new(),
    });
    proptest::collection::vec(line, 0..120).prop_map(Lines)
}

/// What a naive reading of one line gives.
pub fn value_of(line: &Line) -> f64 {
    let (_, rest) = line.text.split_once("value=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

pub fn level_of(line: &Line) -> String {
    line.text.split(' ').next().unwrap().trim_start_matches("level=").to_owned()
}

pub type Windows = BTreeMap<(Labels, i64), Vec<f64>>;

/// The values in the window of each step, by labels.
pub fn windows(
    lines: &Lines,
    (start, end, step): (i64, i64, i64),
    range: i64,
    offset: i64,
    labels: impl Fn(&Line) -> Labels,
) -> Windows {
    let mut windows = Windows::new();
    let mut ordered: Vec<&Line> = lines.0.iter().collect();
    ordered.sort_by_key(|line| line.ts);
    let mut at = start;
    while at <= end {
        for line in &ordered {
            if line.ts > at - offset - range && line.ts <= at - offset {
                windows.entry((labels(line), at / 1_000_000)).or_default().push(value_of(line));
            }
        }
        at += step;
    }
    windows
}

pub fn asked(lines: &Lines, query: &str, (start, end, step): (i64, i64, i64)) -> BTreeMap<(Labels, i64), f64> {
    let query = Query {
        expr: parse(query).unwrap(),
        start,
        end,
        step,
        interval: 0,
        limit: 100,
        direction: Direction::Forward,
        now: 0,
    };
    let Answer::Matrix(series) = evaluate(&query, &Limits::default(), lines).unwrap() else { panic!("a matrix") };
    series
        .into_iter()
        .flat_map(|series| series.points.into_iter().map(move |(at, value)| (((*series.labels).clone(), at), value)))
        .collect()
}

pub fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0) || (a.is_nan() && b.is_nan())
}

pub fn same(asked: &BTreeMap<(Labels, i64), f64>, expected: &BTreeMap<(Labels, i64), f64>) -> bool {
    asked.len() == expected.len() && asked.iter().zip(expected).all(|(a, b)| a.0 == b.0 && close(*a.1, *b.1))
}

pub fn steps() -> impl Strategy<Value = (i64, i64, i64)> {
    (0..30_i64, 1..60_i64, 1..20_i64)
        .prop_map(|(start, length, step)| (start * SECOND, (start + length) * SECOND, step * SECOND))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn ranges_of_lines(lines in lines(), steps in steps(), range in 1..40_i64, offset in 0..10_i64) {
        let of_stream = |line: &Line| (*line.labels).clone();
        let windows = windows(&lines, steps, range * SECOND, offset * SECOND, of_stream);
        let expected = windows.iter().map(|(key, values)| (key.clone(), values.len() as f64)).collect();
        let query = format!(r#"count_over_time({{app=~".+"}}[{range}s] offset {offset}s)"#);
        let found = asked(&lines, &query, steps);
        prop_assert!(same(&found, &expected), "{}: {:?} instead of {:?}", query, found, expected);
    }

    #[test]
    fn ranges_of_values(lines in lines(), steps in steps(), range in 1..40_i64) {
        type Reduce = fn(&[f64]) -> f64;
        let reductions: [(&str, Reduce); 6] = [
            ("sum_over_time", |values| values.iter().sum::<f64>() + 0.0),
            ("max_over_time", |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            ("min_over_time", |values| values.iter().copied().fold(f64::INFINITY, f64::min)),
            ("avg_over_time", |values| values.iter().sum::<f64>() / values.len() as f64),
            ("stdvar_over_time", |values| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
            }),
            ("quantile_over_time", |values| {
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                let rank = 0.5 * (sorted.len() - 1) as f64;
                let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
                low + (high - low) * rank.fract()
            }),
        ];
        for (name, reduce) in reductions {
            let labels = |line: &Line| {
                let message = format!("m {}", value_of(line));
                line.labels.set("level", &level_of(line)).set("msg", &message)
            };
            let expected = windows(&lines, steps, range * SECOND, 0, labels);
            let expected = expected.iter().map(|(key, values)| (key.clone(), reduce(values))).collect();
            let parameter = if name == "quantile_over_time" { "0.5, " } else { "" };
            let query = format!(r#"{name}({parameter}{{app=~".+"}} | logfmt | unwrap value [{range}s])"#);
            let found = asked(&lines, &query, steps);
            prop_assert!(same(&found, &expected), "{}: {:?} instead of {:?}", query, found, expected);
        }
    }

    #[test]
    fn sums_by_label(lines in lines(), steps in steps(), range in 1..40_i64) {
        let labels = |line: &Line| [("level", level_of(line)), ("env", line.labels.get("env").unwrap().to_owned())].into_iter().collect();
        let expected = windows(&lines, steps, range * SECOND, 0, labels);
        let expected = expected.iter().map(|(key, values)| (key.clone(), values.len() as f64)).collect();
        let query = format!(r#"sum by (env, level) (count_over_time({{app=~".+"}} | logfmt [{range}s]))"#);
        let found = asked(&lines, &query, steps);
        prop_assert!(same(&found, &expected), "{}: {:?} instead of {:?}", query, found, expected);
    }

    #[test]
    fn first_and_last_lines(lines in lines(), limit in 1..20_usize, level in 0..4_u32) {
        let mut expected: Vec<i64> = lines.0.iter().filter(|line| line.text.contains(&format!("l{level} "))).map(|line| line.ts).collect();
        expected.sort_unstable();
        for direction in [Direction::Forward, Direction::Backward] {
            let query = Query {
                expr: parse(&format!(r#"{{app=~".+"}} |= "l{level} ""#)).unwrap(),
                start: 0,
                end: 100 * SECOND,
                step: 0,
                interval: 0,
                limit,
                direction,
                now: 0,
            };
            let Answer::Streams(streams) = evaluate(&query, &Limits::default(), &lines).unwrap() else { panic!("lines") };
            let mut found: Vec<i64> = streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.ts).collect();
            found.sort_unstable();
            let count = limit.min(expected.len());
            let wanted = match direction {
                Direction::Forward => &expected[..count],
                Direction::Backward => &expected[expected.len() - count..],
            };
            prop_assert_eq!(found, wanted);
        }
    }
}
