//! Errors as the distribution specification shapes them.

use ::http::{HeaderValue, StatusCode, header};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::store::StoreError;

/// The codes of the specification.
#[derive(Debug, Clone, Copy)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    SizeInvalid,
    Unauthorized,
    Unknown,
    Unsupported,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unknown => "UNKNOWN",
            Self::Unsupported => "UNSUPPORTED",
        }
    }
}

/// What a client is told instead of what it asked for.
#[derive(Debug)]
pub struct Error {
    code: Code,
    status: StatusCode,
    message: String,
    /// `Range` of an upload that was answered 416.
    range: Option<String>,
}

impl Error {
    pub fn new(code: Code, status: StatusCode, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), range: None }
    }

    pub fn not_found(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, StatusCode::NOT_FOUND, message)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let (code, status) = match &error {
            StoreError::Io { .. } => {
                tracing::error!(%error, "the registry's disk");
                (Code::Unknown, StatusCode::INTERNAL_SERVER_ERROR)
            }
            StoreError::Input(_) => (Code::BlobUploadInvalid, StatusCode::BAD_REQUEST),
            StoreError::Name(_) => (Code::NameInvalid, StatusCode::BAD_REQUEST),
            StoreError::Tag(_) => (Code::ManifestInvalid, StatusCode::BAD_REQUEST),
            StoreError::Digest { .. } => (Code::DigestInvalid, StatusCode::BAD_REQUEST),
            StoreError::NoUpload(_) => (Code::BlobUploadUnknown, StatusCode::NOT_FOUND),
            StoreError::Offset { .. } => (Code::BlobUploadInvalid, StatusCode::RANGE_NOT_SATISFIABLE),
            StoreError::Manifest(_) => (Code::ManifestInvalid, StatusCode::BAD_REQUEST),
            StoreError::MissingBlob(_) => (Code::ManifestBlobUnknown, StatusCode::NOT_FOUND),
        };
        let range = match error {
            StoreError::Offset { at_bytes, .. } => Some(format!("0-{}", at_bytes.saturating_sub(1))),
            _ => None,
        };
        Self { code, status, message, range }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({"errors": [{"code": self.code.name(), "message": self.message}]});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"coracle\""));
        }
        if let Some(range) = self.range.and_then(|range| HeaderValue::from_str(&range).ok()) {
            headers.insert(header::RANGE, range);
        }
        response
    }
}
