//! The same queries asked of the real promtool: the golden ones and random ones, over the golden world.
//!
//! A unit-test file is written in which every query's expected answer is empty; promtool then shows what it got.
//! `CORACLE_PROMTOOL` names the binary, `CORACLE_COMPARE_SEED` and `CORACLE_COMPARE_QUERIES` choose the random queries.

use std::{collections::HashMap, fmt::Write, process::Command};

use coracle_promql::{
    Value,
    engine::{SampleValue, never},
    number::{duration_text, parse_float, plain_float},
    quote::{quote, unquote},
};

use super::{
    data,
    golden::{TIMES_MS, engine, queries},
    random::Random,
};

/// Relative difference within which numbers count as the same.
const EPSILON: f64 = 1e-12;
/// Queries a file; promtool reads them all at once.
const BATCH: usize = 500;

#[test]
fn promtool_gives_the_same_answers() {
    let Some(promtool) = std::env::var_os("CORACLE_PROMTOOL") else {
        eprintln!("left out: CORACLE_PROMTOOL names no promtool to compare with");
        return;
    };
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let mut random = Random::new(number("CORACLE_COMPARE_SEED", 1));
    let mut asked: Vec<(String, i64)> =
        queries().flat_map(|query| TIMES_MS.map(|time_ms| (query.to_owned(), time_ms))).collect();
    for _ in 0..number("CORACLE_COMPARE_QUERIES", 2000) {
        asked.push((random.query(), random.time_ms()));
    }
    let (mut differences, mut left_out) = (Vec::new(), 0);
    for batch in asked.chunks(BATCH) {
        let got = ask(&promtool, batch);
        for (query, time_ms) in batch {
            let (ours, theirs) = (ours(query, *time_ms), got.get(&(query.clone(), *time_ms)));
            let theirs = theirs.map_or(Ok(Vec::new()), Clone::clone);
            // promtool's engine for tests does not get the switch for experimental functions.
            if matches!(&theirs, Err(error) if error.contains("is not enabled") || error.contains("is experimental")) {
                left_out += 1;
            } else if !same(&ours, &theirs) {
                differences.push(format!("{query} @ {}\n  ours   {ours:?}\n  theirs {theirs:?}", time_ms / 1000));
            }
        }
    }
    let compared = asked.len() - left_out;
    let share = 100.0 * (compared - differences.len()) as f64 / compared as f64;
    println!("{compared} queries compared, {left_out} experimental ones left out, {share:.3} % the same");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Labels and a number or a histogram's text; or an error.
type Got = Result<Vec<(String, String)>, String>;

fn ours(query: &str, time_ms: i64) -> Got {
    let value = engine().instant(&data::storage(), query, time_ms, &never).map_err(|error| error.to_string())?.value;
    let mut all = match value {
        Value::Vector(vector) => vector
            .into_iter()
            .map(|sample| {
                let value = match sample.value {
                    SampleValue::Float(value) => plain_float(value),
                    SampleValue::Histogram(histogram) => histogram.test_expression(),
                };
                (sample.labels.to_string(), value)
            })
            .collect(),
        Value::Scalar { value, .. } => vec![("{}".to_owned(), plain_float(value))],
        Value::Matrix(_) | Value::String { .. } => return Err("rule result is not a vector or scalar".to_owned()),
    };
    all.sort();
    Ok(all)
}

fn ask(promtool: &std::ffi::OsStr, batch: &[(String, i64)]) -> HashMap<(String, i64), Got> {
    let mut file = String::from("tests:\n- interval: 30s\n  input_series:\n");
    for (series, values) in data::SERIES {
        writeln!(file, "  - {{series: {}, values: {}}}", yaml(series), yaml(values)).unwrap();
    }
    file.push_str("  promql_expr_test:\n");
    for (query, time_ms) in batch {
        // An expectation that nothing meets, so that every answer is shown.
        let expected = "[{labels: 'expected_nothing', value: 1}]";
        let time = duration_text(*time_ms);
        writeln!(file, "  - {{expr: {}, eval_time: {time}, exp_samples: {expected}}}", yaml(query)).unwrap();
    }
    let directory = std::env::temp_dir().join(format!("coracle-compare-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("test.yml");
    std::fs::write(&path, file).unwrap();
    let output = Command::new(promtool).args(["test", "rules"]).arg(&path).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers = parse(&shown);
    assert!(!answers.is_empty(), "promtool said: {shown}");
    answers
}

fn yaml(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What promtool shows of every failed expectation.
fn parse(shown: &str) -> HashMap<(String, i64), Got> {
    let mut answers = HashMap::new();
    for entry in shown.split("    expr: ").skip(1) {
        let end = literal_end(entry);
        let query = unquote(&entry[..end]).unwrap();
        let rest = entry[end..].strip_prefix(", time: ").unwrap();
        let (time, rest) = rest.split_once(',').unwrap();
        let time_ms = coracle_promql::number::parse_duration_ms(time).unwrap();
        let got = match rest.trim_start().strip_prefix("err: ") {
            Some(error) => Err(error.trim().to_owned()),
            None => {
                let got = rest.split_once("got: ").unwrap().1.trim();
                let mut all = if got == "nil" { Vec::new() } else { samples(got) };
                all.sort();
                Ok(all)
            }
        };
        answers.insert((query, time_ms), got);
    }
    answers
}

/// Where a quoted text ends.
fn literal_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `{a="b"} 1E+00, {c="d"} {{count:1}}`.
fn samples(mut text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while text.starts_with('{') {
        let mut at = 1;
        while !text[at..].starts_with('}') {
            at += if text[at..].starts_with('"') { literal_end(&text[at..]) } else { 1 };
        }
        let (labels, rest) = text.split_at(at + 1);
        let value_end = rest.find(", {").filter(|_| !rest.trim_start().starts_with("{{"));
        let value_end = value_end.or_else(|| rest.find("}}").map(|at| at + 2)).unwrap_or(rest.len());
        let value = rest[..value_end].trim();
        all.push((labels.to_owned(), value.to_owned()));
        text = rest[value_end..].trim_start_matches([',', ' ']);
    }
    all
}

fn same(ours: &Got, theirs: &Got) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(one, other)| one.0 == other.0 && same_value(&one.1, &other.1))
        }
        // Which of several colliding series an error names depends on the order of series in the store.
        (Err(ours), Err(theirs)) => ours == theirs || (ours.contains(": [") && ours[..40] == theirs[..40]),
        _ => false,
    }
}

