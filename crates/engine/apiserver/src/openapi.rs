//! OpenAPI documents, made when somebody asks and kept until what is served changes.

use std::{collections::HashMap, io::Read, sync::Arc};

use bytes::Bytes;
use coracle_schema::{Kind, openapi};
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    aggregate::{Known, openapi::Documents as OfOthers},
    discovery::etag,
    registry::Served,
    request::{Request, accept},
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
    /// What else than this server's own kinds it depends on.
    of: String,
}

impl Document {
    fn new(bytes: &[u8], of: &str) -> Result<Self, Failure> {
        let gzipped = response::gzipped(bytes).map_err(Failure::internal)?;
        Ok(Self { gzipped: gzipped.into(), etag: etag(bytes), of: of.to_owned() })
    }
}

impl Cache {
    /// The document at `path`, made by `make` where it is not known yet, or was made `of` something else.
    fn get(
        &self,
        generation: u64,
        path: &str,
        of: &str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<Arc<Document>, Failure> {
        let mut documents = self.0.lock();
        if documents.generation != generation {
            *documents = Documents { generation, by_path: HashMap::new() };
        }
        if let Some(document) = documents.by_path.get(path).filter(|document| document.of == of) {
            return Ok(document.clone());
        }
        let document = Arc::new(Document::new(&make(), of)?);
        documents.by_path.insert(path.to_owned(), document.clone());
        Ok(document)
    }
}

/// Answers `/openapi/...`.
pub async fn answer(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let served = server.registry.served();
    let path = request.info.path.trim_matches('/').trim_start_matches("openapi/");
    match path {
        "v2" => {
            let kinds: Vec<&Kind> = served.all.iter().map(|resource| &*resource.kind).collect();
            let (kept_as, content_type) = match wants_protobuf(request) {
                true => ("v2 protobuf", V2_PROTOBUF),
                false => ("v2", "application/json"),
            };
            let others = OfOthers::fetch(server).await;
            let document = server.openapi.get(served.generation, kept_as, &others.version, || {
                let mut document = openapi::v2(&kinds);
                others.merge_into(&mut document);
                match content_type {
                    V2_PROTOBUF => openapi::v2_protobuf(&document),
                    _ => document.to_string().into_bytes(),
                }
            })?;
            conditional(request, &document, content_type)
        }
        "v3" => {
            let others = server.aggregate.known();
            let make = || index(&served, &others).to_string().into_bytes();
            let document = server.openapi.get(served.generation, "v3", &others.generation.to_string(), make)?;
            conditional(request, &document, "application/json")
        }
        _ => match path.strip_prefix("v3/").filter(|path| group_versions(&served).iter().any(|known| known == path)) {
            Some(path) => conditional(request, &*group_document(server, &served, path)?, "application/json"),
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
    server.openapi.get(served.generation, &format!("v3/{path}"), "", || {
        let group_version = path.split_once('/').map_or(path, |(_, group_version)| group_version);
        let kinds: Vec<&Kind> = served.all.iter().map(|resource| &*resource.kind).collect();
        openapi::v3(&kinds, group_version).to_string().into_bytes()
    })
}

/// The index names each document with a hash of what it depends on, so that clients know when theirs is stale. Documents
/// themselves are made only when asked for.
fn index(served: &Served, others: &Known) -> Value {
    let mut paths = Map::new();
    for path in group_versions(served) {
        let here = served.all.iter().filter(|resource| path.ends_with(&resource.api_version));
        let custom = here.clone().any(|resource| !resource.kind.is_builtin());
        let generation = if custom { served.generation } else { 0 };
        let hash = etag(format!("{} {path} {generation} {}", crate::health::VERSION, here.count()).as_bytes());
        let url = format!("/openapi/v3/{path}?hash={}", hash.trim_matches('"'));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    for foreign in others.all.iter().filter(|foreign| foreign.resources().is_some()) {
        let path = format!("apis/{}/{}", foreign.group, foreign.version);
        let hash = etag(format!("{path} {}", others.generation).as_bytes());
        let url = format!("/openapi/v3/{path}?hash={}", hash.trim_matches('"'));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// As it is answered; clients ask for it with an `@` before the version.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn wants_protobuf(request: &Request) -> bool {
    let is_protobuf =
        |media_type: &str| media_type == V2_PROTOBUF || media_type == V2_PROTOBUF.replace(".v1.0", "@v1.0");
    accept::ranges(&request.headers).first().is_some_and(|best| is_protobuf(best.media_type))
}

fn conditional(request: &Request, document: &Document, content_type: &'static str) -> Result<Answer, Failure> {
    let text = |name: header::HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let mut answer = if text(header::IF_NONE_MATCH) == Some(document.etag.as_str()) {
        response::answer(StatusCode::NOT_MODIFIED, content_type, Bytes::new())
    } else if text(header::ACCEPT_ENCODING).is_some_and(|codings| codings.contains("gzip")) {
        let mut answer = response::answer(StatusCode::OK, content_type, document.gzipped.clone());
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer
    } else {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&document.gzipped[..]).read_to_end(&mut plain).map_err(Failure::internal)?;
        response::answer(StatusCode::OK, content_type, plain)
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    Ok(answer)
}
