//! `/otlp/v1/logs`: OpenTelemetry's logs, as protocol buffers or as JSON. Of a resource's attributes the well-known ones
//! become labels of the stream; everything else comes with the line.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use coracle_logql::{Labels, go::shortest_float};
use serde_json::{Map, Number, Value as Json};

use super::{
    body::{is_json, unpacked},
    error::Failure,
    otlp_json,
    protobuf::{Field, Malformed, fields},
    tenant,
};
use crate::{
    entry::{Entry, Stream},
    store::Store,
};

/// Attributes of a resource that tell streams apart.
const STREAM_ATTRIBUTES: [&str; 18] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];
/// What a resource without a name is called.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Values within values beyond this depth are refused.
const MAX_DEPTH: usize = 32;

pub(super) async fn push(State(store): State<Store>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Failure> {
    let body = unpacked(&headers, &body)?;
    let resources = if is_json(&headers) { otlp_json::resources(&body)? } else { resources(&body)? };
    let mut streams = streams(resources);
    if !streams.is_empty() {
        let tenant = tenant(&headers);
        store.limits(&tenant).discovery.add_to(&mut streams);
        store.push(&tenant, streams).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A value of an attribute, or a body.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Empty,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Attributes),
}

pub(super) type Attributes = Vec<(String, Value)>;

/// Records of one resource.
#[derive(Debug, Default)]
pub(super) struct Resource {
    pub(super) attributes: Attributes,
    pub(super) scopes: Vec<Scope>,
}

/// Records of one scope.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) attributes: Attributes,
    pub(super) dropped_attributes: u64,
    pub(super) records: Vec<Record>,
}

/// One record.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) ts: u64,
    pub(super) observed_ts: u64,
    pub(super) severity_number: i64,
    pub(super) severity_text: String,
    pub(super) body: Option<Value>,
    pub(super) attributes: Attributes,
    pub(super) dropped_attributes: u64,
    pub(super) flags: u64,
    /// In hexadecimal.
    pub(super) trace_id: String,
    pub(super) span_id: String,
}

fn streams(resources: Vec<Resource>) -> Vec<Stream> {
    let mut streams: BTreeMap<Labels, Vec<Entry>> = BTreeMap::new();
    for resource in resources {
        let (mut labels, mut common) = (Vec::new(), Vec::new());
        for (key, value) in &resource.attributes {
            let into = if STREAM_ATTRIBUTES.contains(&key.as_str()) { &mut labels } else { &mut common };
            flatten(key, value, into);
        }
        // A stream must have some label.
        if labels.iter().all(|(_, value): &(String, String)| value.is_empty()) {
            labels.push(("service_name".to_owned(), UNKNOWN_SERVICE.to_owned()));
        }
        let entries = streams.entry(Labels::new(labels)).or_default();
        for scope in resource.scopes {
            let scope_metadata = scope.metadata();
            for record in scope.records {
                let ts = if record.ts == 0 { record.observed_ts } else { record.ts };
                let mut metadata = record.metadata();
                metadata.extend(common.iter().cloned());
                metadata.extend(scope_metadata.iter().cloned());
                let line = record.body.as_ref().map_or_else(String::new, text);
                let ts = i64::try_from(ts).unwrap_or(i64::MAX);
                entries.push(Entry { ts, line, metadata: metadata.into() });
            }
        }
    }
    streams.retain(|_, entries| !entries.is_empty());
    streams.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect()
}

type Pairs = Vec<(String, String)>;

impl Scope {
    fn metadata(&self) -> Pairs {
        let mut metadata = Pairs::new();
        self.attributes.iter().for_each(|(key, value)| flatten(key, value, &mut metadata));
        put(&mut metadata, "scope_name", self.name.clone());
        put(&mut metadata, "scope_version", self.version.clone());
        put_number(&mut metadata, "scope_dropped_attributes_count", self.dropped_attributes);
        metadata
    }
}

impl Record {
    fn metadata(&self) -> Pairs {
        let mut metadata = Pairs::new();
        self.attributes.iter().for_each(|(key, value)| flatten(key, value, &mut metadata));
        if self.ts != 0 {
            put_number(&mut metadata, "observed_timestamp", self.observed_ts);
        }
        put_number(&mut metadata, "severity_number", self.severity_number.unsigned_abs());
        put(&mut metadata, "severity_text", self.severity_text.clone());
        put_number(&mut metadata, "dropped_attributes_count", self.dropped_attributes);
        put_number(&mut metadata, "flags", self.flags);
        put(&mut metadata, "trace_id", self.trace_id.clone());
        put(&mut metadata, "span_id", self.span_id.clone());
        metadata
    }
}

fn put(metadata: &mut Pairs, name: &str, value: String) {
    if !value.is_empty() {
        metadata.push((name.to_owned(), value));
    }
}