/// Texts whose numbers are almost the same.
fn same_value(one: &str, other: &str) -> bool {
    let words = |text: &str| text.split([' ', ':', '[', ']', '{', '}']).map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (words(one), words(other));
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| {
            one == other || matches!((parse_float(one), parse_float(other)), (Ok(one), Ok(other)) if almost(one, other))
        })
}

fn almost(one: f64, other: f64) -> bool {
    one == other || one.is_nan() && other.is_nan() || (one - other).abs() <= EPSILON * one.abs().max(other.abs())
}

#[test]
fn what_promtool_shows_is_understood() {
    let shown = "  FAILED:\n    expr: \"a{b=\\\"c\\\"}\", time: 1m,\n        exp: nil\n        got: {x=\"}, {\"} 1E+00, {} {{count:2 \
                 buckets:[1 1]}}\n    expr: \"f(\", time: 0s, err: 1:3: parse error: x\n";
    let answers = parse(shown);
    let key = |query: &str, time_ms| (query.to_owned(), time_ms);
    assert_eq!(quote("a{b=\"c\"}"), "\"a{b=\\\"c\\\"}\"");
    assert_eq!(
        answers[&key("a{b=\"c\"}", 60_000)],
        Ok(vec![
            ("{x=\"}, {\"}".to_owned(), "1E+00".to_owned()),
            ("{}".to_owned(), "{{count:2 buckets:[1 1]}}".to_owned())
        ]
        .into_iter()
        .rev()
        .collect::<Vec<_>>())
        .map(|mut all: Vec<(String, String)>| {
            all.sort();
            all
        })
    );
    assert_eq!(answers[&key("f(", 0)], Err("1:3: parse error: x".to_owned()));
}
