//! A request on its way in: what it is about, who asks, what for and in which representation.

pub mod accept;
pub mod info;
pub mod payload;
pub mod query;
pub mod selector;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::{audit::Trail, authn::User};
use accept::Accept;
use info::RequestInfo;
use query::Query;

/// A request with its body read, ready for a verb.
#[derive(Debug)]
pub struct Request {
    /// What it is about.
    pub info: RequestInfo,
    /// Query parameters.
    pub query: Query,
    /// Headers as they came.
    pub headers: HeaderMap,
    /// Who asks.
    pub user: Arc<User>,
    /// The representation of the answer.
    pub accept: Accept,
    /// The body; empty for reads.
    pub body: Bytes,
    warnings: Mutex<Vec<String>>,
    trail: Option<Arc<Trail>>,
}

impl Request {
    /// Puts a request together.
    pub fn new(
        info: RequestInfo,
        query: Query,
        headers: HeaderMap,
        user: Arc<User>,
        accept: Accept,
        body: Bytes,
    ) -> Self {
        Self { info, query, headers, user, accept, body, warnings: Mutex::default(), trail: None }
    }

    /// The same, with what is written down about it.
    pub fn with_trail(self, trail: Option<Arc<Trail>>) -> Self {
        Self { trail, ..self }
    }

    /// Tells auditors something, where there are any.
    pub fn annotate(&self, key: &str, value: impl Into<String>) {
        if let Some(trail) = &self.trail {
            trail.annotate(key, value.into());
        }
    }

    /// Tells the client something in a `Warning` header; said once however often it is found.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    /// The name fields are owned under when the client gave none: the first part of its User-Agent.
    pub fn manager_from_user_agent(&self) -> String {
        let agent =
            self.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let first = agent.split('/').next().unwrap_or_default();
        let printable: String = first.chars().filter(|c| !c.is_control()).take(128).collect();
        if printable.is_empty() { "unknown".to_owned() } else { printable }
    }
}
