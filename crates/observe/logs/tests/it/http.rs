//! Loki's interface: shapes of answers and errors.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use coracle_disk::MemoryDisk;
use coracle_logs::{Options, Store, http::router};
use expect_test::{Expect, expect};
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::clock;

async fn service() -> (Router, Store) {
    let store = Store::open_on(Arc::new(MemoryDisk::new()), Options::default(), Arc::new(clock())).unwrap();
    let app = router(store.clone());
    let push = json!({"streams": [
        {"stream": {"app": "shop", "env": "dev"}, "values": [
            ["990000000000", "level=info msg=one"],
            ["991000000000", "level=warn msg=two", {"trace": "t1"}],
        ]},
        {"stream": {"app": "cart"}, "values": [["992000000000", "three 7"]]},
    ]});
    let (status, body) =
        send(&app, "POST", "/loki/api/v1/push", Some(("application/json", push.to_string().into_bytes()))).await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    (app, store)
}

pub async fn send(app: &Router, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some((kind, _)) = &body {
        request = request.header(header::CONTENT_TYPE, *kind);
    }
    let request = request.body(Body::from(body.map(|(_, bytes)| bytes).unwrap_or_default())).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

/// A question, with what it took left out of the answer.
async fn check(app: &Router, path: &str, expected: Expect) {
    let (status, body) = send(
        app,
        "GET",
        &path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22").replace(' ', "%20").replace('|', "%7C"),
        None,
    )
    .await;
    let shown = match serde_json::from_str::<Value>(&body) {
        Ok(mut answer) => {
            if let Some(data) = answer.get_mut("data").and_then(Value::as_object_mut) {
                data.remove("stats");
            }
            answer.to_string()
        }
        Err(_) => body,
    };
    expected.assert_eq(&format!("{} {shown}", status.as_u16()));
}

#[tokio::test]
async fn queries() {
    let (app, _store) = service().await;
    check(&app, r#"/loki/api/v1/query_range?query={app="shop"}&start=900&end=1000"#, expect![[r#"200 {"data":{"result":[{"stream":{"app":"shop","detected_level":"info","env":"dev","service_name":"shop"},"values":[["990000000000","level=info msg=one"]]},{"stream":{"app":"shop","detected_level":"warn","env":"dev","service_name":"shop","trace":"t1"},"values":[["991000000000","level=warn msg=two"]]}],"resultType":"streams"},"status":"success"}"#]]).await;
    check(&app, r#"/loki/api/v1/query_range?query={app=~".%2B"}&start=900&end=1000&limit=1&direction=forward"#, expect![[r#"200 {"data":{"result":[{"stream":{"app":"shop","detected_level":"info","env":"dev","service_name":"shop"},"values":[["990000000000","level=info msg=one"]]}],"resultType":"streams"},"status":"success"}"#]]).await;
    check(&app, r#"/loki/api/v1/query?query=sum by (app) (count_over_time({app=~".%2B"}[1m]))&time=1000"#, expect![[r#"200 {"data":{"result":[{"metric":{"app":"cart"},"value":[1000,"1"]},{"metric":{"app":"shop"},"value":[1000,"2"]}],"resultType":"vector"},"status":"success"}"#]]).await;
    check(&app, r#"/loki/api/v1/query_range?query=count_over_time({app="cart"}[5s])&start=990&end=1000&step=5"#, expect![[r#"200 {"data":{"result":[{"metric":{"app":"cart","detected_level":"unknown","service_name":"cart"},"values":[[995,"1"]]}],"resultType":"matrix"},"status":"success"}"#]]).await;
    check(
        &app,
        "/loki/api/v1/query?query=1%2B1&time=1000.5",
        expect![[r#"200 {"data":{"result":[1000.5,"2"],"resultType":"scalar"},"status":"success"}"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/query?query=count_over_time({app="none"}[5s])"#,
        expect![[r#"200 {"data":{"result":[],"resultType":"vector"},"status":"success"}"#]],
    )
    .await;
}

#[tokio::test]
async fn labels_apart() {
    let (app, _store) = service().await;
    let request = Request::builder()
        .uri("/loki/api/v1/query_range?query=%7Bapp%3D%22shop%22%7D%7Clogfmt%20level&start=900&end=1000&direction=forward")
        .header("X-Loki-Response-Encoding-Flags", "categorize-labels")
        .body(Body::empty())
        .unwrap();
    let bytes = app.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
    answer["data"].as_object_mut().unwrap().remove("stats");
    expect![[r#"{"data":{"encodingFlags":["categorize-labels"],"result":[{"stream":{"app":"shop","env":"dev","service_name":"shop"},"values":[["990000000000","level=info msg=one",{"parsed":{"level":"info"},"structuredMetadata":{"detected_level":"info"}}],["991000000000","level=warn msg=two",{"parsed":{"level":"warn"},"structuredMetadata":{"detected_level":"warn","trace":"t1"}}]]}],"resultType":"streams"},"status":"success"}"#]]
    .assert_eq(&answer.to_string());
}

#[tokio::test]
async fn errors() {
    let (app, _store) = service().await;
    check(
        &app,
        "/loki/api/v1/query_range?query={app=",
        expect![[r#"400 parse error at line 1, col 6: syntax error: unexpected $end, expecting STRING"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/query?query={app="shop"}"#,
        expect![
            "400 log queries are not supported as an instant query type, please change your query to a range query type"
        ],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/query_range?query={app="shop"}&start=10&end=5"#,
        expect!["400 end timestamp must not be before or equal to start time"],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/query_range?query={app="shop"}&limit=0"#,
        expect!["400 limit must be a positive value"],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/query_range?query={app="shop"}&limit=99999"#,
        expect!["400 max entries limit per query exceeded, limit > max_entries_limit_per_query (99999 > 5000)"],
    )
    .await;
    check(&app, r#"/loki/api/v1/query_range?query={app="shop"}&direction=up"#, expect!["400 invalid direction 'up'"])
        .await;
    check(&app, r#"/loki/api/v1/query_range?query=rate({app="shop"}[1m])&start=0&end=1000&step=0.01"#, expect!["400 exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter"]).await;
    check(
        &app,
        r#"/loki/api/v1/query_range?query=rate({app="shop"}[1m])&step=0"#,
        expect!["400 zero or negative query resolution step widths are not accepted. Try a positive integer"],
    )
    .await;
    check(&app, r#"/loki/api/v1/query?query=sum_over_time({app="cart"} | unwrap app[1m])&time=1000"#, expect![[r#"
        400 pipeline error: 'SampleExtractionErr' for series: '{__error__="SampleExtractionErr", __error_details__="strconv.ParseFloat: parsing \"cart\": invalid syntax", app="cart", detected_level="unknown", service_name="cart"}'.
        Use a label filter to intentionally skip this error. (e.g | __error__!="SampleExtractionErr").
        To skip all potential errors you can match empty errors.(e.g __error__="")
        The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__="" )
    "#]]).await;
    check(&app, "/loki/api/v1/series", expect!["400 0 matcher groups supplied"]).await;
    let wrong = send(&app, "POST", "/loki/api/v1/push", Some(("application/json", b"{\"streams\":[]}".to_vec()))).await;
    assert_eq!(
        wrong,
        (StatusCode::UNPROCESSABLE_ENTITY, "error at least one valid stream is required for ingestion".to_owned())
    );
}

#[tokio::test]
async fn what_there_is() {
    let (app, _store) = service().await;
    check(
        &app,
        "/loki/api/v1/labels?start=900&end=1000",
        expect![[r#"200 {"data":["app","env","service_name"],"status":"success"}"#]],
    )
    .await;
    check(
        &app,
        "/loki/api/v1/label/app/values?start=900&end=1000",
        expect![[r#"200 {"data":["cart","shop"],"status":"success"}"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/label/app/values?start=900&end=1000&query={env="dev"}"#,
        expect![[r#"200 {"data":["shop"],"status":"success"}"#]],
    )
    .await;
    check(&app, "/loki/api/v1/labels?start=1&end=2", expect![[r#"200 {"status":"success"}"#]]).await;
    check(
        &app,
        r#"/loki/api/v1/series?match[]={app="shop"}&start=900&end=1000"#,
        expect![[r#"200 {"data":[{"app":"shop","env":"dev","service_name":"shop"}],"status":"success"}"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/index/stats?query={app="shop"}&start=900&end=1000"#,
        expect![[r#"200 {"bytes":79,"chunks":1,"entries":2,"streams":1}"#]],
    )
    .await;
    check(&app, r#"/loki/api/v1/index/volume?query={app=~".%2B"}&start=900&end=1000"#, expect![[r#"200 {"data":{"result":[{"metric":{"app":"shop"},"value":[1000.0,"79"]},{"metric":{"app":"cart"},"value":[1000.0,"28"]}],"resultType":"vector"},"status":"success"}"#]]).await;
    check(&app, r#"/loki/api/v1/index/volume_range?query={app="cart"}&start=980&end=1000&step=10"#, expect![[r#"200 {"data":{"result":[{"metric":{"app":"cart"},"values":[[990.0,"28"]]}],"resultType":"matrix"},"status":"success"}"#]]).await;
    check(
        &app,
        "/loki/api/v1/detected_labels?start=900&end=1000",
        expect![[r#"200 {"detectedLabels":[{"cardinality":2,"label":"app"},{"cardinality":1,"label":"env"},{"cardinality":2,"label":"service_name"}]}"#]],
    )
    .await;
    check(&app, r#"/loki/api/v1/detected_fields?query={app="shop"}&start=900&end=1000"#, expect![[r#"200 {"fields":[{"cardinality":2,"label":"detected_level","parsers":[],"type":"string"},{"cardinality":2,"label":"level","parsers":["logfmt"],"type":"string"},{"cardinality":2,"label":"msg","parsers":["logfmt"],"type":"string"},{"cardinality":1,"label":"trace","parsers":[],"type":"string"}],"limit":1000}"#]]).await;
    check(
        &app,
        r#"/loki/api/v1/detected_field/level/values?query={app="shop"}&start=900&end=1000"#,
        expect![[r#"200 {"limit":1000,"values":["info","warn"]}"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/patterns?query={app="shop"}&start=900&end=1000&step=10"#,
        expect![[r#"200 {"data":[{"pattern":"level=info msg=one","samples":[[990,1]]},{"pattern":"level=warn msg=two","samples":[[990,1]]}],"status":"success"}"#]],
    )
    .await;
    check(
        &app,
        r#"/loki/api/v1/format_query?query={ app="shop"  }"#,
        expect![[r#"200 {"data":"{app=\"shop\"}","status":"success"}"#]],
    )
    .await;
    check(
        &app,
        "/ready",
        expect![[r#"
        200 ready
    "#]],
    )
    .await;
}

/// A field of a protocol buffer.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![(number << 3 | 2) as u8, bytes.len() as u8];
    message.extend_from_slice(bytes);
    message
}

pub fn number(field: u64, mut value: u64) -> Vec<u8> {
    let mut message = vec![(field << 3) as u8];
    while value >= 0x80 {
        message.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
    message
}

#[tokio::test]
async fn protocol_buffers_in_snappy() {
    let (app, _store) = service().await;
    let pair = [field(1, b"user"), field(2, b"u1")].concat();
    let entry =
        [field(1, &[number(1, 995), number(2, 5)].concat()), field(2, b"by protobuf"), field(3, &pair)].concat();
    let stream = [field(1, br#"{app="proto"}"#), field(2, &entry)].concat();
    let body = snap::raw::Encoder::new().compress_vec(&field(1, &stream)).unwrap();
    let (status, _) = send(&app, "POST", "/loki/api/v1/push", Some(("application/x-protobuf", body))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    check(&app, r#"/loki/api/v1/query_range?query={app="proto"}&start=900&end=1000"#, expect![[r#"200 {"data":{"result":[{"stream":{"app":"proto","detected_level":"unknown","service_name":"proto","user":"u1"},"values":[["995000000005","by protobuf"]]}],"resultType":"streams"},"status":"success"}"#]]).await;
    let stream = [field(1, b"{app=}"), field(2, &entry)].concat();
    let body = snap::raw::Encoder::new().compress_vec(&field(1, &stream)).unwrap();
    let (status, told) = send(&app, "POST", "/loki/api/v1/push", Some(("application/x-protobuf", body))).await;
    assert_eq!(
        (status.as_u16(), told.as_str()),
        (400, "error parsing labels '{app=}' with error: expected a quoted value at offset 5")
    );
}

#[tokio::test]
async fn opentelemetry() {
    let (app, _store) = service().await;
    let logs = json!({"resourceLogs": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "otel"}},
            {"key": "host.name", "value": {"stringValue": "h1"}},
        ]},
        "scopeLogs": [{"scope": {"name": "lib"}, "logRecords": [{
            "timeUnixNano": "996000000000", "severityNumber": 9, "severityText": "INFO",
            "body": {"stringValue": "by otel"},
            "attributes": [{"key": "http.method", "value": {"stringValue": "GET"}}, {"key": "n", "value": {"intValue": "5"}}],
            "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736",
        }]}],
    }]});
    let (status, _) =
        send(&app, "POST", "/otlp/v1/logs", Some(("application/json", logs.to_string().into_bytes()))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    check(&app, r#"/loki/api/v1/query_range?query={service_name="otel"}&start=900&end=1000"#, expect![[r#"200 {"data":{"result":[{"stream":{"detected_level":"info","host_name":"h1","http_method":"GET","n":"5","scope_name":"lib","service_name":"otel","severity_number":"9","severity_text":"INFO","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"},"values":[["996000000000","by otel"]]}],"resultType":"streams"},"status":"success"}"#]]).await;
    let attribute = |key: &str, value: &str| [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat();
    let resource = field(1, &attribute("service.name", "otel2"));
    let record = [
        vec![1 << 3 | 1],
        997_000_000_000_u64.to_le_bytes().to_vec(),
        field(5, &field(1, b"binary")),
        field(6, &attribute("k", "v")),
    ]
    .concat();
    let body = field(1, &[field(1, &resource), field(2, &field(2, &record))].concat());
    let (status, _) = send(&app, "POST", "/otlp/v1/logs", Some(("application/x-protobuf", body))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    check(&app, r#"/loki/api/v1/query_range?query={service_name="otel2"}&start=900&end=1000"#, expect![[r#"200 {"data":{"result":[{"stream":{"detected_level":"unknown","k":"v","service_name":"otel2"},"values":[["997000000000","binary"]]}],"resultType":"streams"},"status":"success"}"#]]).await;
}

#[tokio::test]
async fn tail_gives_what_comes() {
    let (app, store) = service().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = coracle_tasks::spawn("server", async move { axum::serve(listener, app).await });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/loki/api/v1/tail?query=%7Bapp%3D%22shop%22%7D%7C%3D%22msg%22&start=900");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let next = async |socket: &mut tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>| {
        let message =
            tokio::time::timeout(std::time::Duration::from_secs(20), socket.next()).await.unwrap().unwrap().unwrap();
        let body: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        body["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["values"].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        next(&mut socket).await,
        r#"[["990000000000","level=info msg=one"]] [["991000000000","level=warn msg=two"]]"#
    );
    let lines = [
        crate::stream(r#"{app="shop"}"#, &[(999, "msg=new"), (998, "other")]),
        crate::stream(r#"{app="cart"}"#, &[(999, "msg=no")]),
    ];
    store.push("fake", lines.to_vec()).await.unwrap();
    assert_eq!(next(&mut socket).await, r#"[["999000000000","msg=new"]]"#);
    socket.close(None).await.unwrap();
    drop(socket.flush().await);
    server.abort();
}
