//! From a request to what answers it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{Method, StatusCode};
use hyper::upgrade::OnUpgrade;

use crate::{
    discovery, health, metrics, openapi, own,
    request::Request,
    response::{self, Answer},
    review,
    server::Server,
    status::Failure,
    subresource,
    verbs::{Call, collection, create, delete, get, list, patch, update, watch},
};

/// Upstream's bound for everything that is no stream.
const LONGEST: Duration = Duration::from_secs(60);

/// Answers a request that is allowed. Boxed: everything behind it is one large future, made once a request.
pub fn route(
    server: Server,
    request: Arc<Request>,
    method: Method,
    upgrade: Option<OnUpgrade>,
) -> BoxFuture<'static, Result<Answer, Failure>> {
    Box::pin(async move { dispatch(&server, &request, &method, upgrade).await })
}

async fn dispatch(
    server: &Server,
    request: &Arc<Request>,
    method: &Method,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    if !request.info.is_resource {
        return path(server, request, method).await;
    }
    if subresource::connect::is_connection(&request.info.subresource) {
        let resource = find(server, request)?;
        let call = Call { server, request, resource: &resource };
        return subresource::connect::connect(&call, method, upgrade).await;
    }
    if request.info.verb == "watch" {
        return resource(server, request).await;
    }
    match tokio::time::timeout(LONGEST, resource(server, request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::plain(504, "Timeout", "Timeout: request did not complete within the allotted timeout")),
    }
}

fn find(server: &Server, request: &Request) -> Result<Arc<crate::registry::Resource>, Failure> {
    let info = &request.info;
    let found = server.registry.find(&info.group, &info.version, &info.resource);
    let resource = found.ok_or_else(Failure::no_such_resource)?;
    if let Some(text) = &resource.deprecation {
        request.warn(text.clone());
    }
    Ok(resource)
}

async fn resource(server: &Server, request: &Arc<Request>) -> Result<Answer, Failure> {
    let resource = find(server, request)?;
    let call = Call { server, request, resource: &resource };
    let info = &request.info;
    if !resource.kind.namespaced && !info.namespace.is_empty() && resource.kind.plural != "namespaces" {
        return Err(Failure::no_such_resource());
    }
    if let Some(answer) = review::answer(&call).await? {
        return Ok(answer);
    }
    if !info.subresource.is_empty() {
        return subresource::answer(&call).await;
    }
    if resource.kind.plural == "bindings" && info.verb == "create" && resource.kind.group.is_empty() {
        return subresource::bind_named(&call).await;
    }
    let unsupported = || Failure::method_not_supported(resource.group_resource(), &info.verb);
    if !resource.serves(&info.verb) {
        return Err(unsupported());
    }
    match info.verb.as_str() {
        "get" => get::get(&call).await,
        "list" => list::list(&call).await,
        "watch" => watch::watch(&call, request.clone()).await,
        "create" if info.name.is_empty() => create::create(&call).await,
        "update" if !info.name.is_empty() => update::update(&call).await,
        "patch" if !info.name.is_empty() => patch::patch(&call).await,
        "delete" => delete::delete(&call).await,
        "deletecollection" => collection::delete_collection(&call).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

async fn path(server: &Server, request: &Arc<Request>, method: &Method) -> Result<Answer, Failure> {
    let path = request.info.path.as_str();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    if first == "coracle" {
        return own::answer(server, request, method).await;
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Failure::method_not_allowed());
    }
    match first {
        "healthz" | "livez" | "readyz" => Ok(health::answer(server, request)),
        "version" => Ok(health::version(request)),
        "metrics" => Ok(metrics::answer(server)),
        "api" | "apis" => discovery::answer(server, request),
        "openapi" => openapi::answer(server, request).await,
        "openid" | ".well-known" => crate::authn::keys::answer(server, request),
        "" => discovery::paths(server, request),
        _ => Ok(not_found()),
    }
}

/// What upstream says of paths it does not know at all.
pub fn not_found() -> Answer {
    response::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
