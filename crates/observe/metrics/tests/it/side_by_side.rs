//! Random queries over random samples, asked of a real Prometheus and of ours over HTTP; `PROMETHEUS` names the program.
//! `CORACLE_COMPARE_SEED` and `CORACLE_COMPARE_QUERIES` choose what is asked.

mod queries;
mod random;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    START_MS,
    api::{empty_store, router},
    tools::{Peer, Prometheus},
};
use random::Random;

/// Relative difference within which numbers count as the same.
const EPSILON: f64 = 1e-12;
/// How many of the queries have to be answered the same.
const SHARE: f64 = 0.999;
/// An answer says so many warnings at the most, any of them.
const NOTES_MAX: usize = 10;
const DEFAULT_QUERIES: u64 = 3000;
/// How often a query with another answer is asked again: some have several right ones.
const ASK_AGAIN: usize = 12;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_gives_the_same_answers() {
    let Some(prometheus) = Prometheus::start() else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = Peer::at(listener.local_addr().unwrap());
    let router = router(&empty_store());
    let _server = coracle_tasks::spawn("api under test", async move { axum::serve(listener, router).await });
    tokio::task::spawn_blocking(move || compare(&prometheus, &ours)).await.unwrap();
}

fn compare(prometheus: &Prometheus, ours: &Peer) {
    let (seed, count) = (number("CORACLE_COMPARE_SEED", 1), number("CORACLE_COMPARE_QUERIES", DEFAULT_QUERIES));
    for body in world::bodies(seed) {
        prometheus.write(&body);
        ours.write(&body);
    }
    let mut random = Random::new(seed.wrapping_add(1_000_003));
    let (mut differences, mut errors, mut either_way) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let (query, path) = request(&mut random);
        let (query, path) = match std::env::var("CORACLE_COMPARE_PATH") {
            Ok(path) => (path.clone(), path),
            Err(_) => (query, path),
        };
        let (our_answer, their_answer) = (parse(&ours.get(&path).1), parse(&prometheus.get(&path).1));
        errors += u64::from(their_answer["status"] == "error");
        let Err(why) = same(&our_answer, &their_answer) else { continue };
        // Which of several equal ones comes first, depends there on the order of a map: asked again, it changes.
        let mut again = (0..ASK_AGAIN).map(|_| parse(&prometheus.get(&path).1));
        if again.any(|other| same(&our_answer, &other).is_ok() || same(&their_answer, &other).is_err()) {
            either_way += 1;
        } else {
            differences.push(format!("{query}\n  {path}\n  {why}\n  ours   {our_answer}\n  theirs {their_answer}"));
        }
    }
    let share = (count - differences.len() as u64) as f64 / count as f64;
    println!(
        "{count} queries, {errors} of them refused, {:.3} % answered the same, {either_way} of these now so, now so",
        share * 100.0
    );
    differences.iter().for_each(|difference| println!("{}", cut(difference)));
    assert!(share >= SHARE, "{} of {count} answers differ", differences.len());
}

fn cut(text: &str) -> String {
    text.lines().map(|line| line.chars().take(1500).collect::<String>()).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

/// A query and how to ask it, at one time or over a range.
fn request(random: &mut Random) -> (String, String) {
    let query = queries::query(random);
    let second = |random: &mut Random| START_MS / 1000 - 200 + random.below(4000) as i64;
    let escaped = escape(&query);
    let path = if random.once_in(2) {
        format!("/api/v1/query?query={escaped}&time={}.{:03}", second(random), random.below(2) * random.below(1000))
    } else {
        let (start, step) = (second(random), [7, 15, 30, 60, 61, 300][random.below(6)]);
        let end = start + step * random.below(40) as i64 + random.below(7) as i64;
        format!("/api/v1/query_range?query={escaped}&start={start}&end={end}&step={step}")
    };
    (query, path)
}

fn same(ours: &Value, theirs: &Value) -> Result<(), String> {
    for field in ["status", "errorType"] {
        if ours[field] != theirs[field] {
            return Err(format!("{field} differs"));
        }
    }
    if !same_error(ours["error"].as_str().unwrap_or(""), theirs["error"].as_str().unwrap_or("")) {
        return Err("the errors differ".to_owned());
    }
    for field in ["warnings", "infos"] {
        let (one, other) = (texts(&ours[field]), texts(&theirs[field]));
        if one != other && (one.len() <= NOTES_MAX || other.len() != one.len()) {
            return Err(format!("{field} differ"));
        }
    }
    let (one, other) = (&ours["data"]["result"], &theirs["data"]["result"]);
    if ours["data"]["resultType"] != theirs["data"]["resultType"] {
        return Err("the types differ".to_owned());
    }
    match (by_series(one), by_series(other)) {
        (Some(one), Some(other)) => {
            if one.iter().map(|(metric, _)| metric).ne(other.iter().map(|(metric, _)| metric)) {
                return Err("the series differ".to_owned());
            }
            one.iter().zip(&other).try_for_each(|((_, one), (_, other))| almost(one, other))
        }
        _ => almost(one, other),
    }
}

/// Which of several colliding series an error names depends on their order.
fn same_error(ours: &str, theirs: &str) -> bool {
    let general = |text: &str| text.split("{").next().unwrap_or("").to_owned();
    ours == theirs || ours.contains('{') && general(ours) == general(theirs)
}

/// Notes without how many samples they are about: Prometheus counts some again at each step.
fn texts(list: &Value) -> BTreeSet<String> {
    let uncounted = |text: &str| match text.split_once(", over ") {
        Some((before, after)) => {
            format!("{before}{}", after.split_once(" samples").map_or(after, |(_, rest)| rest))
        }
        None => text.to_owned(),
    };
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(uncounted).collect()
}

/// Series in the order of their labels, if these are series.
fn by_series(result: &Value) -> Option<Vec<(String, &Value)>> {
    let mut all = Vec::new();
    for series in result.as_array()? {
        let metric = series.get("metric")?.as_object()?;
        let labels: BTreeMap<_, _> = metric.iter().map(|(name, value)| (name, rounded(value))).collect();
        all.push((format!("{labels:?}"), series));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Some(all)
}

/// A label's value, which may be a number that was computed, without its last digits.
fn rounded(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if text.len() > 12 => format!("{number:.11e}"),
        _ => text.to_owned(),
    }
}

/// Whether two answers are the same but for the last digits of numbers.
fn almost(one: &Value, other: &Value) -> Result<(), String> {
    match (one, other) {
        (Value::Array(ones), Value::Array(others)) if ones.len() == others.len() => {
            ones.iter().zip(others).try_for_each(|(one, other)| almost(one, other))
        }
        (Value::Object(ones), Value::Object(others)) if ones.keys().eq(others.keys()) => {
            ones.iter().try_for_each(|(name, one)| almost(one, &others[name]))
        }
        (Value::String(one), Value::String(other)) if one == other || close(one, other) => Ok(()),
        _ if one == other => Ok(()),
        _ => Err(format!("{one} is not {other}")),
    }
}

fn close(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    one == other || one.is_nan() && other.is_nan() || (one - other).abs() <= EPSILON * one.abs().max(other.abs())
}
