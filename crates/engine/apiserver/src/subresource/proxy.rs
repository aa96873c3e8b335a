//! HTTP to a pod, to a service's ready pods, or to the node agent, through the server.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;

use super::relay::{Target, relay};
use crate::{
    object,
    remote::tls_to_anyone,
    response::{self, Answer},
    status::Failure,
    verbs::Call,
};

/// Passes the request on to where the path points.
pub async fn proxy(call: &Call<'_>, method: &Method, upgrade: Option<OnUpgrade>) -> Result<Answer, Failure> {
    let info = &call.request.info;
    if info.rest.is_empty() && matches!(*method, Method::GET | Method::HEAD) {
        // Relative links of the page behind work only below a slash.
        return redirect(&format!("{}/{}", info.path, query_suffix(call)));
    }
    let path = format!("{}{}", if info.rest.is_empty() { "/" } else { &info.rest }, query_suffix(call));
    if call.resource.kind.plural == "nodes" {
        let name = split_name(&info.name).1;
        let key = call.resource.key("", name);
        call.server.store.get(&key).ok_or_else(|| Failure::not_found(call.resource.group_resource(), name))?;
        let stream = tokio::net::UnixStream::connect(&call.server.node_socket).await;
        let stream =
            stream.map_err(|error| Failure::unavailable(format!("error dialing the node agent of {name}: {error}")))?;
        return relay(call, stream, Target { method: method.clone(), path, host: name.to_owned() }, upgrade).await;
    }
    let address = match &*call.resource.kind.plural {
        "pods" => pod_address(call)?,
        _ => service_address(call)?,
    };
    let stream = call.server.reach.dial(address).await?;
    if split_name(&info.name).0 == "https" {
        let ip = address.ip().to_string();
        let stream = tls_to_anyone(stream, &ip).await;
        let stream = stream
            .map_err(|error| Failure::unavailable(format!("error trying to reach service: tls {address}: {error}")))?;
        return relay(call, stream, Target { method: method.clone(), path, host: address.to_string() }, upgrade).await;
    }
    relay(call, stream, Target { method: method.clone(), path, host: address.to_string() }, upgrade).await
}

fn redirect(to: &str) -> Result<Answer, Failure> {
    let mut answer = Response::new(response::whole(""));
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = to.parse().map_err(|_| Failure::bad_request("the path cannot be redirected to"))?;
    answer.headers_mut().insert(header::LOCATION, to);
    Ok(answer)
}

fn query_suffix(call: &Call<'_>) -> String {
    match call.request.query.raw() {
        "" => String::new(),
        raw => format!("?{raw}"),
    }
}

/// `[scheme:]name[:port]`, as scheme, name and port.
fn split_name(text: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [scheme, name, port] => (scheme, name, port),
        [name, port] => ("", name, port),
        _ => ("", text, ""),
    }
}

fn pod_address(call: &Call<'_>) -> Result<SocketAddr, Failure> {
    let (_, name, port) = split_name(&call.request.info.name);
    let key = call.resource.key(&call.request.info.namespace, name);
    let record = call.server.store.get(&key).ok_or_else(|| Failure::not_found(call.resource.group_resource(), name))?;
    let pod = object::decode(&record)?;
    let containers = || pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let number = match port {
        "" => ports.next().and_then(|port| port["containerPort"].as_u64()).unwrap_or(80),
        text => match text.parse() {
            Ok(number) => number,
            Err(_) => ports
                .find(|port| port["name"] == text)
                .and_then(|port| port["containerPort"].as_u64())
                .ok_or_else(|| Failure::bad_request(format!("pod {name} has no port named {text:?}")))?,
        },
    };
    let address: IpAddr = pod["status"]["podIP"]
        .as_str()
        .and_then(|ip| ip.parse().ok())
        .ok_or_else(|| Failure::bad_request("address not allowed"))?;
    Ok(SocketAddr::new(address, u16::try_from(number).map_err(|_| Failure::bad_request("invalid port"))?))
}

/// A ready endpoint of the service's port, any of them.
fn service_address(call: &Call<'_>) -> Result<SocketAddr, Failure> {
    let (_, name, port) = split_name(&call.request.info.name);
    call.server.reach.endpoint(&call.request.info.namespace, name, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(split_name("web"), ("", "web", ""));
        assert_eq!(split_name("web:http"), ("", "web", "http"));
        assert_eq!(split_name("http:web:80"), ("http", "web", "80"));
    }
}
