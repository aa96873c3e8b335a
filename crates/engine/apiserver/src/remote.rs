//! Other servers that this one asks: webhooks, and APIs of others that it serves as its own.

use std::{io, sync::Arc, task, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use coracle_certs::Identity;
use futures::future::BoxFuture;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::SingleCertAndKey,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::reach::Reach;

const ANSWER_BYTES: usize = 16 * 1024 * 1024;
const IDLE: Duration = Duration::from_secs(60);

/// Another server, with the connections to it. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    /// `https://host:port`
    base: String,
    path: String,
    /// What it is told about who asks.
    authorization: Option<String>,
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
}

/// Where another server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where its name leads to.
    Host,
    /// Behind a service of the cluster.
    Service {
        /// The service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

/// How another server is trusted.
pub enum Trust {
    /// By these authorities, in PEM.
    Authorities(Vec<u8>),
    /// As the public web does it.
    Public,
    /// Whoever it is.
    Anyone,
}

/// Why another server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Its description is no good.
    #[error("{0}")]
    Description(String),
    /// It cannot be reached, or the connection broke.
    #[error("Post {0:?}: {1}")]
    Connection(String, String),
    /// It took too long.
    #[error("Post {0:?}: context deadline exceeded")]
    Deadline(String),
    /// It answered with an error.
    #[error("{0}")]
    Refused(String),
}

impl Remote {
    /// The server that a webhook's `clientConfig` describes.
    pub fn from_client_config(reach: &Reach, config: &Value) -> Result<Self, RemoteError> {
        let wrong = |why: &str| RemoteError::Description(why.to_owned());
        let trust = match config["caBundle"].as_str().filter(|bundle| !bundle.is_empty()) {
            Some(bundle) => {
                let pem = STANDARD.decode(bundle.trim()).map_err(|_| wrong("the caBundle is not base64"))?;
                Trust::Authorities(pem)
            }
            None => Trust::Public,
        };
        let service = &config["service"];
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        if service.is_object() {
            let port = service["port"].as_u64().unwrap_or(443);
            let port = u16::try_from(port).map_err(|_| wrong("the service's port is out of range"))?;
            let place = Place::Service { namespace: text("namespace"), name: text("name"), port };
            return Self::new(reach, place, &text("path"), trust, None);
        }
        let url = config["url"].as_str().ok_or_else(|| wrong("a URL or a service must be given"))?;
        Self::at(reach, url, trust, None)
    }

