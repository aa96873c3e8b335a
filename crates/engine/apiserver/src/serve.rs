//! The way of a request: taken apart, its sender found out and allowed, then handed to what answers it.

pub mod client;
pub mod listen;
mod route;

pub use route::not_found;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::upgrade::OnUpgrade;

use crate::{
    aggregate,
    authn::{self, User, impersonation},
    authz::{Attributes, Decision},
    request::{Request, accept::Accept, info::RequestInfo, payload, query::Query},
    response::{self, Answer},
    server::Server,
    status::{Failure, GroupResource},
};

/// Who is at the other end, as far as the connection tells.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The user of a verified client certificate, or of an in-process client.
    pub user: Option<Arc<User>>,
}

/// A body, wherever it comes from. What went wrong on its way is told by its end.
type Body = UnsyncBoxBody<Bytes, ()>;

/// Answers one request. Boxed, so that it is compiled with this crate and not with whoever runs it.
pub fn handle<'a, B>(server: &'a Server, peer: &'a Peer, request: http::Request<B>) -> BoxFuture<'a, Answer>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    Box::pin(respond(server, peer, request.map(|body| body.map_err(|_| ()).boxed_unsync())))
}

async fn respond(server: &Server, peer: &Peer, request: http::Request<Body>) -> Answer {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), query.flag("watch"));
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let labels = crate::metrics::Labels::of(&info);
    let in_flight = server.metrics.begin(&labels);
    let accept = Accept::negotiate(&parts.headers, &query, has_messages(server, &info));
    // Proxied answers have their own types; whatever the client accepts there is between it and the pod.
    let is_passed_on = is_connection(&info) || foreign(server, &info).is_some();
    let passes_through = labels.verb == "watch" || is_passed_on;
    let accept = if is_passed_on { Ok(accept.unwrap_or_default()) } else { accept };
    let shown = accept.as_ref().copied().unwrap_or_default();
    let outcome = match accept {
        Ok(accept) => answer(server, peer, &parts, info, query, accept, body, upgrade).await,
        Err(failure) if labels.is_api() => Err(failure),
        Err(_) => answer(server, peer, &parts, info, query, Accept::default(), body, upgrade).await,
    };
    let mut answer = outcome.unwrap_or_else(|failure| response::failure(shown, &failure));
    if !passes_through {
        answer = response::compress(&parts.headers, answer).await;
    }
    server.metrics.end(in_flight, &labels, answer.status().as_u16(), begun.elapsed());
    if let Ok(id) = HeaderValue::from_str(&crate::names::uid()) {
        answer.headers_mut().insert("audit-id", id);
    }
    if parts.method == Method::HEAD {
        *answer.body_mut() = response::whole(Bytes::new());
    }
    answer
}

/// Whether there is a protobuf form of what is asked for.
fn has_messages(server: &Server, info: &RequestInfo) -> bool {
    let served = || server.registry.find(&info.group, &info.version, &info.resource);
    !info.is_resource || served().is_none_or(|resource| resource.kind.is_builtin())
}

fn is_connection(info: &RequestInfo) -> bool {
    matches!(info.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward" | "log")
}

#[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart just once")]
async fn answer(
    server: &Server,
    peer: &Peer,
    parts: &http::request::Parts,
    info: RequestInfo,
    query: Query,
    accept: Accept,
    body: Body,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let user = identify(server, peer, parts, &info)?;
    authorize(server, &user, &info)?;
    if let Some(foreign) = foreign(server, &info) {
        let body = payload::read(body).await?;
        return aggregate::relay(&foreign, &user, parts, body, upgrade).await;
    }
    // Reads have no body, but for deletions' options.
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let body = if reads && !is_connection(&info) { Bytes::new() } else { payload::read(body).await? };
    let request = Arc::new(Request::new(info, query, parts.headers.clone(), user, accept, body));
    let outcome = route::route(server.clone(), request.clone(), parts.method.clone(), upgrade).await;
    let mut answer = outcome.unwrap_or_else(|failure| response::failure(accept, &failure));
    response::add_warnings(answer.headers_mut(), request.take_warnings());
    Ok(answer)
}

/// Who answers for a request, where it is another server: for resources, for the version's own document, and for its
/// OpenAPI.
fn foreign(server: &Server, info: &RequestInfo) -> Option<Arc<aggregate::Foreign>> {
    if info.is_resource {
        return server.aggregate.find(&info.group, &info.version);
    }
    let path = info.path.trim_matches('/');
    match path.strip_prefix("openapi/v3/").unwrap_or(path).split('/').collect::<Vec<_>>()[..] {
        ["apis", group, version] => server.aggregate.find(group, version),
        _ => None,
    }
}

fn identify(
    server: &Server,
    peer: &Peer,
    parts: &http::request::Parts,
    info: &RequestInfo,
) -> Result<Arc<User>, Failure> {
    let found = server.authenticator.authenticate(&parts.headers, peer.user.as_ref())?;
    match found {
        Some(user) => impersonation::effective(&parts.headers, user, &*server.authorizer),
        None if !info.is_resource && authn::open_to_all(&info.path) => Ok(Arc::new(User::anonymous())),
        None => Err(Failure::unauthorized()),
    }
}

fn authorize(server: &Server, user: &User, info: &RequestInfo) -> Result<(), Failure> {
    if !info.is_resource && authn::open_to_all(&info.path) {
        return Ok(());
    }
    let attributes = Attributes {
        user,
        verb: &info.verb,
        api_group: &info.group,
        api_version: &info.version,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        path: &info.path,
        resource_request: info.is_resource,
    };
    match server.authorizer.authorize(&attributes) {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => {
            let mut why = attributes.denial();
            if !reason.is_empty() {
                why = format!("{why}: {reason}");
            }
            Err(Failure::forbidden(GroupResource { group: &info.group, resource: &info.resource }, &info.name, &why))
        }
    }
}
