//! Smart HTTP (gitprotocol-http): the routes, who may use them, and what a client that may not is told.

mod body;
mod pushing;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{Access, GitError, PushHandler, Repositories, Repository, access, name, receive, upload};

/// How much one client may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The biggest pack a push may bring, compressed.
    pub push_bytes: u64,
    /// A client that sends nothing for this long is given up.
    pub idle: Duration,
    /// Pushes and fetches that are worked on at a time; the others wait.
    pub concurrent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { push_bytes: 2 << 30, idle: Duration::from_secs(60), concurrent: 8 }
    }
}

/// What the server is made of.
pub struct Server {
    /// Where the repositories are.
    pub repositories: Repositories,
    /// Who may push and fetch.
    pub access: Arc<dyn Access>,
    /// Who acts on pushes.
    pub handler: Arc<dyn PushHandler>,
    /// Whether a push to an app that is not there makes it.
    pub create_on_push: bool,
    /// Whether fetching needs a token too.
    pub private: bool,
    /// How much one client may ask for.
    pub limits: Limits,
}

struct Shared {
    server: Server,
    working: Arc<Semaphore>,
}

type Context = Arc<Shared>;

/// The server's routes, `/APP.git/...`.
pub fn router(server: Server) -> Router {
    let working = Arc::new(Semaphore::new(server.limits.concurrent.max(1)));
    Router::new()
        .route("/{repository}/info/refs", get(info_refs))
        .route("/{repository}/git-upload-pack", post(upload_pack))
        .route("/{repository}/git-receive-pack", post(pushing::receive_pack))
        .with_state(Arc::new(Shared { server, working }))
}

/// What a client is told instead of what it asked for. Git shows the text after `remote: `.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<GitError> for Refusal {
    fn from(error: GitError) -> Self {
        let status = match &error {
            GitError::AppName(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Basic realm=\"coracle\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Fetch,
    Push,
}

impl Shared {
    /// Who asks, or why they may not.
    fn authorize(&self, headers: &HeaderMap, service: Service) -> Result<String, Refusal> {
        match access::credentials(headers) {
            Some((user, token)) => self.server.access.identify(&user, &token).ok_or_else(|| {
                Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "this token is not valid here: give the one of this installation as the password",
                )
            }),
            None if service == Service::Fetch && !self.server.private => Ok("anonymous".into()),
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed: push to http://USER:TOKEN@HOST/APP.git, or give the token as the password",
            )),
        }
    }

    /// The repository a path names; None where it is not there.
    fn find(&self, path: &str) -> Result<(String, Option<Repository>), Refusal> {
        let app = path.strip_suffix(".git").unwrap_or(path);
        name::check_app(app).map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, why))?;
        Ok((app.to_owned(), self.server.repositories.get(app)?))
    }

    fn find_existing(&self, path: &str) -> Result<Repository, Refusal> {
        let (app, repository) = self.find(path)?;
        repository.ok_or_else(|| {
            let hint = if self.server.create_on_push { "; push to it and it will be made" } else { "" };
            Refusal::new(StatusCode::NOT_FOUND, format!("there is no app {app:?} here{hint}"))
        })
    }
}

#[derive(Deserialize)]
struct InfoQuery {
    service: Option<String>,
}

/// Whether the client speaks version 2.
fn speaks_v2(headers: &HeaderMap) -> bool {
    let value = headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(':').any(|part| part == "version=2")
}

fn answer(content_type: &'static str, body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

async fn info_refs(
    State(shared): State<Context>,
    Path(path): Path<String>,
    Query(query): Query<InfoQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    match query.service.as_deref() {
        Some("git-upload-pack") => {
            shared.authorize(&headers, Service::Fetch)?;
            let repository = shared.find_existing(&path)?;
            let v2 = speaks_v2(&headers);
            let out = blocking(move || {
                let mut out = Vec::new();
                if v2 {
                    upload::advertise_v2(&mut out)?;
                } else {
                    out.extend_from_slice(b"001e# service=git-upload-pack\n0000");
                    upload::advertise_v0(&mut out, &repository)?;
                }
                Ok::<_, upload::UploadError>(out)
            });
            let out = out.await?.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            Ok(answer("application/x-git-upload-pack-advertisement", out.into()))
        }
        Some("git-receive-pack") => {
            shared.authorize(&headers, Service::Push)?;
            let refs = match shared.find(&path)? {
                (_, Some(repository)) => blocking(move || repository.refs()).await??,
                (_, None) if shared.server.create_on_push => Default::default(),
                (app, None) => {
                    return Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no app {app:?} here")));
                }
            };
            let mut out = b"001f# service=git-receive-pack\n0000".to_vec();
            receive::advertise(&mut out, &refs)
                .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            Ok(answer("application/x-git-receive-pack-advertisement", out.into()))
        }
        _ => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "only Git's smart HTTP protocol is spoken here: git 1.6.6 or newer is needed",
        )),
    }
}

async fn upload_pack(
    State(shared): State<Context>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    shared.authorize(&headers, Service::Fetch)?;
    let repository = shared.find_existing(&path)?;
    let permit = shared.working.clone().acquire_owned().await;
    let v2 = speaks_v2(&headers);
    let mut input = body::reader(body, &headers, shared.server.limits.idle)?;
    let (mut output, response) = body::writer();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let served = match v2 {
            true => upload::serve_v2(&repository, &mut input, &mut output),
            false => upload::serve_v0(&repository, &mut input, &mut output),
        };
        let flushed = served.and_then(|()| Ok(std::io::Write::flush(&mut output)?));
        if let Err(error) = flushed {
            tracing::debug!(app = repository.app(), %error, "a fetch was not served");
            // Git shows an `ERR` packet to the person; where the pack has begun it only sees the connection break.
            let _ = crate::pktline::write_line(&mut output, &format!("ERR {error}"));
            output.fail();
        }
    });
    Ok(answer("application/x-git-upload-pack-result", response))
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request failed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "this request failed here; the server's log says why")
    })
}
