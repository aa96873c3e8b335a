//! Representations: tables, metadata alone, YAML, compressed; and what is refused.

use std::io::Read;

use coracle_apiserver::{Server, User};
use expect_test::{Expect, expect};
use http::Request;
use http_body_util::{BodyExt, Full};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{client, server};

struct Answered {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.to_owned().into())).unwrap();
    let answer = server.client_service(User::engine()).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answered { status: parts.status.as_u16(), headers: parts.headers, body }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

async fn with_maps(count: usize) -> Server {
    let server = server().await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client(&server));
    for number in 0..count {
        let map = json!({"metadata": {"name": format!("m{number:04}")}, "data": {"k": "v".repeat(500)}});
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
    server
}

#[tokio::test]
async fn tables_and_metadata() {
    let server = with_maps(1).await;
    let table = ask(&server, "GET", MAPS, &[("accept", TABLE)], "").await.json();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!((&table["kind"], &cells[..2]), (&json!("Table"), &[json!("m0000"), json!(1)][..]));
    let partial = ask(&server, "GET", &format!("{MAPS}/m0000"), &[("accept", PARTIAL)], "").await.json();
    assert_eq!(partial.as_object().unwrap().keys().collect::<Vec<_>>(), ["apiVersion", "kind", "metadata"]);
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table_only = TABLE.split(',').next().unwrap();
    assert_eq!(ask(&server, "POST", path, &[("accept", table_only)], &review).await.status, 406);
}

#[tokio::test]
async fn yaml_both_ways() {
    let server = server().await;
    let yaml = "metadata:\n  name: doc\n  labels: {a: b}\ndata:\n  k: |\n    two\n    lines\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = ask(&server, "POST", MAPS, &headers, yaml).await;
    assert_eq!(
        (made.status, made.headers["content-type"].to_str().unwrap()),
        (201, "application/yaml"),
        "{}",
        made.text()
    );
    assert!(made.text().contains("k: |\n    two\n    lines"), "{}", made.text());
}

