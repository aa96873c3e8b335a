//! The HTTP side: challenges, redirects, mirrors, and errors in the words people know.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{
    auth::{Challenge, Credentials},
    manifest::{ACCEPTED, Manifest, ManifestError, ManifestOrIndex},
};
use crate::reference::{Digest, Reference};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the request to the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 5;
const MAX_MANIFEST_BYTES: usize = 8 << 20;
const MAX_INDIRECTIONS: usize = 3;
/// The host that serves `docker.io`.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{0}: not found")]
    NotFound(String),
    #[error("pull access denied, repository {0} does not exist or may require authorization")]
    Denied(String),
    #[error("failed to do request: {method} {url:?}: {reason}")]
    Unreachable { method: Method, url: String, reason: String },
    #[error("unexpected status from {method} request to {url}: {status}{detail}")]
    Status { method: Method, url: String, status: StatusCode, detail: String },
    #[error("failed to authorize: {0}")]
    Token(String),
    #[error("reading from {url}: {reason}")]
    Body { url: String, reason: String },
    #[error("{what} has digest {actual}, expected {expected}")]
    Digest { what: String, expected: Digest, actual: Digest },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl RegistryError {
    /// Whether asking again soon may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Body { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}

/// The manifest of an image for this machine.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// Of the manifest that was asked for: an index's, where it was one. What `imageID` shows.
    pub digest: Digest,
    /// Of the image's own manifest.
    pub image_digest: Digest,
    pub manifest: Manifest,
}

/// A blob on its way.
pub struct Blob {
    url: String,
    body: Incoming,
    pub size_bytes: Option<u64>,
}

