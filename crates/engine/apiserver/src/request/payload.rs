//! A request's body: read within bounds of size and time, then decoded from JSON or YAML.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::status::Failure;

/// What upstream takes at most, and so do we.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
const SLOWEST: Duration = Duration::from_secs(34);
/// Nesting beyond this is nobody's object; serde_json stops at 128 by itself.
const DEEPEST_YAML: usize = 128;

/// Reads the whole body.
pub async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
{
    if body.size_hint().lower() > LIMIT_BYTES as u64 {
        return Err(Failure::too_large(LIMIT_BYTES));
    }
    tokio::time::timeout(SLOWEST, collect(body)).await.map_err(|_| Failure::slow_body())?
}

async fn collect<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > LIMIT_BYTES {
            return Err(Failure::too_large(LIMIT_BYTES));
        }
        // Most bodies are one frame: that one is kept without a copy.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// `Content-Type` without its parameters; JSON where it is absent.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        media_type => media_type,
    }
}

/// The body as JSON text: YAML is converted, so that what follows has one format to look at.
pub fn to_json(bytes: Bytes, media_type: &str) -> Result<Bytes, Failure> {
    match media_type {
        "application/json" | "*/*" => Ok(bytes),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml_to_json(&bytes),
        _ => Err(Failure::unsupported_media_type("application/json, application/yaml")),
    }
}

/// YAML (of which JSON is a part) to JSON text.
pub fn yaml_to_json(bytes: &[u8]) -> Result<Bytes, Failure> {
    let wrong = |why: String| Failure::bad_request(format!("error converting YAML to JSON: {why}"));
    if let Ok(text) = serde_json::from_slice::<&serde_json::value::RawValue>(bytes) {
        return Ok(Bytes::copy_from_slice(text.get().as_bytes()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let value: Value = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if depth(&value, 0) > DEEPEST_YAML {
        return Err(wrong("exceeded max depth".to_owned()));
    }
    serde_json::to_vec(&value).map(Bytes::from).map_err(|error| wrong(error.to_string()))
}

fn depth(value: &Value, so_far: usize) -> usize {
    match value {
        _ if so_far > DEEPEST_YAML => so_far,
        Value::Array(items) => items.iter().map(|item| depth(item, so_far + 1)).max().unwrap_or(so_far),
        Value::Object(map) => map.values().map(|item| depth(item, so_far + 1)).max().unwrap_or(so_far),
        _ => so_far,
    }
}

/// Decodes JSON text.
pub fn decode(bytes: &[u8]) -> Result<Value, Failure> {
    if bytes.is_empty() {
        return Err(Failure::bad_request("the body of the request was empty"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::bad_request(format!("the object provided is unrecognized (must be of type JSON): {error}"))
    })
}
