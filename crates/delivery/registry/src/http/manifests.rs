//! Manifests, and the lists of what there is.

use ::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Call, Code, Error, blocking, page};
use crate::{Digest, Reference, manifest, store::LARGEST_MANIFEST_BYTES};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

fn with(response: impl IntoResponse, headers: &[(HeaderName, String)]) -> Response {
    let mut response = response.into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name.clone(), value);
        }
    }
    response
}

pub async fn serve(call: Call, body: Body, repository: String, reference: &str) -> Result<Response, Error> {
    let parsed: Reference = reference.parse().map_err(|()| {
        Error::new(
            Code::ManifestInvalid,
            StatusCode::BAD_REQUEST,
            format!("{reference:?} is neither a tag nor a digest"),
        )
    })?;
    match call.method {
        Method::GET | Method::HEAD => get(call, repository, parsed).await,
        Method::PUT => put(call, body, repository, parsed).await,
        Method::DELETE => {
            let unknown = format!("{repository} has no manifest {parsed}");
            let deleted = blocking(move || Ok(call.store.delete_manifest(&repository, &parsed)?)).await?;
            if deleted {
                Ok(StatusCode::ACCEPTED.into_response())
            } else {
                Err(Error::not_found(Code::ManifestUnknown, unknown))
            }
        }
        _ => Err(call.unsupported()),
    }
}

async fn get(call: Call, repository: String, reference: Reference) -> Result<Response, Error> {
    let unknown = format!("{repository} has no manifest {reference}");
    let found = blocking(move || Ok(call.store.manifest(&repository, &reference)?)).await?;
    let manifest = found.ok_or_else(|| Error::not_found(Code::ManifestUnknown, unknown))?;
    let headers = [
        (header::CONTENT_TYPE, manifest.media_type),
        (header::CONTENT_LENGTH, manifest.content.len().to_string()),
        (header::ETAG, format!("\"{}\"", manifest.digest)),
        (CONTENT_DIGEST, manifest.digest.to_string()),
    ];
    let body = if call.method == Method::HEAD { Body::empty() } else { manifest.content.into() };
    Ok(with(body, &headers))
}

async fn put(call: Call, body: Body, repository: String, reference: Reference) -> Result<Response, Error> {
    let media_type =
        call.header(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
    let content = axum::body::to_bytes(body, LARGEST_MANIFEST_BYTES).await.map_err(|error| {
        Error::new(
            Code::SizeInvalid,
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a manifest is 4 MiB long at most: {error}"),
        )
    })?;
    let subject = manifest::references(&media_type, &content).ok().and_then(|references| references.subject);
    let tag = match &reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(expected) if *expected != Digest::of(&content) => {
            let found = Digest::of(&content);
            return Err(Error::new(
                Code::DigestInvalid,
                StatusCode::BAD_REQUEST,
                format!("the content's digest is {found}, not {expected}"),
            ));
        }
        Reference::Digest(_) => None,
    };
    let location = format!("/v2/{repository}/manifests/{reference}");
    let digest =
        blocking(move || Ok(call.store.put_manifest(&repository, tag.as_deref(), &media_type, &content)?)).await?;
    let mut headers = vec![(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())];
    headers.extend(subject.map(|subject| (HeaderName::from_static("oci-subject"), subject.to_string())));
    Ok(with(StatusCode::CREATED, &headers))
}

pub async fn tags(call: Call, repository: String) -> Result<Response, Error> {
    if call.method != Method::GET {
        return Err(call.unsupported());
    }
    let store = call.store.clone();
    let name = repository.clone();
    let names = blocking(move || {
        if !store.has_repository(&name) {
            return Err(Error::not_found(Code::NameUnknown, format!("there is no repository {name}")));
        }
        Ok(store.tags(&name)?)
    });
    let (tags, next) = page(&call, names.await?)?;
    let link = next.map(|next| (header::LINK, format!("</v2/{repository}/tags/list?{next}>; rel=\"next\"")));
    Ok(with(Json(json!({"name": repository, "tags": tags})), link.as_slice()))
}

pub async fn catalog(call: Call) -> Result<Response, Error> {
    if call.method != Method::GET {
        return Err(call.unsupported());
    }
    let store = call.store.clone();
    let names = blocking(move || Ok(store.repositories()?)).await?;
    let (repositories, next) = page(&call, names)?;
    let link = next.map(|next| (header::LINK, format!("</v2/_catalog?{next}>; rel=\"next\"")));
    Ok(with(Json(json!({"repositories": repositories})), link.as_slice()))
}

pub async fn referrers(call: Call, repository: String, digest: &str) -> Result<Response, Error> {
    if call.method != Method::GET {
        return Err(call.unsupported());
    }
    let digest: Digest =
        digest.parse().map_err(|error| Error::new(Code::DigestInvalid, StatusCode::BAD_REQUEST, format!("{error}")))?;
    let filter = call.parameter("artifactType");
    let store = call.store.clone();
    let mut found = blocking(move || Ok(store.referrers(&repository, &digest)?)).await?;
    let mut headers = vec![(header::CONTENT_TYPE, manifest::OCI_INDEX.to_owned())];
    if let Some(wanted) = filter {
        found.retain(|descriptor| descriptor.artifact_type.as_ref() == Some(&wanted));
        headers.push((HeaderName::from_static("oci-filters-applied"), "artifactType".into()));
    }
    let index = json!({"schemaVersion": 2, "mediaType": manifest::OCI_INDEX, "manifests": found});
    Ok(with(Json(index), &headers))
}