#[tokio::test]
async fn large_lists_are_compressed_and_whole() {
    let server = with_maps(300).await;
    let plain = ask(&server, "GET", MAPS, &[], "").await;
    assert_eq!(plain.headers["content-length"].to_str().unwrap(), plain.body.len().to_string());
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 300);
    let packed = ask(&server, "GET", MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"].to_str().unwrap(), "gzip");
    assert!(
        packed
            .headers
            .get("content-length")
            .is_none_or(|length| length.to_str().unwrap() == packed.body.len().to_string())
    );
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn dry_runs_write_nothing() {
    let server = server().await;
    let map = json!({"metadata": {"name": "d"}}).to_string();
    let made = ask(&server, "POST", &format!("{MAPS}?dryRun=All"), &[], &map).await;
    assert_eq!((made.status, made.json()["metadata"]["uid"].is_string()), (201, true));
    assert_eq!(ask(&server, "GET", &format!("{MAPS}/d"), &[], "").await.status, 404);
    ask(&server, "POST", MAPS, &[], &map).await;
    let patch = [("content-type", "application/merge-patch+json")];
    let dry = ask(&server, "PATCH", &format!("{MAPS}/d?dryRun=All"), &patch, "{\"data\":{\"a\":\"b\"}}").await.json();
    assert_eq!(dry["data"]["a"], "b");
    assert_eq!(ask(&server, "DELETE", &format!("{MAPS}/d?dryRun=All"), &[], "").await.status, 200);
    assert!(ask(&server, "GET", &format!("{MAPS}/d"), &[], "").await.json()["data"].is_null());
}

#[tokio::test]
async fn field_validation_warns_or_refuses() {
    let server = server().await;
    let check = |mode: &'static str, expected: Expect| {
        let server = server.clone();
        async move {
            let map = format!(
                "{{\"metadata\": {{\"name\": \"{}\"}}, \"data\": {{\"a\": \"1\", \"a\": \"2\"}}, \"extra\": 1}}",
                mode.to_lowercase()
            );
            let answer = ask(&server, "POST", &format!("{MAPS}?fieldValidation={mode}"), &[], &map).await;
            let warnings: Vec<&str> =
                answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            expected.assert_eq(&format!("{} {warnings:?} {message}", answer.status));
        }
    };
    check("Ignore", expect![[r#"201 [] "#]]).await;
    check(
        "Warn",
        expect![[r#"201 ["299 - \"duplicate field \\\"data.a\\\"\"", "299 - \"unknown field \\\"extra\\\"\""] "#]],
    )
    .await;
    check("Strict", expect![[r#"400 [] ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data.a", unknown field "extra""#]]).await;
}

#[tokio::test]
async fn events_are_served_under_both_groups() {
    let server = server().await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "message": "m", "type": "Normal"});
    let made = ask(&server, "POST", "/api/v1/namespaces/default/events", &[], &event.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let other = ask(&server, "GET", "/apis/events.k8s.io/v1/namespaces/default/events/e", &[], "").await.json();
    assert_eq!(
        (&other["apiVersion"], &other["note"], &other["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("m"), &json!("p"))
    );
    let selected = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,type%3DNormal";
    assert_eq!(ask(&server, "GET", selected, &[], "").await.json()["items"].as_array().unwrap().len(), 1);
    let refused = ask(&server, "GET", "/api/v1/namespaces/default/configmaps?fieldSelector=data.k%3Dv", &[], "").await;
    assert_eq!((refused.status, refused.json()["message"].as_str()), (400, Some("field label not supported: data.k")));
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[tokio::test]
async fn protobuf_answers() {
    let server = with_maps(2).await;
    let one = ask(&server, "GET", &format!("{MAPS}/m0000"), &[("accept", PROTOBUF)], "").await;
    assert_eq!((one.status, one.headers["content-type"].to_str().unwrap()), (200, PROTOBUF));
    let kind = coracle_schema::kinds::find("", "v1", "configmaps").unwrap();
    let read = |bytes: &[u8]| coracle_schema::protobuf::object(bytes, kind.schema.root()).unwrap();
    assert_eq!(read(&one.body), ask(&server, "GET", &format!("{MAPS}/m0000"), &[], "").await.json());
    let list = ask(&server, "GET", MAPS, &[("accept", PROTOBUF)], "").await;
    let json = ask(&server, "GET", MAPS, &[], "").await;
    assert_eq!(list.body, coracle_schema::protobuf::document(&json.body).unwrap());
    let missing = ask(&server, "GET", &format!("{MAPS}/none"), &[("accept", PROTOBUF)], "").await;
    assert_eq!((missing.status, &missing.body[..4]), (404, &b"k8s\0"[..]));
    let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let names = ask(&server, "GET", MAPS, &[("accept", partial)], "").await;
    assert!(names.body.len() < list.body.len() - 900, "the data is left out");
    let custom = ask(&server, "GET", "/version", &[("accept", PROTOBUF)], "").await;
    assert_eq!(custom.headers["content-type"].to_str().unwrap(), "application/json");
}

#[tokio::test]
async fn protobuf_watches_are_framed() {
    let server = with_maps(1).await;
    let path = format!("{MAPS}?watch=1&timeoutSeconds=1");
    let stream = ask(&server, "GET", &path, &[("accept", PROTOBUF)], "").await;
    assert_eq!(stream.headers["content-type"].to_str().unwrap(), "application/vnd.kubernetes.protobuf;stream=watch");
    let length = u32::from_be_bytes(stream.body[..4].try_into().unwrap()) as usize;
    assert_eq!(stream.body.len(), 4 + length);
    assert_eq!(&stream.body[4..11], b"\x0a\x05ADDED");
    let object = ask(&server, "GET", &format!("{MAPS}/m0000"), &[("accept", PROTOBUF)], "").await.body;
    assert!(stream.body.ends_with(&object));
}
