//! The kubelet's HTTP API, on a unix socket: only the API server of this engine can reach it, and it has checked who asks.

mod exec;
mod forward;
mod logs;
mod query;
mod stats;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1 as core;
use serde_json::json;
use tokio::{net::UnixListener, sync::mpsc};

use crate::{
    agent::Pods,
    context::Context,
    pod::{
        state::{Container, PodState},
        worker::Handle,
    },
};

/// What is sent back.
pub type Body = BoxBody<Bytes, io::Error>;

/// A request that cannot be served; the text is what kubectl shows.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub String);

type Answer = Result<Response<Body>, Refusal>;

impl Refusal {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, message.into())
    }
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Server {
    pub context: Arc<Context>,
    pub pods: Arc<Pods>,
}

fn whole(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", text)
}

fn json_body(value: &impl serde::Serialize) -> Response<Body> {
    whole(StatusCode::OK, "application/json", serde_json::to_vec(value).expect("what is served is JSON"))
}

/// A body whose pieces come one by one.
fn streamed(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Response<Body> {
    let frames = tokio_stream(pieces).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

fn tokio_stream(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + Sync {
    futures::stream::unfold(pieces, async |mut pieces| pieces.recv().await.map(|piece| (piece, pieces)))
}

/// Listens at `path`; only this user may connect.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Server {
    /// Answers until it is dropped.
    pub async fn run(self, listener: UnixListener) -> io::Result<()> {
        loop {
            let (connection, _) = listener.accept().await?;
            let server = self.clone();
            coracle_tasks::spawn("kubelet-connection", async move {
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let served = http.serve_connection(TokioIo::new(connection), service).with_upgrades().await;
                if let Err(error) = served {
                    tracing::debug!(%error, "kubelet connection");
                }
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match self.route(request, &path).await {
            Ok(response) => response,
            Err(Refusal(status, message)) => text(status, message),
        }
    }

    async fn route(&self, request: Request<Incoming>, path: &str) -> Answer {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let reads = request.method() == Method::GET;
        match parts[..] {
            ["healthz"] if reads => Ok(text(StatusCode::OK, "ok")),
            ["pods" | "runningpods"] if reads => Ok(self.list_pods()),
            ["stats", "summary"] if reads => Ok(stats::summary(self).await),
            ["metrics", "cadvisor"] if reads => Ok(stats::cadvisor(self).await),
            ["metrics", "resource"] if reads => Ok(stats::resource(self).await),
            ["containerLogs", namespace, pod, container] if reads => {
                let pod = self.pod(namespace, pod)?;
                logs::serve(self, &pod, container, request.uri().query().unwrap_or_default())
            }
            ["exec", namespace, pod, container] => exec::exec(self, &self.pod(namespace, pod)?, container, request),
            ["exec", namespace, pod, _, container] => exec::exec(self, &self.pod(namespace, pod)?, container, request),
            ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
                exec::attach(self, &self.pod(namespace, pod)?, container, request)
            }
            ["run", namespace, pod, container] if request.method() == Method::POST => {
                exec::run(self, &self.pod(namespace, pod)?, container, request.uri().query().unwrap_or_default()).await
            }
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
                forward::serve(self, &self.pod(namespace, pod)?, request)
            }
            _ => Err(Refusal::not_found("404 page not found\n")),
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Result<Handle, Refusal> {
        let found = self.pods.find(namespace, name);
        found.ok_or_else(|| Refusal::not_found(format!("pod \"{name}_{namespace}\" does not exist")))
    }

    fn list_pods(&self) -> Response<Body> {
        let mut items: Vec<core::Pod> = self.pods.states().iter().map(|state| (*state.pod).clone()).collect();
        items.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        json_body(&json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items }))
    }
}

/// A container by name, the first ordinary one for an empty name.
fn container<'a>(state: &'a PodState, name: &str) -> Result<&'a Container, Refusal> {
    state.container(name).ok_or_else(|| {
        Refusal::not_found(format!("container {name} not found in pod {}_{}", state.name(), state.namespace()))
    })
}

/// The runtime's id of a container that runs.
fn running_id(state: &PodState, name: &str) -> Result<String, Refusal> {
    let container = container(state, name)?;
    container.instance().map(|instance| instance.id.clone()).ok_or_else(|| {
        let pod = format!("{}_{}", state.name(), state.namespace());
        Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("unable to upgrade connection: container not found (\"{name}\") in pod {pod}"),
        )
    })
}