fn put_number(metadata: &mut Pairs, name: &str, number: u64) {
    if number != 0 {
        metadata.push((name.to_owned(), number.to_string()));
    }
}

/// An attribute as labels; maps become one for each of their keys.
fn flatten(key: &str, value: &Value, into: &mut Pairs) {
    match value {
        Value::Map(members) => members.iter().for_each(|(name, value)| flatten(&format!("{key}_{name}"), value, into)),
        value => into.push((label_name(key), text(value))),
    }
}

/// Dots and the like become underscores, several in a row one.
fn label_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "key_");
    }
    name
}

fn text(value: &Value) -> String {
    match value {
        Value::Empty => String::new(),
        Value::Text(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => shortest_float(*number),
        Value::Bytes(bytes) => BASE64_STANDARD.encode(bytes),
        Value::List(_) | Value::Map(_) => json(value).to_string(),
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) => Json::from(*number),
        Value::Double(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), json(value))).collect::<Map<_, _>>())
        }
        Value::Text(_) | Value::Bytes(_) => Json::String(text(value)),
    }
}

fn resources(body: &[u8]) -> Result<Vec<Resource>, Malformed> {
    let mut resources = Vec::new();
    for field in fields(body) {
        if let (1, bytes) = field? {
            resources.push(resource(bytes.bytes()?)?);
        }
    }
    Ok(resources)
}

fn resource(bytes: &[u8]) -> Result<Resource, Malformed> {
    let mut resource = Resource::default();
    for field in fields(bytes) {
        match field? {
            (1, inner) => {
                for field in fields(inner.bytes()?) {
                    if let (1, pair) = field? {
                        resource.attributes.push(key_value(pair, 0)?);
                    }
                }
            }
            (2, bytes) => resource.scopes.push(scope(bytes.bytes()?)?),
            _ => {}
        }
    }
    Ok(resource)
}

fn scope(bytes: &[u8]) -> Result<Scope, Malformed> {
    let mut scope = Scope::default();
    for field in fields(bytes) {
        match field? {
            (1, inner) => {
                for field in fields(inner.bytes()?) {
                    match field? {
                        (1, name) => scope.name = name.text()?,
                        (2, version) => scope.version = version.text()?,
                        (3, pair) => scope.attributes.push(key_value(pair, 0)?),
                        (4, count) => scope.dropped_attributes = count.number(),
                        _ => {}
                    }
                }
            }
            (2, bytes) => scope.records.push(record(bytes.bytes()?)?),
            _ => {}
        }
    }
    Ok(scope)
}

fn record(bytes: &[u8]) -> Result<Record, Malformed> {
    let mut record = Record::default();
    for field in fields(bytes) {
        match field? {
            (1, number) => record.ts = number.number(),
            (2, number) => record.severity_number = number.number() as i64,
            (3, text) => record.severity_text = text.text()?,
            (5, value) => record.body = Some(any_value(value.bytes()?, 0)?),
            (6, pair) => record.attributes.push(key_value(pair, 0)?),
            (7, number) => record.dropped_attributes = number.number(),
            (8, number) => record.flags = number.number(),
            (9, id) => record.trace_id = hex(id.bytes()?),
            (10, id) => record.span_id = hex(id.bytes()?),
            (11, number) => record.observed_ts = number.number(),
            _ => {}
        }
    }
    Ok(record)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_value(field: Field<'_>, depth: usize) -> Result<(String, Value), Malformed> {
    let mut pair = (String::new(), Value::Empty);
    for field in fields(field.bytes()?) {
        match field? {
            (1, key) => pair.0 = key.text()?,
            (2, value) => pair.1 = any_value(value.bytes()?, depth)?,
            _ => {}
        }
    }
    Ok(pair)
}

fn any_value(bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    let mut value = Value::Empty;
    for field in fields(bytes) {
        value = match field? {
            (1, text) => Value::Text(text.text()?),
            (2, truth) => Value::Bool(truth.number() != 0),
            (3, number) => Value::Int(number.number() as i64),
            (4, number) => Value::Double(f64::from_bits(number.number())),
            (5, list) => {
                let mut items = Vec::new();
                for field in fields(list.bytes()?) {
                    if let (1, item) = field? {
                        items.push(any_value(item.bytes()?, depth + 1)?);
                    }
                }
                Value::List(items)
            }
            (6, map) => {
                let mut members = Vec::new();
                for field in fields(map.bytes()?) {
                    if let (1, pair) = field? {
                        members.push(key_value(pair, depth + 1)?);
                    }
                }
                Value::Map(members)
            }
            (7, bytes) => Value::Bytes(bytes.bytes()?.to_vec()),
            _ => continue,
        };
    }
    Ok(value)
}
