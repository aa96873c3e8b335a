//! One request: found a route, sent to a pod, answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::{sync::watch, time::timeout};

use crate::{
    body::{Passing, Replay, ResponseBody},
    counters::Open,
    headers::{self, Client},
    options::{Dialer, Options},
    page, retry,
    retry::{Failed, Sending},
    routes::{Route, Table},
    upgrade,
};

/// Everything a request needs.
pub(crate) struct Proxy {
    pub(crate) table: ArcSwap<Table>,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) options: Options,
}

/// A request with what belongs to it while it is answered.
struct Exchange {
    parts: Parts,
    body: Incoming,
    upgrade: Option<OnUpgrade>,
    client: Client,
    host: String,
}

/// For the access log.
#[derive(Default)]
struct Trace {
    pod: Option<std::net::SocketAddr>,
    attempts: u32,
}

impl Proxy {
    /// Answers a request, whatever happens to it.
    pub(crate) async fn handle(&self, mut request: Request<Incoming>, client: Client) -> Response<ResponseBody> {
        let start = Instant::now();
        let Some(host) = headers::host(&request) else {
            return page::answer(StatusCode::BAD_REQUEST, request.headers(), "the request names no host");
        };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let upgrade = Some(hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let upgrade = upgrade.filter(|_| headers::wants_upgrade(&parts));
        let exchange = Exchange { parts, body, upgrade, client, host: host.clone() };
        let mut trace = Trace::default();
        let response = match self.find(&host, &path).await {
            Ok(route) => self.answer(&route, exchange, start, &mut trace).await,
            Err((status, message)) => page::answer(status, &exchange.parts.headers, &message),
        };
        tracing::info!(
            target: "coracle_gateway::access",
            client = %client.ip,
            %method,
            host,
            path,
            status = response.status().as_u16(),
            pod = trace.pod.map(tracing::field::display),
            attempts = trace.attempts,
            duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        );
        response
    }

    async fn find(&self, host: &str, path: &str) -> Result<Arc<Route>, (StatusCode, String)> {
        if !self.table.load().is_complete {
            // Just started: whether there is a route is known in a moment.
            let _ = timeout(self.options.retry_window, self.ready.clone().wait_for(|ready| *ready)).await;
        }
        let table = self.table.load();
        match table.find(host, path) {
            Some(route) => Ok(Arc::clone(route)),
            None if !table.is_complete => {
                Err((StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting and knows no routes yet".to_owned()))
            }
            None if table.has_host(host) => {
                Err((StatusCode::NOT_FOUND, format!("host {host} is served, but no ingress has a path for {path}")))
            }
            None => Err((StatusCode::NOT_FOUND, format!("no ingress serves the host {host} (path {path})"))),
        }
    }

    async fn answer(
        &self,
        route: &Route,
        exchange: Exchange,
        start: Instant,
        trace: &mut Trace,
    ) -> Response<ResponseBody> {
        let open = route.counters.open();
        let request_headers = exchange.parts.headers.clone();
        let response = match self.forward(route, exchange, open, trace).await {
            Ok(response) => response,
            Err((status, message)) => page::answer(status, &request_headers, &message),
        };
        route.counters.answered(response.status(), start.elapsed());
        response
    }

    async fn forward(
        &self,
        route: &Route,
        exchange: Exchange,
        open: Open,
        trace: &mut Trace,
    ) -> Result<Response<ResponseBody>, (StatusCode, String)> {
        if let Some(missing) = &route.missing {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{missing}, which the ingress for {} names", exchange.host),
            ));
        }
        let Exchange { parts, body, upgrade, client, host } = exchange;
        self.check_length(&parts.headers)?;
        let head = headers::to_pod(&parts, client, upgrade.is_some())
            .ok_or_else(|| (StatusCode::BAD_REQUEST, "the request's head cannot be passed on".to_owned()))?;
        let replay = Replay::new(body, self.options.max_body_bytes);
        let sending = Sending {
            upstream: &route.upstream,
            counters: &route.counters,
            dialer: &self.dialer,
            options: &self.options,
        };
        let answer =
            sending.send(&head, &replay).await.map_err(|failed| explain(&failed, route, &host, &self.options))?;
        (trace.pod, trace.attempts) = (Some(answer.pod), answer.attempts);
        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match upgrade {
                Some(client) => Ok(upgrade::join(client, answer, open)),
                None => {
                    Err((StatusCode::BAD_GATEWAY, format!("{} switched protocols without being asked", route.backend)))
                }
            };
        }
        let retry::Answer { response, lease, .. } = answer;
        let (mut parts, body) = response.into_parts();
        headers::remove_hop_by_hop(&mut parts.headers);
        Ok(Response::from_parts(parts, Passing::new(body, lease).boxed_unsync()))
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match (length, self.options.max_body_bytes) {
            (Some(length), Some(limit)) if length > limit => Err(too_large(limit)),
            _ => Ok(()),
        }
    }
}

fn explain(failed: &Failed, route: &Route, host: &str, options: &Options) -> (StatusCode, String) {
    let backend = &route.backend;
    match failed {
        Failed::NoPods => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "no pod of service {backend} is ready to answer for {host}; see kubectl get pods -n {}",
                backend.service.namespace
            ),
        ),
        Failed::Refused { pod, why } => (
            StatusCode::BAD_GATEWAY,
            format!("no pod of service {backend} takes connections for {host}; the last one, {pod}: {why}"),
        ),
        Failed::Broken { pod, why } => (
            StatusCode::BAD_GATEWAY,
            format!("pod {pod} of service {backend} ended the connection before it answered for {host}: {why}"),
        ),
        Failed::TimedOut { pod } => (
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "pod {pod} of service {backend} did not answer for {host} within {}",
                seconds(options.response_timeout)
            ),
        ),
        Failed::TooLarge => too_large(options.max_body_bytes.unwrap_or(u64::MAX)),
    }
}

fn too_large(limit: u64) -> (StatusCode, String) {
    (StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is larger than the {limit} bytes that are allowed"))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}