    /// The server at a URL.
    pub fn at(reach: &Reach, url: &str, trust: Trust, identity: Option<&Identity>) -> Result<Self, RemoteError> {
        let wrong = |why: &str| RemoteError::Description(why.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong("the url is malformed"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("'https' is the only allowed URL scheme"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("the url names no host"))?;
        let client = client(reach, Place::Host, trust, identity)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { base: format!("https://{authority}"), path, authorization: None, client })
    }

    /// The same server, told who asks by a bearer token.
    pub fn with_token(self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// A server behind a service.
    pub fn new(
        reach: &Reach,
        place: Place,
        path: &str,
        trust: Trust,
        identity: Option<&Identity>,
    ) -> Result<Self, RemoteError> {
        let base = match &place {
            Place::Service { namespace, name, port } => format!("https://{name}.{namespace}.svc:{port}"),
            Place::Host => return Err(RemoteError::Description("a host needs a url".into())),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let client = client(reach, place, trust, identity)?;
        Ok(Self { base, path, authorization: None, client })
    }

    /// Asks with a JSON document, and reads the answer's.
    pub async fn post(&self, document: Vec<u8>, timeout: Duration) -> Result<Value, RemoteError> {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        let uri = format!("{}{}{joint}timeout={}s", self.base, self.path, timeout.as_secs());
        let request = Request::post(&uri).header(header::CONTENT_TYPE, "application/json");
        self.exchange(request, &uri, document, timeout).await
    }

    /// Reads the JSON document that is there.
    pub async fn get(&self, timeout: Duration) -> Result<Value, RemoteError> {
        let uri = format!("{}{}", self.base, self.path);
        self.exchange(Request::get(&uri), &uri, Vec::new(), timeout).await
    }

    async fn exchange(
        &self,
        request: http::request::Builder,
        uri: &str,
        document: Vec<u8>,
        timeout: Duration,
    ) -> Result<Value, RemoteError> {
        let mut request = request.header(header::ACCEPT, "application/json, */*");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request =
            request.body(Full::from(document)).map_err(|error| RemoteError::Description(error.to_string()))?;
        let broken = |error: &(dyn std::error::Error + 'static)| RemoteError::Connection(uri.to_owned(), causes(error));
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| broken(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| broken(&*error))?.to_bytes();
            if !status.is_success() {
                return Err(RemoteError::Refused(refusal(status, &body)));
            }
            serde_json::from_slice(&body)
                .map_err(|error| RemoteError::Refused(format!("the answer is not JSON: {error}")))
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RemoteError::Deadline(uri.to_owned())),
        }
    }

    /// Passes a request on; its URI holds path and query only.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RemoteError> {
        let uri = format!("{}{}", self.base, request.uri());
        *request.uri_mut() = uri.parse().map_err(|_| RemoteError::Description("the path is malformed".into()))?;
        let sent = self.client.request(request).await;
        sent.map_err(|error| RemoteError::Connection(uri, causes(&error)))
    }
}

/// What upstream's client says of a status without an explanation.
fn refusal(status: http::StatusCode, body: &[u8]) -> String {
    match status.as_u16() {
        404 => "the server could not find the requested resource".into(),
        500.. => {
            let text = String::from_utf8_lossy(&body[..body.len().min(2048)]);
            format!("an error on the server ({:?}) has prevented the request from succeeding", text.trim())
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// An error with what is behind it, which HTTP clients like to hide.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn client(
    reach: &Reach,
    place: Place,
    trust: Trust,
    identity: Option<&Identity>,
) -> Result<Client<HttpsConnector<Connector>, Full<Bytes>>, RemoteError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = HttpsConnectorBuilder::new();
    let builder = match trust {
        Trust::Public if identity.is_none() => builder
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| RemoteError::Description(error.to_string()))?,
        trust => builder.with_tls_config(tls(provider, &trust, identity)?),
    };
    let connector = Connector { reach: reach.clone(), place };
    let https = builder.https_only().enable_http1().wrap_connector(connector);
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
    Ok(client.build(https))
}

fn tls(provider: Arc<CryptoProvider>, trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, RemoteError> {
    let wrong = |error: rustls::Error| RemoteError::Description(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(wrong)?;
    let builder = match trust {
        Trust::Authorities(pem) => builder.with_root_certificates(roots(pem)?),
        // Nobody on the public web is to hear who this server's users are: without an authority there is no trust.
        Trust::Public => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Anyone => {
            let verifier = Arc::new(coracle_certs::Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let key = identity.certified_key().map_err(|error| RemoteError::Description(error.to_string()))?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, RemoteError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| RemoteError::Description("the caBundle is malformed".into()))?;
        roots.add(certificate).map_err(|error| RemoteError::Description(error.to_string()))?;
    }
    Ok(roots)
}

/// TLS to whoever is at the other end: what runs in a pod has a certificate that nobody here knows.
pub async fn tls_to_anyone(stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = tls(provider, &Trust::Anyone, None).map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Makes the connections.
#[derive(Clone)]
struct Connector {
    reach: Reach,
    place: Place,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { reach, place } = self.clone();
        Box::pin(async move {
            let stream = match place {
                Place::Host => {
                    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                    TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?
                }
                Place::Service { namespace, name, port } => {
                    reach.service(&namespace, &name, &port.to_string()).await.map_err(io::Error::other)?
                }
            };
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
