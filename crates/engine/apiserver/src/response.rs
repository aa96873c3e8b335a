//! Answers: whole bodies and streams under one type, warnings, compression.

use std::io::Write;

use bytes::Bytes;
use coracle_schema::protobuf;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

use crate::{
    request::accept::{self, Accept, Format},
    status::Failure,
};

/// Why a stream broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// An answer's body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub type Answer = Response<Body>;

/// Upstream compresses from this size on; below, it costs more than it saves.
const COMPRESS_FROM_BYTES: u64 = 128 * 1024;

/// A body that is all there.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of a media type.
pub fn answer(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    with_body(status, content_type, whole(bytes))
}

/// An answer of a media type, with a body that may be a stream.
pub fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = answer(status, "text/plain; charset=utf-8", text.into());
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// A JSON document in the representation the client asked for.
pub fn document(status: StatusCode, accept: Accept, json: Bytes) -> Answer {
    match accept.format {
        Format::Json if accept.pretty => match serde_json::from_slice::<serde_json::Value>(&json) {
            Ok(value) => answer(status, "application/json", serde_json::to_vec_pretty(&value).unwrap_or_default()),
            Err(_) => answer(status, "application/json", json),
        },
        Format::Json => answer(status, "application/json", json),
        Format::Yaml => {
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
            answer(status, "application/yaml", serde_saphyr::to_string(&value).unwrap_or_default())
        }
        Format::Protobuf => match protobuf::document(&json) {
            Ok(bytes) => answer(status, accept::PROTOBUF, bytes),
            // What is no object, such as the server's version, goes as JSON to everybody.
            Err(_) => answer(status, "application/json", json),
        },
    }
}

/// A value in the representation the client asked for.
pub fn value(status: StatusCode, accept: Accept, value: &impl Serialize) -> Answer {
    document(status, accept, serde_json::to_vec(value).unwrap_or_default().into())
}

/// A failure as its `Status` document.
pub fn failure(accept: Accept, failure: &Failure) -> Answer {
    let status = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = value(status, accept, &failure.to_value());
    let retry = failure.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if retry > 0 {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
    }
    answer
}

/// Adds the `Warning` headers, as RFC 7234 quotes them.
pub fn add_warnings(headers: &mut HeaderMap, warnings: Vec<String>) {
    for text in warnings {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(header::WARNING, value);
        }
    }
}

/// Compresses a large, whole answer when the client takes gzip.
pub async fn compress(request_headers: &HeaderMap, answer: Answer) -> Answer {
    let accepted = request_headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = accepted.is_some_and(|value| value.split(',').any(|coding| coding.trim().starts_with("gzip")));
    let size = http_body::Body::size_hint(answer.body()).exact();
    if !gzip
        || size.is_none_or(|size| size < COMPRESS_FROM_BYTES)
        || answer.headers().contains_key(header::CONTENT_ENCODING)
    {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let Ok(collected) = body.collect().await else {
        return failure(Accept::default(), &Failure::internal("the answer could not be compressed"));
    };
    let bytes = collected.to_bytes();
    match gzipped(&bytes) {
        Ok(small) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, whole(small))
        }
        Err(_) => Response::from_parts(parts, whole(bytes)),
    }
}

/// Gzip at the level upstream uses for answers: fast.
pub fn gzipped(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