impl Blob {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let failed = |reason: String| RegistryError::Body { url: self.url.clone(), reason };
        loop {
            let frame = tokio::time::timeout(IDLE_TIMEOUT, self.body.frame()).await;
            match frame.map_err(|_| failed(format!("nothing came for {IDLE_TIMEOUT:?}")))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(failed(describe(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

type Tokens = Mutex<HashMap<(String, String, String), String>>;

/// One for all registries: connections are kept, tokens too.
pub struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    mirrors: BTreeMap<String, String>,
    /// By registry, repository and user.
    tokens: Tokens,
}

impl Client {
    /// `mirrors` maps a registry host to the base URL that is asked instead.
    pub fn new(mirrors: BTreeMap<String, String>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("ring's provider supports the default protocol versions")
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Self { http: HttpClient::builder(TokioExecutor::new()).build(https), mirrors, tokens: Mutex::default() }
    }

    /// The image's manifest, through an index where there is one.
    pub async fn manifest(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<FetchedManifest, RegistryError> {
        let (digest, body) = self.manifest_body(reference, credentials).await?;
        let mut image_digest = digest.clone();
        let mut found = ManifestOrIndex::parse(&body)?;
        for _ in 0..MAX_INDIRECTIONS {
            match found {
                ManifestOrIndex::Manifest(manifest) => return Ok(FetchedManifest { digest, image_digest, manifest }),
                ManifestOrIndex::Elsewhere(descriptor) => {
                    let (inner, body) = self.manifest_body(&reference.at(descriptor.digest), credentials).await?;
                    image_digest = inner;
                    found = ManifestOrIndex::parse(&body)?;
                }
            }
        }
        Err(ManifestError::MediaType("an index of indexes".into()).into())
    }

    async fn manifest_body(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<(Digest, Bytes), RegistryError> {
        let path = format!("manifests/{}", reference.manifest_name());
        let (url, response) = self.get(reference, &path, ACCEPTED, credentials).await?;
        let body = collect(&url, response, MAX_MANIFEST_BYTES).await?;
        let actual = Digest::of(&body);
        match &reference.digest {
            Some(expected) if *expected != actual => {
                Err(RegistryError::Digest { what: reference.to_string(), expected: expected.clone(), actual })
            }
            _ => Ok((actual, body)),
        }
    }

    /// A blob, streamed. Its digest is the caller's to check.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) -> Result<Blob, RegistryError> {
        let (url, response) = self.get(reference, &format!("blobs/{digest}"), "*/*", credentials).await?;
        let size_bytes =
            response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Blob { url, body: response.into_body(), size_bytes })
    }

    /// A small blob, whole and checked.
    pub async fn small_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) -> Result<Bytes, RegistryError> {
        let (url, response) = self.get(reference, &format!("blobs/{digest}"), "*/*", credentials).await?;
        let body = collect(&url, response, MAX_MANIFEST_BYTES).await?;
        let actual = Digest::of(&body);
        if actual == *digest {
            Ok(body)
        } else {
            Err(RegistryError::Digest {
                what: format!("blob of {}", reference.name()),
                expected: digest.clone(),
                actual,
            })
        }
    }

    fn base_url(&self, registry: &str) -> String {
        if let Some(base) = self.mirrors.get(registry) {
            return base.trim_end_matches('/').to_owned();
        }
        let host = if registry == DOCKER_HUB.0 { DOCKER_HUB.1 } else { registry };
        let scheme = if is_loopback(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// With whatever authorization turns out to be wanted.
    async fn get(
        &self,
        reference: &Reference,
        path: &str,
        accept: &'static str,
        credentials: Option<&Credentials>,
    ) -> Result<(String, Response<Incoming>), RegistryError> {
        let url = format!("{}/v2/{}/{path}", self.base_url(&reference.registry), reference.repository);
        let user = credentials.map(|c| c.username.clone()).unwrap_or_default();
        let key = (reference.registry.clone(), reference.repository.clone(), user);
        let known = self.tokens.lock().get(&key).cloned();
        let mut response = self.follow(&url, accept, known.as_deref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let wanted = response
                .headers()
                .get(header::WWW_AUTHENTICATE)
                .and_then(|value| Challenge::parse(value.to_str().ok()?));
            if let Some(authorization) = self.authorize(wanted, reference, credentials).await? {
                response = self.follow(&url, accept, Some(&authorization)).await?;
                self.tokens.lock().insert(key, authorization);
            }
        }
        match response.status() {
            StatusCode::OK => Ok((url, response)),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(reference.to_string())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied(reference.name())),
            status => {
                let detail = collect(&url, response, 4096).await.map(|body| message_of(&body)).unwrap_or_default();
                Err(RegistryError::Status { method: Method::GET, url, status, detail })
            }
        }
    }

    /// The value for `Authorization`; `None` where nothing we have could answer the challenge.
    async fn authorize(
        &self,
        challenge: Option<Challenge>,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Option<String>, RegistryError> {
        match challenge {
            Some(Challenge::Basic) => Ok(credentials.map(Credentials::basic)),
            None => Ok(None),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", reference.repository));
                let mut url = format!("{realm}{}scope={}", if realm.contains('?') { '&' } else { '?' }, escape(&scope));
                if let Some(service) = service {
                    url += &format!("&service={}", escape(&service));
                }
                let basic = credentials.map(Credentials::basic);
                let response = self.follow(&url, "application/json", basic.as_deref()).await?;
                let status = response.status();
                if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                    return Err(RegistryError::Denied(reference.name()));
                }
                if status != StatusCode::OK {
                    return Err(RegistryError::Token(format!("failed to fetch token: {status} from {realm}")));
                }
                let body = collect(&url, response, MAX_MANIFEST_BYTES).await?;
                let token: TokenAnswer = serde_json::from_slice(&body)
                    .map_err(|error| RegistryError::Token(format!("{realm} gave no token: {error}")))?;
                let token = token.token.or(token.access_token);
                Ok(Some(format!(
                    "Bearer {}",
                    token.ok_or_else(|| RegistryError::Token(format!("{realm} gave no token")))?
                )))
            }
        }
    }

    /// One GET, wherever it leads; credentials stay with the host they were meant for.
    async fn follow(
        &self,
        url: &str,
        accept: &'static str,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let unreachable =
            |url: &str, reason: String| RegistryError::Unreachable { method: Method::GET, url: url.to_owned(), reason };
        let mut uri: Uri = url.parse().map_err(|error| unreachable(url, format!("{error}")))?;
        let first_authority = uri.authority().cloned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request =
                Request::builder().uri(&uri).header(header::ACCEPT, accept).header(header::USER_AGENT, "coracle");
            if let Some(value) = authorization.filter(|_| uri.authority() == first_authority.as_ref()) {
                let mut value = HeaderValue::from_str(value).map_err(|error| unreachable(url, error.to_string()))?;
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            let request = request.body(Empty::new()).map_err(|error| unreachable(url, error.to_string()))?;
            let shown = uri.to_string();
            let response = tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request))
                .await
                .map_err(|_| unreachable(&shown, format!("no answer within {ANSWER_TIMEOUT:?}")))?
                .map_err(|error| unreachable(&shown, describe(&error)))?;
            let Some(location) =
                response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())
            else {
                return Ok(response);
            };
            let location = location.to_str().map_err(|error| unreachable(&shown, error.to_string()))?;
            uri =
                resolve(&uri, location).ok_or_else(|| unreachable(&shown, format!("it redirects to {location:?}")))?;
        }
        Err(unreachable(url, format!("more than {MAX_REDIRECTS} redirects")))
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

async fn collect(url: &str, response: Response<Incoming>, limit_bytes: usize) -> Result<Bytes, RegistryError> {
    let failed = |reason: String| RegistryError::Body { url: url.to_owned(), reason };
    let body = tokio::time::timeout(IDLE_TIMEOUT, Limited::new(response.into_body(), limit_bytes).collect()).await;
    let body = body.map_err(|_| failed(format!("it took longer than {IDLE_TIMEOUT:?}")))?;
    Ok(body.map_err(|error| failed(error.to_string()))?.to_bytes())
}

fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        return format!("{}://{}{location}", base.scheme_str()?, base.authority()?).parse().ok();
    }
    location.parse().ok().filter(|uri: &Uri| uri.scheme().is_some())
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let name = name.trim_matches(['[', ']']);
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first message of a registry's error body.
fn message_of(body: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = value.as_ref().and_then(|v| v.pointer("/errors/0/message")).and_then(|m| m.as_str());
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

/// An error with its causes: hyper's own words leave them out.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text += &format!(": {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Percent-encodes what a query value must not hold.
fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_registry_is() {
        let client = Client::new(BTreeMap::from([(
            "registry.coracle.internal".to_owned(),
            "http://127.0.0.1:7070/".to_owned(),
        )]));
        let asked = [
            "docker.io",
            "quay.io",
            "localhost:5000",
            "127.0.0.1:7070",
            "[::1]:80",
            "registry.coracle.internal",
            "10.0.0.1:5000",
        ];
        let shown: Vec<String> = asked.iter().map(|registry| client.base_url(registry)).collect();
        assert_eq!(
            shown,
            [
                "https://registry-1.docker.io",
                "https://quay.io",
                "http://localhost:5000",
                "http://127.0.0.1:7070",
                "http://[::1]:80",
                "http://127.0.0.1:7070",
                "https://10.0.0.1:5000"
            ]
        );
    }
}
