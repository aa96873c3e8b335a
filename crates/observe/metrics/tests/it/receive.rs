//! The ways in: both versions of remote write, OpenTelemetry in both encodings; and remote read, the way out.

use axum::{Router, body::Body};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;

use crate::{
    START_MS,
    api::{empty_store, get, message, post, router},
    remote::{bytes, double, labels, number, pack, series, varint},
};

const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn at() -> String {
    (START_MS / 1000).to_string()
}

async fn query(router: &Router, expression: &str) -> String {
    let (status, body) = get(router, &format!("/api/v1/query?time={}&query={expression}", at())).await;
    assert_eq!(status, 200, "{body}");
    body.split_once("\"result\":").unwrap().1.trim_end_matches("}}").to_owned()
}

/// A message of version 2 with a float, metadata and an exemplar.
fn version_2() -> Vec<u8> {
    let mut request = Vec::new();
    for symbol in ["", "__name__", "second_total", "job", "v2", "counts things", "seconds", "trace", "xyz"] {
        bytes(&mut request, 4, symbol.as_bytes());
    }
    let mut fields = Vec::new();
    bytes(&mut fields, 1, &[1, 2, 3, 4]);
    let mut sample = Vec::new();
    double(&mut sample, 1, 12.5);
    number(&mut sample, 2, START_MS as u64);
    bytes(&mut fields, 2, &sample);
    let mut exemplar = Vec::new();
    bytes(&mut exemplar, 1, &[7, 8]);
    double(&mut exemplar, 2, 1.0);
    number(&mut exemplar, 3, START_MS as u64);
    bytes(&mut fields, 4, &exemplar);
    let mut metadata = Vec::new();
    number(&mut metadata, 1, 1);
    number(&mut metadata, 3, 5);
    number(&mut metadata, 4, 6);
    bytes(&mut fields, 5, &metadata);
    bytes(&mut request, 5, &fields);
    request
}

