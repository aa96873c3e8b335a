//! `/loki/api/v1/push`: JSON, or protocol buffers in snappy.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use coracle_logql::Labels;
use serde::Deserialize;
use serde_json::Value;

use super::{
    body::{is_json, snappy, unpacked},
    error::Failure,
    protobuf::{Malformed, fields},
    tenant,
};
use crate::{
    entry::{Entry, Stream},
    store::Store,
};

pub(super) async fn push(State(store): State<Store>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Failure> {
    let mut streams = if is_json(&headers) {
        from_json(&unpacked(&headers, &body)?)?
    } else {
        // Snappy is part of the format, whether the header says so or not.
        from_protobuf(&snappy(&body)?)?
    };
    if streams.is_empty() {
        return Err(Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "error at least one valid stream is required for ingestion",
        ));
    }
    let tenant = tenant(&headers);
    store.limits(&tenant).discovery.add_to(&mut streams);
    store.push(&tenant, streams).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct JsonPush {
    streams: Vec<JsonStream>,
}

#[derive(Deserialize)]
struct JsonStream {
    stream: std::collections::BTreeMap<String, String>,
    values: Option<Vec<Vec<Value>>>,
}

fn from_json(body: &[u8]) -> Result<Vec<Stream>, Failure> {
    let push: JsonPush = serde_json::from_slice(body).map_err(Failure::bad_request)?;
    let stream = |stream: JsonStream| {
        let entries = stream.values.unwrap_or_default().into_iter().map(json_entry).collect::<Result<_, _>>()?;
        Ok(Stream { labels: Labels::new(stream.stream), entries })
    };
    push.streams.into_iter().map(stream).collect()
}

/// `["nanoseconds", "line"]`, with an object of structured metadata behind it perhaps.
fn json_entry(value: Vec<Value>) -> Result<Entry, Failure> {
    let wrong =
        || Failure::bad_request("a value must be [\"<unix epoch in nanoseconds>\", \"<log line>\", {metadata}]");
    let mut parts = value.into_iter();
    let ts = match parts.next() {
        Some(Value::String(text)) => text.parse().map_err(|_| wrong())?,
        Some(Value::Number(number)) => number.as_i64().ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let Some(Value::String(line)) = parts.next() else { return Err(wrong()) };
    let metadata = match parts.next() {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(pairs)) => pairs
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(value) => Ok((name, value)),
                _ => Err(Failure::bad_request("structured metadata values must be strings")),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(wrong()),
    };
    Ok(Entry { ts, line, metadata: metadata.into() })
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::bad_request(malformed)
    }
}

fn from_protobuf(body: &[u8]) -> Result<Vec<Stream>, Failure> {
    let mut streams = Vec::new();
    for field in fields(body) {
        if let (1, stream) = field? {
            streams.push(protobuf_stream(stream.bytes()?)?);
        }
    }
    Ok(streams)
}

fn protobuf_stream(bytes: &[u8]) -> Result<Stream, Failure> {
    let (mut labels, mut entries) = (String::new(), Vec::new());
    for field in fields(bytes) {
        match field? {
            (1, text) => labels = text.text()?,
            (2, entry) => entries.push(protobuf_entry(entry.bytes()?)?),
            _ => {}
        }
    }
    let parsed = Labels::parse(&labels)
        .map_err(|error| Failure::bad_request(format!("error parsing labels '{labels}' with error: {error}")))?;
    Ok(Stream { labels: parsed, entries })
}

fn protobuf_entry(bytes: &[u8]) -> Result<Entry, Malformed> {
    let (mut ts, mut line, mut metadata) = (0, String::new(), Vec::new());
    for field in fields(bytes) {
        match field? {
            (1, stamp) => ts = protobuf_timestamp(stamp.bytes()?)?,
            (2, text) => line = text.text()?,
            (3, pair) => metadata.push(protobuf_pair(pair.bytes()?)?),
            _ => {}
        }
    }
    Ok(Entry { ts, line, metadata: metadata.into() })
}

fn protobuf_timestamp(bytes: &[u8]) -> Result<i64, Malformed> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in fields(bytes) {
        match field? {
            (1, number) => seconds = number.number() as i64,
            (2, number) => nanos = number.number() as i64,
            _ => {}
        }
    }
    seconds.checked_mul(1_000_000_000).and_then(|ts| ts.checked_add(nanos)).ok_or(Malformed)
}

fn protobuf_pair(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let mut pair = (String::new(), String::new());
    for field in fields(bytes) {
        match field? {
            (1, name) => pair.0 = name.text()?,
            (2, value) => pair.1 = value.text()?,
            _ => {}
        }
    }
    Ok(pair)
}
