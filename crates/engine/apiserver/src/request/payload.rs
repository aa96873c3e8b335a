//! A request's body: read within bounds of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::status::Failure;

/// What upstream takes at most, and so do we.
pub const LIMIT_BYTES: usize = 3 * 1024 * 1024;
const SLOWEST: Duration = Duration::from_secs(34);

/// Reads the whole body.
pub async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
{
    if body.size_hint().lower() > LIMIT_BYTES as u64 {
        return Err(Failure::too_large(LIMIT_BYTES));
    }
    tokio::time::timeout(SLOWEST, collect(body)).await.map_err(|_| Failure::slow_body())?
}

async fn collect<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > LIMIT_BYTES {
            return Err(Failure::too_large(LIMIT_BYTES));
        }
        // Most bodies are one frame: that one is kept without a copy.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// `Content-Type` without its parameters; JSON where it is absent.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        media_type => media_type,
    }
}
