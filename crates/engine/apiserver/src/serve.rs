//! The way of a request: taken apart, its sender found out and allowed, then handed to what answers it.

pub mod client;
pub mod listen;
mod route;

pub use route::not_found;

use std::{net::IpAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::upgrade::OnUpgrade;

use crate::{
    aggregate, audit,
    authn::{self, User, impersonation},
    authz::{Attributes, Decision, Selectors},
    priority,
    request::{
        Request,
        accept::Accept,
        info::RequestInfo,
        payload,
        query::Query,
        selector::{FieldSelector, LabelSelector},
    },
    response::{self, Answer},
    server::Server,
    status::{Failure, GroupResource},
};

/// Who is at the other end, as far as the connection tells.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The user of a verified client certificate, or of an in-process client.
    pub user: Option<Arc<User>>,
    /// Where it is; unknown in process.
    pub address: Option<IpAddr>,
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
    let mut info = RequestInfo::parse(&parts.method, parts.uri.path(), query.flag("watch"));
    info.narrow(query.get("fieldSelector").unwrap_or_default());
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let labels = crate::metrics::Labels::of(&info);
    let in_flight = server.metrics.begin(&labels);
    let accept = Accept::negotiate(&parts.headers, &query, has_messages(server, &info));
    // Proxied answers have their own types; whatever the client accepts there is between it and the pod.
    let is_passed_on = is_connection(&info) || foreign(server, &info).is_some();
    let passes_through = labels.verb == "watch" || is_passed_on;
    let accept = if is_passed_on { Ok(accept.unwrap_or_default()) } else { accept };
    let shown = accept.as_ref().copied().unwrap_or_default();
    // Only auditors look at what is answered once more.
    let audited = server.audit.as_ref().map(|_| info.clone());
    let mut way = Way { id: request_id(&parts.headers), ..Way::default() };
    let outcome = match accept {
        Ok(accept) => answer(server, peer, &parts, info, query, accept, body, upgrade, &mut way).await,
        Err(failure) if labels.is_api() => Err(failure),
        Err(_) => answer(server, peer, &parts, info, query, Accept::default(), body, upgrade, &mut way).await,
    };
    let mut answer = outcome.unwrap_or_else(|failure| {
        if let Some(trail) = &way.trail {
            trail.failed(&failure);
        }
        response::failure(shown, &failure)
    });
    if let Some(trail) = way.trail {
        let takes_long = answer.status().is_success() && passes_through || answer.status().as_u16() == 101;
        answer = match takes_long {
            true => audit::watched(trail, answer).await,
            false => trail.answered(answer, |bytes| decode_message(server, audited.as_ref()?, bytes)).await,
        };
    }
    if !passes_through {
        answer = response::compress(&parts.headers, answer).await;
    }
    server.metrics.end(in_flight, &labels, answer.status().as_u16(), begun.elapsed());
    if let Ok(id) = HeaderValue::from_str(&way.id) {
        answer.headers_mut().insert("audit-id", id);
    }
    if let Some(place) = way.place {
        place.tell(&mut answer);
    }
    if parts.method == Method::HEAD {
        *answer.body_mut() = response::whole(Bytes::new());
    }
    answer
}

/// What is found out about a request on its way, and told with its answer.
#[derive(Default)]
struct Way {
    /// Its own id.
    id: String,
    /// What is written down about it.
    trail: Option<Arc<audit::Trail>>,
    /// Where it took its seat.
    place: Option<priority::Place>,
}

/// The id a client gave its request, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("audit-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    given.map_or_else(crate::names::uid, |id| id.chars().take(64).collect())
}

