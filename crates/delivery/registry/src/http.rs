//! The distribution specification's HTTP interface over a [`Store`].

mod blobs;
mod error;
mod manifests;

use std::{io, sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    Store, name,
    route::{self, Route},
};
use error::{Code, Error};

/// A client that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);
/// As many names as one page of a list holds, asked for or not.
const LONGEST_PAGE: usize = 1000;

/// Who may pull and push.
pub trait Access: Send + Sync + 'static {
    /// Whether whoever presents this user name and token may push, and pull where a token is needed.
    fn knows(&self, user: &str, token: &str) -> bool;

    /// Whether pulling needs no token.
    fn anonymous_pull(&self) -> bool;
}

/// What the server is made of.
pub struct Registry {
    /// The content.
    pub store: Store,
    /// Who may pull and push.
    pub access: Arc<dyn Access>,
}

/// The registry's routes, `/v2/...`.
pub fn router(registry: Registry) -> Router {
    let registry = Arc::new(registry);
    Router::new()
        .route("/v2/", any(serve))
        .route("/v2", any(serve))
        .route("/v2/{*rest}", any(serve))
        .with_state(registry)
}

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let mut response = match dispatch(&registry, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

async fn dispatch(registry: &Registry, request: Request) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    authorize(registry, &parts.method, &parts.headers)?;
    let path = parts.uri.path().strip_prefix("/v2/").unwrap_or_default().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let route =
        route::parse(&path).ok_or_else(|| Error::new(Code::Unsupported, StatusCode::NOT_FOUND, "no such end point"))?;
    if let Some(name) = repository(route).filter(|name| !name::is_repository(name)) {
        let text =
            format!("{name:?} cannot be a repository: lower-case letters and digits, joined by '.', '_', '-' and '/'");
        return Err(Error::new(Code::NameInvalid, StatusCode::BAD_REQUEST, text));
    }
    let call = Call { store: registry.store.clone(), method: parts.method, headers: parts.headers, query };
    match route {
        Route::Base => Ok(StatusCode::OK.into_response()),
        Route::Catalog => manifests::catalog(call).await,
        Route::Tags(name) => manifests::tags(call, name.to_owned()).await,
        Route::Manifest(name, reference) => manifests::serve(call, body, name.to_owned(), reference).await,
        Route::Referrers(name, digest) => manifests::referrers(call, name.to_owned(), digest).await,
        Route::Blob(name, digest) => blobs::serve(call, name.to_owned(), digest).await,
        Route::Uploads(name) => blobs::begin(call, body, name.to_owned()).await,
        Route::Upload(name, id) => blobs::upload(call, body, name.to_owned(), id.to_owned()).await,
    }
}

fn repository(route: Route<'_>) -> Option<&str> {
    match route {
        Route::Base | Route::Catalog => None,
        Route::Tags(name) | Route::Uploads(name) => Some(name),
        Route::Manifest(name, _) | Route::Blob(name, _) | Route::Upload(name, _) | Route::Referrers(name, _) => {
            Some(name)
        }
    }
}

fn authorize(registry: &Registry, method: &Method, headers: &HeaderMap) -> Result<(), Error> {
    let pulls = matches!(*method, Method::GET | Method::HEAD);
    match credentials(headers) {
        Some((user, token)) if registry.access.knows(&user, &token) => Ok(()),
        Some(_) => Err(Error::new(Code::Unauthorized, StatusCode::UNAUTHORIZED, "this token is not valid here")),
        None if pulls && registry.access.anonymous_pull() => Ok(()),
        None => Err(Error::new(
            Code::Unauthorized,
            StatusCode::UNAUTHORIZED,
            "a token is needed: log in with any user name and the token of this installation as the password",
        )),
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, token)| (user.to_owned(), token.to_owned()))
}

/// One request, once its end point is known.
struct Call {
    store: Store,
    method: Method,
    headers: HeaderMap,
    query: String,
}

impl Call {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.query, name)
    }

    fn unsupported(&self) -> Error {
        Error::new(Code::Unsupported, StatusCode::METHOD_NOT_ALLOWED, format!("{} does nothing here", self.method))
    }
}

/// A parameter of a query, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let mut decoded = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// A blocking reader of a request's body, for threads outside the runtime.
fn reader(body: Body) -> impl io::Read + Send {
    let chunks = body.into_data_stream().map_err(io::Error::other);
    let impatient = futures::stream::unfold(Some(Box::pin(chunks)), |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout(IDLE, chunks.next()).await {
            Ok(Some(chunk)) => Some((chunk, Some(chunks))),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    });
    SyncIoBridge::new(StreamReader::new(Box::pin(impatient)))
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a registry request failed");
            Err(Error::new(
                Code::Unknown,
                StatusCode::INTERNAL_SERVER_ERROR,
                "this request failed here; the server's log says why",
            ))
        }
    }
}

/// One page of `names`, and where the next one begins.
fn page(call: &Call, names: Vec<String>) -> Result<(Vec<String>, Option<String>), Error> {
    let count = match call.parameter("n") {
        None => LONGEST_PAGE,
        Some(text) => match text.parse::<usize>() {
            Ok(count) => count.min(LONGEST_PAGE),
            Err(_) => {
                return Err(Error::new(Code::PaginationNumberInvalid, StatusCode::BAD_REQUEST, "n is not a number"));
            }
        },
    };
    let after = call.parameter("last");
    let rest: Vec<String> = names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)).collect();
    let more = rest.len() > count && count > 0;
    let page: Vec<String> = rest.into_iter().take(count).collect();
    let next = page.last().filter(|_| more).map(|last| format!("n={count}&last={last}"));
    Ok((page, next))
}
