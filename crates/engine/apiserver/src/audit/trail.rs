//! One request's events.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Audit,
    policy::{Level, Stage, Verdict},
};
use crate::{
    authn::User,
    request::info::RequestInfo,
    response::{Answer, whole},
    review::user_info,
    status::Failure,
};

/// What is written down about one request.
pub struct Trail {
    audit: Arc<Audit>,
    verdict: Verdict,
    begun: Timestamp,
    event: Mutex<Map<String, Value>>,
    annotations: Mutex<BTreeMap<String, String>>,
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trail({:?})", self.verdict)
    }
}

/// A request as it comes in.
pub struct Incoming<'a> {
    /// What it is about.
    pub info: &'a RequestInfo,
    /// Who asks.
    pub user: &'a User,
    /// Its own id.
    pub id: &'a str,
    /// Path and query.
    pub uri: String,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

impl Trail {
    /// Begins a request's trail, where the policy wants one.
    pub async fn begin(audit: &Arc<Audit>, incoming: Incoming<'_>) -> Option<Arc<Self>> {
        let verdict = audit.policy.judge(incoming.info, incoming.user)?;
        let trail = Arc::new(Self {
            event: Mutex::new(incoming.event(verdict.level)),
            audit: audit.clone(),
            verdict,
            begun: audit.clock.now(),
            annotations: Mutex::default(),
        });
        trail.reach(Stage::RequestReceived).await;
        Some(trail)
    }

    /// Notes something that a step found out. The first word stands.
    pub fn annotate(&self, key: &str, value: String) {
        self.annotations.lock().entry(key.to_owned()).or_insert(value);
    }

    /// Notes as whom the request goes on.
    pub fn impersonates(&self, user: &User) {
        self.event.lock().insert("impersonatedUser".into(), user_info(user));
    }

    /// Notes what was sent. `decode` makes a document of bodies that are not JSON.
    pub fn sent(&self, info: &RequestInfo, body: &Bytes, decode: impl FnOnce() -> Option<Value>) {
        if body.is_empty() || !info.is_resource {
            return;
        }
        let wants_all = self.verdict.level >= Level::Request;
        if !wants_all && !info.name.is_empty() {
            return;
        }
        let document = serde_json::from_slice(body).ok().or_else(decode);
        let Some(document) = document else { return };
        if info.name.is_empty()
            && let Some(named) = Named::of(&document)
            && let Some(reference) = self.event.lock().get_mut("objectRef")
        {
            named.complete(reference);
        }
        if wants_all {
            self.event.lock().insert("requestObject".into(), self.shown(document));
        }
    }

    /// Notes why the request failed.
    pub fn failed(&self, failure: &Failure) {
        let mut status = json!({"metadata": {}, "status": "Failure", "message": failure.message, "code": failure.code});
        if !failure.reason.is_empty() {
            status["reason"] = json!(failure.reason);
        }
        self.event.lock().insert("responseStatus".into(), status);
    }

    /// Notes what is answered, and writes the last event.
    pub async fn answered(&self, answer: Answer, decode: impl FnOnce(&Bytes) -> Option<Value>) -> Answer {
        self.note_code(answer.status().as_u16());
        let (parts, mut body) = answer.into_parts();
        if self.verdict.level >= Level::RequestResponse {
            let bytes = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
            let document = serde_json::from_slice(&bytes).ok().or_else(|| decode(&bytes));
            if let Some(document) = document {
                self.event.lock().insert("responseObject".into(), self.shown(document));
            }
            body = whole(bytes);
        }
        self.reach(Stage::ResponseComplete).await;
        Answer::from_parts(parts, body)
    }

    fn note_code(&self, code: u16) {
        let status = json!({"metadata": {}, "code": code});
        self.event.lock().entry("responseStatus").or_insert(status);
    }

    fn shown(&self, mut document: Value) -> Value {
        if self.verdict.omit_managed_fields {
            without_managed_fields(&mut document);
        }
        document
    }

    async fn reach(&self, stage: Stage) {
        if let Some(line) = self.line(stage) {
            self.audit.write(line).await;
        }
    }

    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        if self.verdict.omit_stages.contains(&stage) {
            return None;
        }
        let mut event = self.event.lock().clone();
        event.insert("stage".into(), json!(format!("{stage:?}")));
        event.insert("requestReceivedTimestamp".into(), json!(micro(self.begun)));
        let now = if stage == Stage::RequestReceived { self.begun } else { self.audit.clock.now() };
        event.insert("stageTimestamp".into(), json!(micro(now)));
        let annotations = self.annotations.lock();
        if !annotations.is_empty() {
            event.insert("annotations".into(), json!(*annotations));
        }
        let mut line = serde_json::to_vec(&Value::Object(event)).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

/// Writes that an answer which takes a while has begun, and when it ends, that it did.
pub async fn watched(trail: Arc<Trail>, answer: Answer) -> Answer {
    trail.note_code(answer.status().as_u16());
    trail.reach(Stage::ResponseStarted).await;
    let end = End(trail);
    let (parts, body) = answer.into_parts();
    let body = body.map_frame(move |frame| {
        let _kept_until_the_end = &end;
        frame
    });
    Answer::from_parts(parts, body.boxed_unsync())
}

/// Writes the last event when it goes.
struct End(Arc<Trail>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(line) = self.0.line(Stage::ResponseComplete) {
            self.0.audit.write_now(line);
        }
    }
}

impl Incoming<'_> {
    /// What all of its events have.
    fn event(&self, level: Level) -> Map<String, Value> {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let forwarded =
            text("x-forwarded-for").unwrap_or_default().split(',').filter_map(|one| one.trim().parse().ok());
        let mut sources: Vec<IpAddr> = forwarded.collect();
        sources.extend(self.address.filter(|address| sources.last() != Some(address)));
        let event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": format!("{level:?}"), "auditID": self.id,
            "requestURI": self.uri, "verb": self.info.verb, "user": user_info(self.user), "sourceIPs": sources,
        });
        let Value::Object(mut event) = event else { return Map::new() };
        if sources.is_empty() {
            event.remove("sourceIPs");
        }
        if let Some(agent) = text(header::USER_AGENT.as_str()) {
            event.insert("userAgent".into(), json!(agent));
        }
        if self.info.is_resource {
            event.insert("objectRef".into(), reference(self.info));
        }
        event
    }
}

fn reference(info: &RequestInfo) -> Value {
    let fields = [
        ("resource", &info.resource),
        ("namespace", &info.namespace),
        ("name", &info.name),
        ("apiGroup", &info.group),
        ("apiVersion", &info.version),
        ("subresource", &info.subresource),
    ];
    let said = fields.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(said.map(|(key, text)| (key.to_owned(), json!(text))).collect())
}

/// What an object says of itself.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Named {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
}

impl Named {
    fn of(document: &Value) -> Option<Self> {
        Self::deserialize(document.get("metadata")?).ok()
    }

    fn complete(self, reference: &mut Value) {
        let fields = [
            ("name", self.name),
            ("namespace", self.namespace),
            ("uid", self.uid),
            ("resourceVersion", self.resource_version),
        ];
        for (key, text) in fields {
            if !text.is_empty() && reference.get(key).is_none() {
                reference[key] = json!(text);
            }
        }
    }
}

fn without_managed_fields(document: &mut Value) {
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in document.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        without_managed_fields(item);
    }
}

fn micro(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
