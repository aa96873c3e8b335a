//! Every function, aggregation and operator over a small world of series, with the answers that Prometheus gives too
//! (the suite `compare` asks promtool).

use std::fmt::Write;

use coracle_promql::{
    Engine, EngineOptions, QueryError, Value,
    engine::{Answer, MatrixSeries, Point, SampleValue, never},
    functions::Function,
    parser::{Options, ast::Aggregator},
};
use expect_test::expect_file;

use super::data;

/// The moments at which every query is asked.
pub const TIMES_MS: [i64; 2] = [450_000, 930_000];

pub fn engine() -> Engine {
    Engine::new(EngineOptions { parser: Options::EVERYTHING, ..EngineOptions::default() })
}

pub fn queries() -> impl Iterator<Item = &'static str> {
    include_str!("golden/queries.txt").lines()
}

/// Twelve digits: the last ones of `sin` and its like depend on the machine.
fn rounded(value: f64) -> String {
    let value = format!("{value:.11e}").parse().unwrap_or(value);
    coracle_promql::number::short_float(value)
}

pub fn shown(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => rounded(*value),
        SampleValue::Histogram(histogram) => histogram.test_expression(),
    }
}

fn show(answer: Result<Answer, QueryError>, query: &str) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("  error: {error}\n"),
    };
    let mut out = String::new();
    match answer.value {
        Value::Scalar { value, .. } => out = format!("  {}\n", rounded(value)),
        Value::String { value, .. } => out = format!("  {value:?}\n"),
        Value::Vector(vector) => {
            for sample in vector {
                writeln!(out, "  {} {}", sample.labels, shown(&sample.value)).unwrap();
            }
        }
        Value::Matrix(matrix) => {
            for series in matrix {
                writeln!(out, "  {} {:?}", series.labels, series.floats).unwrap();
            }
        }
    }
    let (warnings, infos) = answer.annotations.for_people(query, 0, 0);
    for text in warnings.iter().chain(&infos) {
        writeln!(out, "  # {text}").unwrap();
    }
    out
}

#[test]
fn answers() {
    let (engine, storage) = (engine(), data::storage());
    let mut out = String::new();
    for query in queries() {
        for time_ms in TIMES_MS {
            let answer = engine.instant(&storage, query, time_ms, &never);
            write!(out, "{query} @ {}s\n{}", time_ms / 1000, show(answer, query)).unwrap();
        }
    }
    expect_file!["golden/answers.txt"].assert_eq(&out);
}

#[test]
fn every_function_and_aggregation_is_asked_for() {
    let all: Vec<&str> = queries().collect();
    let functions = Function::all().iter().map(|function| function.name);
    let aggregations = Aggregator::ALL.iter().map(|op| op.name());
    let is_used = |name: &str| {
        all.iter().any(|query| {
            [format!("{name}("), format!("{name} by"), format!("{name} without")]
                .iter()
                .any(|call| query.contains(call))
        })
    };
    let missing: Vec<&str> = functions.chain(aggregations).filter(|name| !is_used(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// A range query says at every step what an instant query says there.
#[test]
fn ranges_agree_with_instants() {
    let (engine, storage) = (engine(), data::storage());
    let (start, end, step) = (0, 1_260_000, 45_000);
    for query in queries() {
        // Sorting has no effect on ranges; these depend on the range itself.
        if ["sort", "start()", "end()", "step()", "range()", "string"].iter().any(|part| query.contains(part)) {
            continue;
        }
        let range = engine.range(&storage, query, (start, end, step), &never);
        let Ok(Answer { value: Value::Matrix(matrix), .. }) = range else { continue };
        for time_ms in (start..=end).step_by(step as usize) {
            let instant = engine.instant(&storage, query, time_ms, &never).unwrap();
            let mut expected: Vec<String> = match instant.value {
                Value::Vector(vector) => {
                    vector.iter().map(|sample| format!("{} {}", sample.labels, shown(&sample.value))).collect()
                }
                Value::Scalar { value, .. } => vec![format!("{{}} {}", shown(&SampleValue::Float(value)))],
                other => panic!("{query}: {other:?}"),
            };
            let mut got: Vec<String> = matrix.iter().filter_map(|series| at(series, time_ms)).collect();
            expected.sort();
            got.sort();
            assert_eq!(got, expected, "{query} at {time_ms}");
        }
    }
}

fn at(series: &MatrixSeries, time_ms: i64) -> Option<String> {
    let float =
        series.floats.iter().find(|point| point.time_ms == time_ms).map(|point| SampleValue::Float(point.value));
    let histogram = series.histograms.iter().find(|point| point.time_ms == time_ms);
    let histogram = histogram.map(|Point { value, .. }| SampleValue::Histogram(value.clone()));
    float.or(histogram).map(|value| format!("{} {}", series.labels, shown(&value)))
}
