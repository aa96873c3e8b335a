//! The interface's answers beside those of a real Prometheus to the same requests over the same samples, which stand in
//! `tests/golden/api.txt`. With `PROMETHEUS=/path/to/prometheus` the real one is asked again; with `RECORD=1` too, its
//! answers are written down.

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use axum::{Router, body::Body};
use coracle_metrics::{Options, Store, http};
use coracle_promql::{Engine, EngineOptions, parser};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    START_MS, clock,
    remote::{bytes, double, labels, number, pack, series},
    tools::Prometheus,
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/api.txt");

/// What is asked, a line a request. `T+N` is N seconds after the first sample.
const REQUESTS: &str = include_str!("../golden/requests.txt");

pub fn router(store: &Store) -> Router {
    let options = EngineOptions { parser: parser::Options::EVERYTHING, ..EngineOptions::default() };
    http::router(store.clone(), Engine::new(options), http::Settings::default())
}

pub fn empty_store() -> Store {
    Store::open_on(Arc::new(coracle_disk::MemoryDisk::new()), Options::default(), clock()).unwrap()
}

/// The samples all requests are about: counters with a reset, gauges with a gap, odd names and values, a histogram of
/// either kind, exemplars and metadata.
pub fn message() -> Vec<u8> {
    let mut message = Vec::new();
    let pairs = |name: &str, rest: &[(&'static str, &str)]| {
        let mut pairs = vec![("__name__", name.to_owned())];
        pairs.extend(rest.iter().map(|(name, value)| (*name, (*value).to_owned())));
        labels(&pairs)
    };
    let at = |step: i64| START_MS + step * 15_000;
    let many = |value: &dyn Fn(i64) -> f64| (0..40).map(|step| (at(step), value(step))).collect::<Vec<_>>();
    for instance in ["a:80", "b:80"] {
        let counter = pairs("requests_total", &[("job", "web"), ("instance", instance), ("code", "200")]);
        series(&mut message, &counter, &many(&|step| (step % 25 * 7) as f64));
    }
    let gauge = pairs("temperature", &[("job", "lab"), ("room", "north \"wing\"")]);
    let gappy: Vec<_> =
        many(&|step| 20.5 + step as f64 / 7.0).into_iter().filter(|(ms, _)| (ms / 15_000) % 40 < 30).collect();
    series(&mut message, &gauge, &gappy);
    for (le, share) in [("0.1", 1.0), ("1", 3.0), ("+Inf", 4.0)] {
        let bucket = pairs("latency_seconds_bucket", &[("job", "web"), ("le", le)]);
        series(&mut message, &bucket, &many(&|step| step as f64 * share));
    }
    let odd = pairs("odd_values", &[("job", "lab")]);
    let values = [f64::INFINITY, f64::NEG_INFINITY, 1e-7, 1.5e21, 123_456_789.125, 0.0, -0.0, 1e300];
    series(&mut message, &odd, &(0..).map(at).zip(values).collect::<Vec<_>>());
    let ended = pairs("ended", &[("job", "lab")]);
    series(&mut message, &ended, &[(at(0), 1.0), (at(1), f64::from_bits(0x7ff0_0000_0000_0002))]);
    native(&mut message, &pairs("native_seconds", &[("job", "web")]));
    exemplar(&mut message, &pairs("traced_total", &[("job", "web")]));
    message
}

/// A native histogram that grows.
fn native(message: &mut Vec<u8>, labels: &[u8]) {
    let mut fields = labels.to_vec();
    for step in 0..40u64 {
        let mut histogram = Vec::new();
        number(&mut histogram, 1, 12 + step * 12);
        double(&mut histogram, 3, 18.4 * (step + 1) as f64);
        number(&mut histogram, 4, 2);
        double(&mut histogram, 5, 0.001);
        number(&mut histogram, 6, 2 + step * 2);
        let mut span = Vec::new();
        number(&mut span, 1, 0);
        number(&mut span, 2, 2);
        bytes(&mut histogram, 11, &span);
        let mut deltas = Vec::new();
        // Zigzag: counts of 4(n+1) and 6(n+1).
        crate::remote::varint(&mut deltas, (4 * (step + 1)) << 1);
        crate::remote::varint(&mut deltas, (2 * (step + 1)) << 1);
        bytes(&mut histogram, 12, &deltas);
        number(&mut histogram, 15, (START_MS + step as i64 * 15_000) as u64);
        bytes(&mut fields, 4, &histogram);
    }
    bytes(message, 1, &fields);
}

fn exemplar(message: &mut Vec<u8>, series_labels: &[u8]) {
    let mut fields = series_labels.to_vec();
    let mut sample = Vec::new();
    double(&mut sample, 1, 3.0);
    number(&mut sample, 2, START_MS as u64);
    bytes(&mut fields, 2, &sample);
    let mut exemplar = labels(&[("trace_id", "abc123".to_owned())]);
    double(&mut exemplar, 2, 0.25);
    number(&mut exemplar, 3, START_MS as u64);
    bytes(&mut fields, 3, &exemplar);
    bytes(message, 1, &fields);
}

/// The path with times filled in.
fn path(request: &str) -> String {
    let mut parts = request.split("T+");
    let mut path = parts.next().unwrap().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let seconds: i64 = part[..digits].parse().unwrap();
        write!(path, "{}{}", START_MS / 1000 + seconds, &part[digits..]).unwrap();
    }
    path.replace(' ', "%20").replace('"', "%22").replace('{', "%7B").replace('}', "%7D").replace('>', "%3E")
}

