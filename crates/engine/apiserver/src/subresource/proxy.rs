//! HTTP to a pod, to a service's ready pods, or to the node agent, through the server.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use rand::RngExt;
use serde_json::Value;

use super::relay::{Target, relay};
use crate::{
    object,
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
    let dialer = call.server.dialer.as_ref();
    let dialer = dialer.ok_or_else(|| Failure::unavailable("this server has no way to the pod network"))?;
    let stream = dialer
        .dial(address)
        .await
        .map_err(|error| Failure::unavailable(format!("error trying to reach service: dial tcp {address}: {error}")))?;
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
    let (scheme, name, port) = split_name(&call.request.info.name);
    refuse_https(scheme)?;
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

fn refuse_https(scheme: &str) -> Result<(), Failure> {
    match scheme {
        "https" => {
            Err(Failure::plain(501, "NotImplemented", "the server proxies to pods and services over plain HTTP only"))
        }
        _ => Ok(()),
    }
}

/// A ready endpoint of the service's port, any of them.
fn service_address(call: &Call<'_>) -> Result<SocketAddr, Failure> {
    let (scheme, name, port) = split_name(&call.request.info.name);
    refuse_https(scheme)?;
    let namespace = &call.request.info.namespace;
    let key = call.resource.key(namespace, name);
    let record = call.server.store.get(&key).ok_or_else(|| Failure::not_found(call.resource.group_resource(), name))?;
    let service = object::decode(&record)?;
    let port_name = port_name(&service, port)
        .ok_or_else(|| Failure::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let mut ready = Vec::new();
    let snapshot = call.server.store.snapshot();
    let prefix = format!("/discovery.k8s.io/endpointslices/{namespace}/");
    let slices = snapshot.list(&prefix).filter(|slice| slice.label("kubernetes.io/service-name") == Some(name));
    for slice in slices {
        ready.extend(ready_endpoints(&object::decode(slice)?, &port_name));
    }
    if ready.is_empty() {
        return Err(Failure::unavailable(format!("no endpoints available for service {:?}", call.request.info.name)));
    }
    Ok(ready[rand::rng().random_range(0..ready.len())])
}

/// The name of the port the client means, by number, by name, or the only one.
fn port_name(service: &Value, port: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let found = match port {
        "" => ports.first().filter(|_| ports.len() == 1),
        text => ports
            .iter()
            .find(|port| port["name"] == text || port["port"].as_u64().is_some_and(|n| n.to_string() == text)),
    };
    found.map(|port| port["name"].as_str().unwrap_or_default().to_owned())
}

fn ready_endpoints(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let port = ports.into_iter().find(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|port| port["port"].as_u64()).and_then(|port| u16::try_from(port).ok()) else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] != Value::Bool(false))
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str()?.parse().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_ports_are_told_apart() {
        assert_eq!(split_name("web"), ("", "web", ""));
        assert_eq!(split_name("web:http"), ("", "web", "http"));
        assert_eq!(split_name("http:web:80"), ("http", "web", "80"));
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}});
        assert_eq!(port_name(&service, "81").as_deref(), Some("admin"));
        assert_eq!(port_name(&service, "http").as_deref(), Some("http"));
        assert_eq!(port_name(&service, ""), None);
    }

    #[test]
    fn endpoints_that_are_not_ready_are_left_out() {
        let slice = json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.42.0.2"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.3"], "conditions": {"ready": false}},
        ]});
        assert_eq!(ready_endpoints(&slice, "http"), ["10.42.0.2:8080".parse().unwrap()]);
    }
}