/// A protobuf message of the kind a request is about, as a document.
fn decode_message(server: &Server, info: &RequestInfo, bytes: &Bytes) -> Option<serde_json::Value> {
    let resource = server.registry.find(&info.group, &info.version, &info.resource)?;
    coracle_schema::protobuf::object(bytes, resource.kind.schema.root()).ok()
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
    way: &mut Way,
) -> Result<Answer, Failure> {
    let asking = identify(server, peer, parts, &info).await;
    if let Some(audit) = &server.audit {
        let nobody = Arc::default();
        let incoming = audit::Incoming {
            info: &info,
            user: asking.as_ref().unwrap_or(&nobody),
            id: &way.id,
            uri: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: &parts.headers,
            address: peer.address,
        };
        way.trail = audit::Trail::begin(audit, incoming).await;
    }
    let asking = asking?;
    let user = impersonation::effective(&parts.headers, asking.clone(), &*server.authorizer)?;
    if let Some(trail) = way.trail.as_ref().filter(|_| !Arc::ptr_eq(&user, &asking)) {
        trail.impersonates(&user);
    }
    let _seat = if info.is_resource && is_connection(&info) {
        None
    } else {
        let (place, seat) = server.priority.admit(&info, &user).await;
        way.place = place;
        seat?
    };
    authorize(server, &user, &info, &query, way.trail.as_deref())?;
    if let Some(foreign) = foreign(server, &info) {
        let body = payload::read(body).await?;
        return aggregate::relay(&foreign, &user, parts, body, upgrade).await;
    }
    // Reads have no body, but for deletions' options.
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let body = if reads && !is_connection(&info) { Bytes::new() } else { payload::read(body).await? };
    if let Some(trail) = &way.trail {
        trail.sent(&info, &body, || match payload::media_type(&parts.headers) {
            "application/yaml" | "application/apply-patch+yaml" => serde_saphyr::from_slice(&body).ok(),
            _ => decode_message(server, &info, &body),
        });
    }
    let request = Request::new(info, query, parts.headers.clone(), user, accept, body).with_trail(way.trail.clone());
    let request = Arc::new(request);
    let outcome = route::route(server.clone(), request.clone(), parts.method.clone(), upgrade).await;
    let mut answer = outcome.unwrap_or_else(|failure| {
        if let Some(trail) = &way.trail {
            trail.failed(&failure);
        }
        response::failure(accept, &failure)
    });
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

async fn identify(
    server: &Server,
    peer: &Peer,
    parts: &http::request::Parts,
    info: &RequestInfo,
) -> Result<Arc<User>, Failure> {
    let found = server.authenticator.authenticate(&parts.headers, peer.user.as_ref()).await?;
    match found {
        Some(user) => Ok(user),
        None if !info.is_resource && server.authenticator.anonymous.admits(&info.path) => {
            Ok(Arc::new(User::anonymous()))
        }
        None => Err(Failure::unauthorized()),
    }
}

fn authorize(
    server: &Server,
    user: &User,
    info: &RequestInfo,
    query: &Query,
    trail: Option<&audit::Trail>,
) -> Result<(), Failure> {
    let note = |decision: &str, reason: &str| {
        if let Some(trail) = trail {
            trail.annotate("authorization.k8s.io/decision", decision.to_owned());
            trail.annotate("authorization.k8s.io/reason", reason.to_owned());
        }
    };
    if !info.is_resource && authn::open_to_all(&info.path) {
        return Ok(());
    }
    // One that cannot be read selects everything here, and is refused later on.
    let selector = |name: &str| query.get(name).filter(|text| !text.is_empty() && info.heeds_selectors());
    let fields = selector("fieldSelector").and_then(|text| FieldSelector::parse(text).ok());
    let labels = selector("labelSelector").and_then(|text| LabelSelector::parse(text).ok());
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
        selectors: Selectors { fields: fields.as_ref(), labels: labels.as_ref() },
    };
    match server.authorizer.authorize(&attributes) {
        Decision::Allow { reason } => {
            note("allow", &reason);
            Ok(())
        }
        Decision::Deny { reason } | Decision::NoOpinion { reason } => {
            note("forbid", &reason);
            let mut why = attributes.denial();
            if !reason.is_empty() {
                why = format!("{why}: {reason}");
            }
            Err(Failure::forbidden(GroupResource { group: &info.group, resource: &info.resource }, &info.name, &why))
        }
    }
}
