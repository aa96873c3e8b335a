//! What is wrong with a query, and where.

use std::{fmt, sync::Arc};

use super::ast::Span;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub span: Span,
    pub message: String,
    pub query: Arc<str>,
}

/// `line:column: parse error: message`, as Prometheus says it.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.query.is_empty() { "unknown position".to_owned() } else { self.span.place(&self.query) };
        write!(f, "{place}: parse error: {}", self.message)
    }
}

impl std::error::Error for ParseError {}
