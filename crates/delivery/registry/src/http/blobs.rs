//! Blobs and their uploads.

use std::ops::RangeInclusive;

use ::http::{HeaderName, Method, StatusCode, header, response::Builder};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Call, Code, Error, blocking, reader};
use crate::Digest;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const READ_BYTES: usize = 1 << 16;

fn finish(builder: Builder, body: Body) -> Result<Response, Error> {
    builder.body(body).map_err(|error| Error::new(Code::Unknown, StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn parse_digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|error| Error::new(Code::DigestInvalid, StatusCode::BAD_REQUEST, format!("{error}")))
}

pub async fn serve(call: Call, repository: String, digest: &str) -> Result<Response, Error> {
    let digest = parse_digest(digest)?;
    let unknown = Error::not_found(Code::BlobUnknown, format!("{repository} has no blob {digest}"));
    match call.method {
        Method::GET | Method::HEAD if call.store.has_blob(&repository, &digest) => get(call, digest, unknown).await,
        Method::GET | Method::HEAD => Err(unknown),
        Method::DELETE => {
            let deleted = blocking(move || Ok(call.store.delete_blob(&repository, &digest)?)).await?;
            if deleted { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(unknown) }
        }
        _ => Err(call.unsupported()),
    }
}

async fn get(call: Call, digest: Digest, unknown: Error) -> Result<Response, Error> {
    let Ok(mut file) = tokio::fs::File::open(call.store.blob_path(&digest)).await else { return Err(unknown) };
    let failed =
        |error: std::io::Error| Error::new(Code::Unknown, StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let size = file.metadata().await.map_err(failed)?.len();
    let mut builder = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{digest}\""))
        .header(CONTENT_DIGEST, digest.to_string());
    let mut length = size;
    match call.header(header::RANGE).map(|text| parse_range(text, size)) {
        None | Some(Asked::Whole) => builder = builder.status(StatusCode::OK),
        Some(Asked::Part(range)) => {
            length = range.end() - range.start() + 1;
            file.seek(std::io::SeekFrom::Start(*range.start())).await.map_err(failed)?;
            let content_range = format!("bytes {}-{}/{size}", range.start(), range.end());
            builder = builder.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, content_range);
        }
        Some(Asked::Impossible) => {
            let builder = builder
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{size}"));
            return finish(builder, Body::empty());
        }
    }
    let body = match call.method == Method::HEAD {
        true => Body::empty(),
        false => Body::from_stream(ReaderStream::with_capacity(file.take(length), READ_BYTES)),
    };
    finish(builder.header(header::CONTENT_LENGTH, length), body)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(RangeInclusive<u64>),
    Impossible,
}

/// What part of `size` bytes a `Range` header asks for. Several ranges at once get the whole, as HTTP allows.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let range = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => (from, to.min(size.saturating_sub(1))),
        (Ok(from), Err(_)) if to.is_empty() => (from, size.saturating_sub(1)),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 => (size.saturating_sub(last), size.saturating_sub(1)),
        _ => return Asked::Whole,
    };
    if range.0 >= size || range.1 < range.0 { Asked::Impossible } else { Asked::Part(range.0..=range.1) }
}

pub async fn begin(call: Call, body: Body, repository: String) -> Result<Response, Error> {
    if call.method != Method::POST {
        return Err(call.unsupported());
    }
    if let Some(digest) = call.parameter("mount") {
        let digest = parse_digest(&digest)?;
        let (store, name) = (call.store.clone(), repository.clone());
        // Whoever may push here may read every repository, so it does not matter where it comes from.
        if blocking(move || Ok(store.link_blob(&name, &digest)?)).await? {
            return created(&repository, digest);
        }
    }
    if let Some(digest) = call.parameter("digest") {
        let digest = parse_digest(&digest)?;
        let name = repository.clone();
        let input = reader(body);
        let store = call.store;
        blocking(move || {
            let id = store.begin(&name)?;
            let stored = store.append(&id, None, &mut { input }).and_then(|_| store.finish(&name, &id, digest));
            if stored.is_err() {
                let _ = store.cancel(&id);
            }
            Ok(stored?)
        })
        .await?;
        return created(&repository, digest);
    }
    let name = repository.clone();
    let id = blocking(move || Ok(call.store.begin(&name)?)).await?;
    standing(StatusCode::ACCEPTED, &repository, &id, 0)
}

fn created(repository: &str, digest: Digest) -> Result<Response, Error> {
    let builder = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{repository}/blobs/{digest}"))
        .header(CONTENT_DIGEST, digest.to_string());
    finish(builder, Body::empty())
}

/// How far an upload is.
fn standing(status: StatusCode, repository: &str, id: &str, size_bytes: u64) -> Result<Response, Error> {
    let builder = Response::builder()
        .status(status)
        .header(header::LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"))
        .header(header::RANGE, format!("0-{}", size_bytes.saturating_sub(1)))
        .header(header::CONTENT_LENGTH, 0)
        .header(UPLOAD_ID, id);
    finish(builder, Body::empty())
}

pub async fn upload(call: Call, body: Body, repository: String, id: String) -> Result<Response, Error> {
    match call.method {
        Method::GET => {
            let upload = id.clone();
            let size_bytes = blocking(move || Ok(call.store.upload_size_bytes(&upload)?)).await?;
            standing(StatusCode::NO_CONTENT, &repository, &id, size_bytes)
        }
        Method::PATCH => {
            let offset_bytes = offset(&call)?;
            let upload = id.clone();
            let mut input = reader(body);
            let size_bytes = blocking(move || Ok(call.store.append(&upload, offset_bytes, &mut input)?)).await?;
            standing(StatusCode::ACCEPTED, &repository, &id, size_bytes)
        }
        Method::PUT => {
            let expected = call.parameter("digest").unwrap_or_default();
            let digest = parse_digest(&expected)?;
            let offset_bytes = offset(&call)?;
            let name = repository.clone();
            let mut input = reader(body);
            blocking(move || {
                call.store.append(&id, offset_bytes, &mut input)?;
                Ok(call.store.finish(&name, &id, digest)?)
            })
            .await?;
            created(&repository, digest)
        }
        Method::DELETE => {
            blocking(move || Ok(call.store.cancel(&id)?)).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(call.unsupported()),
    }
}

/// Where the client says its chunk begins: `Content-Range: START-END`.
fn offset(call: &Call) -> Result<Option<u64>, Error> {
    let Some(text) = call.header(header::CONTENT_RANGE) else { return Ok(None) };
    let start = text.trim_start_matches("bytes ").split('-').next().and_then(|start| start.parse().ok());
    match start {
        Some(start) => Ok(Some(start)),
        None => Err(Error::new(
            Code::BlobUploadInvalid,
            StatusCode::BAD_REQUEST,
            format!("Content-Range {text:?} is not START-END"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse_range};

    #[test]
    fn ranges() {
        let part = |range| Asked::Part(range);
        assert_eq!(parse_range("bytes=0-4", 10), part(0..=4));
        assert_eq!(parse_range("bytes=5-", 10), part(5..=9));
        assert_eq!(parse_range("bytes=-3", 10), part(7..=9));
        assert_eq!(parse_range("bytes=8-99", 10), part(8..=9));
        assert_eq!(parse_range("bytes=10-", 10), Asked::Impossible);
        assert_eq!(parse_range("bytes=0-", 0), Asked::Impossible);
        assert_eq!(parse_range("bytes=0-1,3-4", 10), Asked::Whole);
        assert_eq!(parse_range("lines=0-1", 10), Asked::Whole);
    }
}
