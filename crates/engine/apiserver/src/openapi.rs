//! OpenAPI documents, made when somebody asks and kept until what is served changes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use coracle_schema::Kind;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    discovery::etag,
    registry::Served,
    request::Request,
    response::{self, Answer},
    server::Server,
    status::Failure,
};

/// Documents of one generation of what is served.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Documents>);

#[derive(Debug, Default)]
struct Documents {
    generation: u64,
    by_path: HashMap<String, Arc<Document>>,
}

#[derive(Debug)]
struct Document {
    bytes: Bytes,
    etag: String,
}

impl Cache {
    /// The document at `path`, made by `make` where it is not known yet.
    fn get(&self, generation: u64, path: &str, make: impl FnOnce() -> Value) -> Arc<Document> {
        let mut documents = self.0.lock();
        if documents.generation != generation {
            *documents = Documents { generation, by_path: HashMap::new() };
        }
        if let Some(document) = documents.by_path.get(path) {
            return document.clone();
        }
        let bytes = Bytes::from(make().to_string());
        let document = Arc::new(Document { etag: etag(&bytes), bytes });
        documents.by_path.insert(path.to_owned(), document.clone());
        document
    }
}

/// Answers `/openapi/...`.
pub fn answer(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let served = server.registry.served();
    let path = request.info.path.trim_matches('/').trim_start_matches("openapi/");
    match path {
        "v3" => {
            let document = server.openapi.get(served.generation, path, || index(&served));
            Ok(conditional(request, &document))
        }
        _ => match path.strip_prefix("v3/").filter(|path| group_versions(&served).iter().any(|known| known == path)) {
            Some(path) => Ok(conditional(request, &group_document(server, &served, path))),
            None => Ok(crate::serve::not_found()),
        },
    }
}

/// `api/v1`, `apis/apps/v1`, ...
fn group_versions(served: &Served) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for resource in &served.all {
        let prefix = if resource.kind.group.is_empty() { "api" } else { "apis" };
        let path = format!("{prefix}/{}", resource.api_version);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn group_document(server: &Server, served: &Served, path: &str) -> Arc<Document> {
    server.openapi.get(served.generation, &format!("v3/{path}"), || {
        let group_version = path.split_once('/').map_or(path, |(_, group_version)| group_version);
        let kinds: Vec<&Kind> = served.all.iter().map(|resource| &*resource.kind).collect();
        document::v3(&kinds, group_version)
    })
}

/// The index names each document with a hash of what it depends on, so that clients know when theirs is stale. Documents
/// themselves are made only when asked for.
fn index(served: &Served) -> Value {
    let mut paths = Map::new();
    for path in group_versions(served) {
        let here = served.all.iter().filter(|resource| path.ends_with(&resource.api_version));
        let custom = here.clone().any(|resource| !resource.kind.is_builtin());
        let generation = if custom { served.generation } else { 0 };
        let hash = etag(format!("{} {path} {generation} {}", crate::health::VERSION, here.count()).as_bytes());
        let url = format!("/openapi/v3/{path}?hash={}", hash.trim_matches('"'));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

fn conditional(request: &Request, document: &Document) -> Answer {
    let known = request.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut answer = if known == Some(document.etag.as_str()) {
        response::answer(StatusCode::NOT_MODIFIED, "application/json", Bytes::new())
    } else {
        response::answer(StatusCode::OK, "application/json", document.bytes.clone())
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    answer
}

/// The paths of a group, with what kubectl looks for in them.
mod document {
    use coracle_schema::Kind;
    use serde_json::{Map, Value, json};

    pub fn v3(kinds: &[&Kind], group_version: &str) -> Value {
        let mut paths = Map::new();
        for kind in kinds.iter().filter(|kind| kind.api_version() == group_version) {
            let root = if kind.group.is_empty() { "/api" } else { "/apis" };
            let scope = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
            let path = format!("{root}/{group_version}/{scope}{}/{{name}}", kind.plural);
            let parameter =
                |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
            let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"].map(parameter).into();
            let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
            let patch = json!({"parameters": parameters, "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk});
            paths.insert(path, json!({"patch": patch}));
        }
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::health::VERSION}, "paths": paths})
    }
}
