//! Request bodies: unpacked, and never beyond a bound.

use std::io::Read;

use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::error::Failure;

/// A body after unpacking.
const MAX_PLAIN_BYTES: usize = 128 << 20;

/// The body as its sender meant it, by `Content-Encoding`.
pub(super) fn unpacked(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body.to_vec()),
        "gzip" => bounded(MultiGzDecoder::new(body)),
        "deflate" => bounded(ZlibDecoder::new(body)),
        "snappy" => snappy(body),
        "zstd" => bounded(zstd::stream::read::Decoder::new(body).map_err(Failure::bad_request)?),
        other => {
            Err(Failure::bad_request(format!("Content-Encoding {} not supported", coracle_logql::go::quote(other))))
        }
    }
}

fn bounded(reader: impl Read) -> Result<Vec<u8>, Failure> {
    let mut plain = Vec::new();
    reader.take(MAX_PLAIN_BYTES as u64 + 1).read_to_end(&mut plain).map_err(Failure::bad_request)?;
    check(plain.len())?;
    Ok(plain)
}

/// Snappy's block format.
pub(super) fn snappy(body: &[u8]) -> Result<Vec<u8>, Failure> {
    check(snap::raw::decompress_len(body).map_err(Failure::bad_request)?)?;
    snap::raw::Decoder::new().decompress_vec(body).map_err(Failure::bad_request)
}

fn check(len: usize) -> Result<(), Failure> {
    if len <= MAX_PLAIN_BYTES {
        return Ok(());
    }
    let message = format!("request body too large: {len} bytes, limit: {MAX_PLAIN_BYTES} bytes");
    Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message))
}

/// Whether a body is JSON, by its type.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
