//! An API server made of memory, for tests of rooms that follow the API: it lists, watches and takes writes, and knows
//! nothing of what the objects mean. Its watches are as prompt and as ordered as the real one's.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Default)]
struct State {
    /// By collection path and then `NAMESPACE/NAME`.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// Every change there was; its index is the resource version before it.
    log: Vec<(String, Value)>,
}

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<usize>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self { state: Arc::default(), changed: watch::channel(0).0 }
    }
}

impl FakeApi {
    /// A client that talks to this server.
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Makes or replaces an object of the collection at `path`, such as `/api/v1/services`.
    pub fn put(&self, path: &str, object: Value) {
        let key = key(&object);
        self.change(path, |objects| match objects.insert(key, object.clone()) {
            Some(_) => Some(("MODIFIED", object)),
            None => Some(("ADDED", object)),
        });
    }

    /// Removes an object.
    pub fn delete(&self, path: &str, namespace: &str, name: &str) {
        let key = format!("{namespace}/{name}");
        self.change(path, |objects| objects.remove(&key).map(|object| ("DELETED", object)));
    }

    /// The objects of a collection.
    pub fn objects(&self, path: &str) -> Vec<Value> {
        self.state.lock().objects.get(path).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    fn change(&self, path: &str, work: impl FnOnce(&mut BTreeMap<String, Value>) -> Option<(&'static str, Value)>) {
        let mut state = self.state.lock();
        let version = state.log.len() + 1;
        let objects = state.objects.entry(path.to_owned()).or_default();
        let Some((kind, mut object)) = work(objects) else { return };
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        if let Some(stored) = objects.get_mut(&key(&object)) {
            stored.clone_from(&object);
        }
        state.log.push((path.to_owned(), json!({"type": kind, "object": object})));
        self.changed.send_replace(version);
    }

    async fn handle(&self, request: Request<Body>) -> Response<ResponseBody> {
        let (path, namespace, name) = parse(request.uri().path());
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is = |wanted: &str| query.split('&').any(|part| part == wanted);
        if request.method() == Method::GET && name.is_none() && is("watch=true") {
            let from = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse().ok());
            return self.watch(path, from.unwrap_or(0));
        }
        let method = request.method().clone();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        match (method, name) {
            (Method::GET, None) => self.list(&path),
            (Method::GET, Some(name)) => self.get(&path, &namespace, &name),
            (Method::POST, None) => self.create(&path, &body),
            (Method::PUT | Method::PATCH, Some(name)) => self.merge(&path, &namespace, &name, &body),
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn list(&self, path: &str) -> Response<ResponseBody> {
        let state = self.state.lock();
        let items: Vec<_> = state.objects.get(path).into_iter().flat_map(BTreeMap::values).collect();
        let list = json!({"metadata": {"resourceVersion": state.log.len().to_string()}, "items": items});
        answer(StatusCode::OK, &list)
    }

    fn get(&self, path: &str, namespace: &str, name: &str) -> Response<ResponseBody> {
        let state = self.state.lock();
        match state.objects.get(path).and_then(|objects| objects.get(&format!("{namespace}/{name}"))) {
            Some(object) => answer(StatusCode::OK, object),
            None => status(StatusCode::NOT_FOUND),
        }
    }

    fn create(&self, path: &str, body: &[u8]) -> Response<ResponseBody> {
        let Ok(object) = serde_json::from_slice::<Value>(body) else { return status(StatusCode::BAD_REQUEST) };
        self.put(path, object.clone());
        answer(StatusCode::CREATED, &object)
    }

    /// Top-level fields are replaced, which is enough for a status.
    fn merge(&self, path: &str, namespace: &str, name: &str, body: &[u8]) -> Response<ResponseBody> {
        let Ok(Value::Object(patch)) = serde_json::from_slice(body) else { return status(StatusCode::BAD_REQUEST) };
        let found = self.state.lock().objects.get(path).and_then(|it| it.get(&format!("{namespace}/{name}")).cloned());
        let Some(mut object) = found else { return status(StatusCode::NOT_FOUND) };
        for (field, value) in patch.into_iter().filter(|(field, _)| field != "metadata") {
            object[field] = value;
        }
        self.put(path, object.clone());
        answer(StatusCode::OK, &object)
    }

    fn watch(&self, path: String, from: usize) -> Response<ResponseBody> {
        let (state, mut changed) = (Arc::clone(&self.state), self.changed.subscribe());
        changed.mark_changed();
        let lines = stream::unfold((state, changed, from), move |(state, mut changed, from)| {
            let path = path.clone();
            async move {
                changed.changed().await.ok()?;
                let (lines, end) = {
                    let state = state.lock();
                    let new = state.log[from..].iter().filter(|(of, _)| *of == path);
                    (new.map(|(_, event)| format!("{event}\n")).collect::<String>(), state.log.len())
                };
                Some((lines, (state, changed, end)))
            }
        });
        let frames = lines.filter(|lines| std::future::ready(!lines.is_empty()));
        let frames = frames.map(|lines| Ok(http_body::Frame::data(Bytes::from(lines))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

/// A collection's path without its namespace, the namespace, and the object's name if the path has one.
fn parse(path: &str) -> (String, String, Option<String>) {
    let mut parts: Vec<_> = path.trim_matches('/').split('/').map(str::to_owned).collect();
    let group_parts = if parts[0] == "api" { 2 } else { 3 };
    let mut namespace = String::new();
    if parts.get(group_parts).is_some_and(|part| part == "namespaces") && parts.len() > group_parts + 2 {
        namespace.clone_from(&parts[group_parts + 1]);
        parts.drain(group_parts..group_parts + 2);
    }
    let name = parts.get(group_parts + 1).cloned();
    parts.truncate(group_parts + 1);
    (format!("/{}", parts.join("/")), namespace, name)
}

fn key(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

fn status(code: StatusCode) -> Response<ResponseBody> {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "BadRequest" };
    let message = format!("the fake server says {code}");
    answer(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code.as_u16()}),
    )
}

fn answer(code: StatusCode, value: &Value) -> Response<ResponseBody> {
    let body = http_body_util::Full::new(Bytes::from(value.to_string())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn paths_are_taken_apart() {
        let check = |path: &str, collection: &str, namespace: &str, name: Option<&str>| {
            assert_eq!(parse(path), (collection.to_owned(), namespace.to_owned(), name.map(str::to_owned)));
        };
        check("/api/v1/services", "/api/v1/services", "", None);
        check("/api/v1/namespaces/a/services/b/status", "/api/v1/services", "a", Some("b"));
        check("/apis/events.k8s.io/v1/namespaces/a/events", "/apis/events.k8s.io/v1/events", "a", None);
        check("/api/v1/namespaces/a", "/api/v1/namespaces", "", Some("a"));
    }
}
