//! A request passed on, and its answer passed back; once both sides switch protocols, byte for byte.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    request::payload,
    response::{Answer, Body},
    status::Failure,
    verbs::Call,
};

/// What is asked of the other side.
pub struct Target {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The `Host` header.
    pub host: String,
}

/// Headers that are between two neighbours only.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Passes the request on over `stream`.
pub async fn relay<S>(call: &Call<'_>, stream: S, target: Target, upgrade: Option<OnUpgrade>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = target.host.clone();
    let broken =
        move |error: hyper::Error| Failure::unavailable(format!("error trying to reach service at {host}: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken.clone())?;
    coracle_tasks::spawn("api-relay-connection", async move {
        // An error of the connection is seen by whoever reads the answer.
        let _ended = connection.with_upgrades().await;
    });
    let upgrade = upgrade.filter(|_| call.request.headers.contains_key(header::UPGRADE));
    let request = outgoing(call, target, upgrade.is_some());
    let answer = sender.send_request(request).await.map_err(broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(client) => Ok(switch(client, answer)),
            None => Err(Failure::internal("the other side switched protocols without being asked to")),
        };
    }
    Ok(back(answer))
}

fn outgoing(call: &Call<'_>, target: Target, upgrades: bool) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.request.body.clone()));
    *request.method_mut() = target.method;
    *request.uri_mut() = target.path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    for (name, value) in &call.request.headers {
        let hop = is_between_neighbours(name, upgrades);
        let ours = *name == header::HOST || *name == header::CONTENT_LENGTH || *name == header::AUTHORIZATION;
        if !hop && !ours && !name.as_str().starts_with("impersonate-") {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Ok(host) = target.host.parse() {
        headers.insert(header::HOST, host);
    }
    request
}

/// Whether a header is not to be passed on.
pub fn is_between_neighbours(name: &HeaderName, upgrades: bool) -> bool {
    HOP_BY_HOP.contains(name) && !(upgrades && matches!(*name, header::CONNECTION | header::UPGRADE))
}

/// What the node agent refuses, as a Status: its own errors are plain text.
pub async fn explain(answer: Answer) -> Result<Answer, Failure> {
    let is_text = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|value| !value.as_bytes().starts_with(b"application/json"));
    let code = answer.status().as_u16();
    if code < 400 || !is_text {
        return Ok(answer);
    }
    let text = payload::read(answer.into_body()).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let reason = match code {
        400 => "BadRequest",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    };
    Err(Failure::plain(code, reason, if text.is_empty() { format!("the node agent answered {code}") } else { text }))
}

/// An answer on its way back, streams included.
pub fn back(answer: Response<Incoming>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    let body: Body = body.map_err(Into::into).boxed_unsync();
    Response::from_parts(parts, body)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Tells the client that the protocol is switched, and joins both sides once it has heard.
pub fn switch(client: OnUpgrade, answer: Response<Incoming>) -> Answer {
    let (parts, body) = answer.into_parts();
    let node = hyper::upgrade::on(Response::from_parts(parts.clone(), body));
    coracle_tasks::spawn("api-relay", async move {
        let (Ok(client), Ok(node)) = tokio::join!(client, node) else { return };
        let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
        // Either side may leave at any time; that ends the other.
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut node).await;
    });
    let mut answer = Response::new(crate::response::whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = parts.headers;
    answer
}
