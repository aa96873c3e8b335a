//! Remote write, versions 1 and 2.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Server;
use crate::{Appended, Refused, StoreError, remote_write};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What the content type says; nothing when it is not remote write's.
fn version(headers: &HeaderMap) -> Result<Version, String> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(Version::One) };
    let content_type = content_type.to_str().unwrap_or("");
    let mut parts = content_type.split(';').map(str::trim);
    if parts.next() != Some("application/x-protobuf") {
        return Err(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type"
        ));
    }
    let message = parts.find_map(|part| part.strip_prefix("proto="));
    match message.map(|message| message.trim_matches('"')) {
        None | Some("prometheus.WriteRequest") => Ok(Version::One),
        Some("io.prometheus.write.v2.Request") => Ok(Version::Two),
        Some(other) => Err(format!("unknown remote write protobuf message {other}")),
    }
}

/// Unpacks a block of snappy, no further than allowed.
pub(super) fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, String> {
    let len = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if len > bytes_max {
        return Err(format!("the body has {len} bytes unpacked, the limit is {bytes_max}"));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())
}

fn refused(status: StatusCode, why: impl Into<String>) -> Response {
    (status, format!("{}\n", why.into())).into_response()
}

/// The status and words for samples that were not taken in.
pub(super) fn complaint(appended: &Appended) -> Option<(StatusCode, String)> {
    let Refused { limit, .. } = appended.refused;
    let first = appended.first_refusal.as_ref()?;
    let count = appended.refused.total();
    let what = if count == 1 { first.clone() } else { format!("{first}; {count} samples were refused in all") };
    // A sender that is told "too many requests" would send the same again and again.
    let status = if limit > 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
    Some((status, what))
}

pub(super) async fn write(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    if !server.0.settings.receive {
        return refused(StatusCode::NOT_FOUND, "remote write receiver needs to be enabled");
    }
    let version = match version(&headers) {
        Ok(version) => version,
        Err(why) => return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why),
    };
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !matches!(encoding, "" | "snappy") {
        let why =
            format!("{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable");
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    let shared = server.clone();
    let work = move || {
        let bytes = unpack(&body, shared.0.settings.body_bytes_max).map_err(Failure::Body)?;
        let batch = match version {
            Version::One => remote_write::decode_v1(&bytes),
            Version::Two => remote_write::decode_v2(&bytes),
        };
        let batch = batch.map_err(|error| Failure::Body(error.to_string()))?;
        shared.0.store.append(&batch).map_err(Failure::Store)
    };
    let done = tokio::task::spawn_blocking(work).await;
    match done {
        Ok(Ok(appended)) => respond(version, &appended),
        Ok(Err(Failure::Body(why))) => refused(StatusCode::BAD_REQUEST, why),
        Ok(Err(Failure::Store(error))) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

enum Failure {
    Body(String),
    Store(StoreError),
}

fn respond(version: Version, appended: &Appended) -> Response {
    let mut response = match complaint(appended) {
        Some((status, why)) => refused(status, why),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    if version == Version::Two {
        for (name, count) in [
            ("x-prometheus-remote-write-samples-written", appended.floats),
            ("x-prometheus-remote-write-histograms-written", appended.histograms),
            ("x-prometheus-remote-write-exemplars-written", appended.exemplars),
        ] {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    response
}