pub async fn get(router: &Router, path: &str) -> (u16, String) {
    let request = ::http::Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

pub async fn post(router: &Router, path: &str, content_type: &str, body: Vec<u8>) -> (u16, String) {
    let request = ::http::Request::post(path).header("Content-Type", content_type).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// An answer with what has no order put in one, and without what tells nothing of us.
fn normal(status: u16, body: &str) -> String {
    let Ok(mut json) = serde_json::from_str::<Value>(body) else { return format!("{status} {}", body.trim_end()) };
    let sort = |list: &mut Value| {
        if let Some(list) = list.as_array_mut().filter(|list| list.iter().all(Value::is_object)) {
            list.sort_by_key(ToString::to_string);
        }
    };
    sort(&mut json["data"]);
    if json["data"].is_object() {
        sort(&mut json["data"]["result"]);
        json["data"].as_object_mut().unwrap().retain(|name, value| name != "result" || !value.is_null());
    }
    json.as_object_mut().unwrap().retain(|name, value| name != "data" || !value.is_null());
    format!("{status} {json}")
}

fn requests() -> impl Iterator<Item = &'static str> {
    REQUESTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[tokio::test]
async fn answers_are_those_of_prometheus() {
    let store = empty_store();
    let router = router(&store);
    let written = post(&router, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    assert_eq!(written, (204, String::new()));
    if let Some(prometheus) = Prometheus::start() {
        prometheus.write(&pack(&message()));
        let mut text = String::new();
        for request in requests() {
            let (status, body) = prometheus.get(&path(request));
            writeln!(text, "{request}\n{}\n", normal(status, &body)).unwrap();
        }
        if std::env::var_os("RECORD").is_some() {
            fs::write(Path::new(GOLDEN), &text).unwrap();
        }
        let golden = fs::read_to_string(GOLDEN).unwrap();
        assert!(golden == text, "the real Prometheus answers otherwise than it did; look with RECORD=1");
    }
    let golden = fs::read_to_string(GOLDEN).unwrap();
    let mut wrong = String::new();
    for case in golden.split("\n\n").filter(|case| !case.trim().is_empty()) {
        let (request, expected) = case.trim().split_once('\n').unwrap();
        let (status, body) = get(&router, &path(request)).await;
        let answer = normal(status, &body);
        if answer.trim_end() != expected {
            writeln!(wrong, "{request}\n  theirs {expected}\n  ours   {answer}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn long_answers_are_packed_and_forms_are_read() {
    let store = empty_store();
    let router = router(&store);
    post(&router, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    let form = format!("query=temperature[1h]&time={}", START_MS / 1000 + 600);
    let request = ::http::Request::post("/api/v1/query?query=ignored")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept-Encoding", "deflate, gzip;q=0.8")
        .body(Body::from(form))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let packed = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let mut text = String::new();
    match packed.as_deref() {
        Some("gzip") => {
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
        }
        other => {
            assert_eq!(other, None);
            text = String::from_utf8(body.to_vec()).unwrap();
        }
    }
    assert!(text.starts_with("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\""), "{text}");
}

#[tokio::test]
async fn series_are_deleted_only_where_that_is_allowed() {
    let store = empty_store();
    let settings = http::Settings { admin: true, ..http::Settings::default() };
    let admin = http::router(store.clone(), Engine::default(), settings);
    post(&admin, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    let delete = "/api/v1/admin/tsdb/delete_series?match[]=temperature";
    let form = "application/x-www-form-urlencoded";
    let (status, body) = post(&router(&store), delete, form, Vec::new()).await;
    assert_eq!(
        (status, body.as_str()),
        (500, r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#)
    );
    let query = path("/api/v1/query?query=temperature&time=T+60");
    assert!(get(&admin, &query).await.1.contains("north"));
    assert_eq!(post(&admin, delete, form, Vec::new()).await, (204, String::new()));
    assert_eq!(post(&admin, "/api/v1/admin/tsdb/clean_tombstones", form, Vec::new()).await, (204, String::new()));
    let expected = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    assert_eq!(get(&admin, &query).await, (200, expected.to_owned()));
}
