//! OpenAPI documents, made when somebody asks and kept until what is served changes.

use std::{collections::HashMap, io::Read, sync::Arc};

use bytes::Bytes;
use coracle_schema::{Kind, openapi};
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

/// Kept compressed: most clients take it like that, and it is asked for seldom.
#[derive(Debug)]
struct Document {
    gzipped: Bytes,
    etag: String,
}

impl Document {
    fn new(json: &[u8]) -> Result<Self, Failure> {
        let gzipped = response::gzipped(json).map_err(Failure::internal)?;
        Ok(Self { gzipped: gzipped.into(), etag: etag(json) })
    }
}

impl Cache {
    /// The document at `path`, made by `make` where it is not known yet.
    fn get(&self, generation: u64, path: &str, make: impl FnOnce() -> Value) -> Result<Arc<Document>, Failure> {
        let mut documents = self.0.lock();
        if documents.generation != generation {
            *documents = Documents { generation, by_path: HashMap::new() };
        }
        if let Some(document) = documents.by_path.get(path) {
            return Ok(document.clone());
        }
        let document = Arc::new(Document::new(make().to_string().as_bytes())?);
        documents.by_path.insert(path.to_owned(), document.clone());
        Ok(document)
    }
}

/// Answers `/openapi/...`.
pub fn answer(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let served = server.registry.served();
    let path = request.info.path.trim_matches('/').trim_start_matches("openapi/");
    match path {
        "v2" => {
            let kinds: Vec<&Kind> = served.all.iter().map(|resource| &*resource.kind).collect();
            let document = server.openapi.get(served.generation, path, || openapi::v2(&kinds))?;
            conditional(request, &document)
        }
        "v3" => {
            let document = server.openapi.get(served.generation, path, || index(&served))?;
            conditional(request, &document)
        }
        _ => match path.strip_prefix("v3/").filter(|path| group_versions(&served).iter().any(|known| known == path)) {
            Some(path) => conditional(request, &*group_document(server, &served, path)?),
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

fn group_document(server: &Server, served: &Served, path: &str) -> Result<Arc<Document>, Failure> {
    server.openapi.get(served.generation, &format!("v3/{path}"), || {
        let group_version = path.split_once('/').map_or(path, |(_, group_version)| group_version);
        let kinds: Vec<&Kind> = served.all.iter().map(|resource| &*resource.kind).collect();
        openapi::v3(&kinds, group_version)
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

fn conditional(request: &Request, document: &Document) -> Result<Answer, Failure> {
    let text = |name: header::HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let mut answer = if text(header::IF_NONE_MATCH) == Some(document.etag.as_str()) {
        response::answer(StatusCode::NOT_MODIFIED, "application/json", Bytes::new())
    } else if text(header::ACCEPT_ENCODING).is_some_and(|codings| codings.contains("gzip")) {
        let mut answer = response::answer(StatusCode::OK, "application/json", document.gzipped.clone());
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer
    } else {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&document.gzipped[..]).read_to_end(&mut plain).map_err(Failure::internal)?;
        response::answer(StatusCode::OK, "application/json", plain)
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    Ok(answer)
}
