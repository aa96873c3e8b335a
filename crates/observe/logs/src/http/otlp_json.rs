//! OpenTelemetry's logs as JSON: 64-bit numbers may be texts, identifiers are hexadecimal.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    error::Failure,
    otlp::{Attributes, Record, Resource, Scope, Value},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Logs {
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResourceLogs {
    resource: Attributed,
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ScopeLogs {
    scope: Attributed,
    log_records: Vec<LogRecord>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Attributed {
    name: String,
    version: String,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Json,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LogRecord {
    time_unix_nano: Json,
    observed_time_unix_nano: Json,
    severity_number: Json,
    severity_text: String,
    body: Option<Json>,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Json,
    flags: Json,
    trace_id: String,
    span_id: String,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: Json,
}

pub(super) fn resources(body: &[u8]) -> Result<Vec<Resource>, Failure> {
    let logs: Logs = serde_json::from_slice(body).map_err(Failure::bad_request)?;
    Ok(logs.resource_logs.into_iter().map(resource).collect())
}

fn resource(logs: ResourceLogs) -> Resource {
    Resource {
        attributes: attributes(logs.resource.attributes),
        scopes: logs.scope_logs.into_iter().map(scope).collect(),
    }
}

fn scope(logs: ScopeLogs) -> Scope {
    Scope {
        name: logs.scope.name,
        version: logs.scope.version,
        attributes: attributes(logs.scope.attributes),
        dropped_attributes: number(&logs.scope.dropped_attributes_count),
        records: logs.log_records.into_iter().map(record).collect(),
    }
}

fn record(record: LogRecord) -> Record {
    Record {
        ts: number(&record.time_unix_nano),
        observed_ts: number(&record.observed_time_unix_nano),
        severity_number: number(&record.severity_number) as i64,
        severity_text: record.severity_text,
        body: record.body.as_ref().map(value),
        attributes: attributes(record.attributes),
        dropped_attributes: number(&record.dropped_attributes_count),
        flags: number(&record.flags),
        trace_id: record.trace_id.to_lowercase(),
        span_id: record.span_id.to_lowercase(),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, value(&pair.value))).collect()
}

/// A number, or text that is one.
fn number(json: &Json) -> u64 {
    json.as_u64().or_else(|| json.as_str()?.parse().ok()).unwrap_or(0)
}

/// `{"stringValue": "…"}` and its like.
fn value(json: &Json) -> Value {
    let Some((kind, inner)) = json.as_object().and_then(|members| members.iter().next()) else { return Value::Empty };
    let values = || inner.get("values").and_then(Json::as_array).map_or(&[] as &[Json], Vec::as_slice);
    match kind.as_str() {
        "stringValue" => Value::Text(inner.as_str().unwrap_or_default().to_owned()),
        "boolValue" => Value::Bool(inner.as_bool().unwrap_or_default()),
        "intValue" => {
            let text = || inner.as_str().and_then(|text| text.parse().ok());
            Value::Int(inner.as_i64().or_else(text).unwrap_or_default())
        }
        "doubleValue" => {
            let text = || inner.as_str().and_then(|text| text.parse().ok());
            Value::Double(inner.as_f64().or_else(text).unwrap_or_default())
        }
        "bytesValue" => Value::Bytes(BASE64_STANDARD.decode(inner.as_str().unwrap_or_default()).unwrap_or_default()),
        "arrayValue" => Value::List(values().iter().map(value).collect()),
        "kvlistValue" => {
            let pair = |pair: &Json| {
                let key = pair.get("key").and_then(Json::as_str).unwrap_or_default().to_owned();
                (key, value(pair.get("value").unwrap_or(&Json::Null)))
            };
            Value::Map(values().iter().map(pair).collect())
        }
        _ => Value::Empty,
    }
}
