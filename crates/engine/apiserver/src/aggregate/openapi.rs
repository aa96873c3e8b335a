//! The OpenAPI documents, version 2, of those who answer for other versions: fetched when somebody asks for the whole, which
//! is seldom, and only where they have changed.

use std::sync::Arc;

use futures::future::join_all;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::Foreign;
use crate::{discovery::etag, server::Server};

/// A document as it was last seen.
#[derive(Debug, Clone)]
pub struct Document {
    etag: HeaderValue,
    value: Arc<Value>,
}

/// Everybody's documents.
pub struct Documents {
    all: Vec<(Arc<Foreign>, Document)>,
    /// Changes with any of them.
    pub version: String,
}

impl Documents {
    /// Those of all who can be reached.
    pub async fn fetch(server: &Server) -> Self {
        let known = server.aggregate.known();
        let available = known.all.iter().filter(|foreign| foreign.resources().is_some());
        let fetched = join_all(available.map(|foreign| async { Some((foreign.clone(), foreign.openapi().await?)) }));
        let all: Vec<(Arc<Foreign>, Document)> = fetched.await.into_iter().flatten().collect();
        let one = |(foreign, document): &(Arc<Foreign>, Document)| {
            format!("{}/{} {:?}", foreign.group, foreign.version, document.etag)
        };
        let version = all.iter().map(one).collect::<Vec<_>>().join(", ");
        Self { all, version }
    }

    /// Lays them into the server's own.
    pub fn merge_into(&self, document: &mut Value) {
        for (foreign, other) in &self.all {
            let prefix = format!("/apis/{}/{}/", foreign.group, foreign.version);
            coracle_schema::openapi::merge_v2(document, Value::clone(&other.value), &prefix);
        }
    }
}

impl Foreign {
    /// Its document, or the last one seen where it gives none now.
    async fn openapi(&self) -> Option<Document> {
        let last = self.openapi.lock().clone();
        let answer = self.get("/openapi/v2", last.as_ref().map(|last| &last.etag)).await;
        let fresh = match answer {
            Ok((StatusCode::NOT_MODIFIED, ..)) => return last,
            Ok((StatusCode::OK, headers, body)) => serde_json::from_slice(&body).ok().map(|value| {
                let made_up = || HeaderValue::try_from(etag(&body)).ok();
                (headers.get(header::ETAG).cloned().or_else(made_up), value)
            }),
            _ => None,
        };
        let Some((Some(etag), value)) = fresh else { return last };
        let document = Document { etag, value: Arc::new(value) };
        *self.openapi.lock() = Some(document.clone());
        Some(document)
    }
}