#[tokio::test]
async fn version_2_is_taken_in_and_counted() {
    let store = empty_store();
    let router = router(&store);
    let request =
        ::http::Request::post("/api/v1/write").header("Content-Type", V2).body(Body::from(pack(&version_2())));
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let written = |name: &str| response.headers()[&format!("x-prometheus-remote-write-{name}-written")].clone();
    assert_eq!(response.status(), 204);
    assert_eq!(
        (written("samples"), written("histograms"), written("exemplars")),
        ("1".parse().unwrap(), "0".parse().unwrap(), "1".parse().unwrap())
    );
    let result = query(&router, "second_total").await;
    assert_eq!(result, r#"[{"metric":{"__name__":"second_total","job":"v2"},"value":[1700000000,"12.5"]}]"#);
    let (_, metadata) = get(&router, "/api/v1/metadata").await;
    assert_eq!(
        metadata,
        r#"{"status":"success","data":{"second_total":[{"help":"counts things","type":"counter","unit":"seconds"}]}}"#
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let store = empty_store();
    let router = router(&store);
    let protobuf = "application/x-protobuf";
    let (status, body) = post(&router, "/api/v1/write", "text/plain", Vec::new()).await;
    assert_eq!((status, body.starts_with("expected application/x-protobuf")), (415, true), "{body}");
    assert_eq!(post(&router, "/api/v1/write", protobuf, vec![1, 2, 3]).await.0, 400);
    assert_eq!(post(&router, "/api/v1/write", protobuf, pack(&[0xff; 10])).await.0, 400);
    assert_eq!(post(&router, "/api/v1/write", protobuf, pack(&message())).await.0, 204);
    let mut late = Vec::new();
    let pairs = labels(&[("__name__", "ended".to_owned()), ("job", "lab".to_owned())]);
    series(&mut late, &pairs, &[(START_MS - 1000, 5.0)]);
    let (status, body) = post(&router, "/api/v1/write", protobuf, pack(&late)).await;
    assert_eq!(status, 400);
    assert_eq!(body, "out of order sample (series {__name__=\"ended\", job=\"lab\"})\n");
    // Only says that it is 100 GiB.
    let mut bomb = Vec::new();
    varint(&mut bomb, 100 << 30);
    let (status, body) = post(&router, "/api/v1/write", protobuf, bomb).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn opentelemetry_becomes_series() {
    let store = empty_store();
    let router = router(&store);
    let time = format!("{}000000", START_MS);
    let attributes = r#"[{"key":"http.method","value":{"stringValue":"GET"}}]"#;
    let request = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"shop"}}}},
            {{"key":"service.instance.id","value":{{"stringValue":"shop-1"}}}},
            {{"key":"host.name","value":{{"stringValue":"node-1"}}}}]}},
        "scopeMetrics":[{{"metrics":[
            {{"name":"http.requests","unit":"1","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
                {{"asInt":"7","timeUnixNano":"{time}","attributes":{attributes}}}]}}}},
            {{"name":"latency","unit":"s","histogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"count":"3","sum":1.5,"bucketCounts":["1","2"],"explicitBounds":[0.5],"timeUnixNano":"{time}",
                  "exemplars":[{{"asDouble":0.75,"timeUnixNano":"{time}","traceId":"0AF7651916CD43DD","spanId":"b7ad6b71",
                    "filteredAttributes":[{{"key":"user","value":{{"stringValue":"ada"}}}}]}}]}}]}}}},
            {{"name":"sizes","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"count":"3","sum":6,"scale":0,"zeroCount":"0","positive":{{"offset":0,"bucketCounts":["1","0","2"]}},
                  "timeUnixNano":"{time}"}}]}}}}
        ]}}]}}]}}"#
    );
    let taken = post(&router, "/api/v1/otlp/v1/metrics", "application/json", request.into_bytes()).await;
    assert_eq!(taken, (200, "{}".to_owned()));
    let result = query(&router, "http_requests_total").await;
    assert_eq!(
        result,
        r#"[{"metric":{"__name__":"http_requests_total","http_method":"GET","instance":"shop-1","job":"shop"},"value":[1700000000,"7"]}]"#
    );
    assert_eq!(query(&router, "latency_seconds_bucket%7Ble=%220.5%22%7D").await.matches("\"1\"").count(), 1);
    assert!(query(&router, "target_info").await.contains("\"host_name\":\"node-1\""));
    let (_, exemplars) =
        get(&router, "/api/v1/query_exemplars?query=latency_seconds_bucket&start=1&end=1800000000").await;
    let labels = r#""labels":{"span_id":"b7ad6b71","trace_id":"0af7651916cd43dd","user":"ada"},"value":"0.75""#;
    assert!(exemplars.contains(labels) && exemplars.contains(r#""le":"+Inf""#), "{exemplars}");
    let sizes = query(&router, "sizes").await;
    assert!(sizes.contains(r#""count":"3","sum":"6","buckets":[[0,"1","2","1"],[0,"4","8","2"]]"#), "{sizes}");
}

#[tokio::test]
async fn opentelemetry_on_the_wire_is_the_same() {
    let store = empty_store();
    let router = router(&store);
    let wrap = |number: u8, message: Vec<u8>| {
        let mut outer = Vec::new();
        bytes(&mut outer, number, &message);
        outer
    };
    let mut point = Vec::new();
    point.push(3 << 3 | 1);
    point.extend_from_slice(&(START_MS as u64 * 1_000_000).to_le_bytes());
    double(&mut point, 4, 0.5);
    let mut metric = Vec::new();
    bytes(&mut metric, 1, b"load");
    bytes(&mut metric, 3, b"1");
    bytes(&mut metric, 5, &wrap(1, point));
    let request = wrap(1, wrap(2, wrap(2, metric)));
    let taken = post(&router, "/api/v1/otlp/v1/metrics", "application/x-protobuf", request).await;
    assert_eq!(taken, (200, String::new()));
    assert_eq!(
        query(&router, "load_ratio").await,
        r#"[{"metric":{"__name__":"load_ratio"},"value":[1700000000,"0.5"]}]"#
    );
}

/// The type and the body of remote read's answer.
async fn read_remotely(router: &axum::Router, request: &[u8]) -> (String, axum::body::Bytes) {
    let request = ::http::Request::post("/api/v1/read").body(Body::from(pack(request))).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn remote_read_streams_chunks_to_those_who_take_them() {
    let store = empty_store();
    let router = router(&store);
    post(&router, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    let mut matcher = Vec::new();
    bytes(&mut matcher, 2, b"job");
    bytes(&mut matcher, 3, b"web");
    let mut read = Vec::new();
    number(&mut read, 1, 0);
    number(&mut read, 2, START_MS as u64 * 2);
    bytes(&mut read, 3, &matcher);
    let mut request = Vec::new();
    bytes(&mut request, 1, &read);
    bytes(&mut request, 2, &[1, 0]);
    let (kind, body) = read_remotely(&router, &request).await;
    assert_eq!(kind, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    // Seven series, a frame each, their lengths below 16 KiB.
    let (mut rest, mut frames) = (&body[..], 0);
    while !rest.is_empty() {
        let (len, head) = match rest {
            [low, high, ..] if *low >= 0x80 => (usize::from(low & 0x7f) | usize::from(*high) << 7, 2),
            _ => (usize::from(rest[0]), 1),
        };
        let checksum = u32::from_be_bytes(rest[head..head + 4].try_into().unwrap());
        let content = &rest[head + 4..head + 4 + len];
        assert_eq!(checksum, crc32c::crc32c(content));
        rest = &rest[head + 4 + len..];
        frames += 1;
    }
    assert_eq!(frames, 7);
}

#[tokio::test]
async fn remote_read_gives_samples() {
    let store = empty_store();
    let router = router(&store);
    post(&router, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    let mut matcher = Vec::new();
    bytes(&mut matcher, 2, b"__name__");
    bytes(&mut matcher, 3, b"requests_total");
    let mut read = Vec::new();
    number(&mut read, 1, START_MS as u64);
    number(&mut read, 2, START_MS as u64 + 60_000);
    bytes(&mut read, 3, &matcher);
    let mut request = Vec::new();
    bytes(&mut request, 1, &read);
    let (kind, body) = read_remotely(&router, &request).await;
    assert_eq!(kind, "application/x-protobuf");
    let answer = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let mut series_message = Vec::new();
    let pairs = |instance: &str| {
        let pairs = [("__name__", "requests_total"), ("code", "200"), ("instance", instance), ("job", "web")];
        labels(&pairs.map(|(name, value)| (name, value.to_owned())))
    };
    let samples: Vec<(i64, f64)> = (0..5).map(|step| (START_MS + step * 15_000, (step * 7) as f64)).collect();
    series(&mut series_message, &pairs("a:80"), &samples);
    series(&mut series_message, &pairs("b:80"), &samples);
    let mut expected = Vec::new();
    bytes(&mut expected, 1, &series_message);
    assert_eq!(answer, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_body_is_taken_in_or_refused(noise in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = empty_store();
            let router = router(&store);
            for (content_type, whole) in [("application/x-protobuf", message()), (V2, version_2())] {
                let mut body = whole.clone();
                let from = at.index(body.len());
                for (offset, byte) in noise.iter().enumerate() {
                    if let Some(place) = body.get_mut(from + offset) {
                        *place = *byte;
                    }
                }
                let (status, answer) = post(&router, "/api/v1/write", content_type, pack(&body)).await;
                prop_assert!([204, 400, 422].contains(&status), "{status} {answer}");
                let (status, answer) = post(&router, "/api/v1/otlp/v1/metrics", "application/x-protobuf", body).await;
                prop_assert!([200, 400, 422].contains(&status), "{status} {answer}");
            }
            Ok(())
        })?;
    }
}
