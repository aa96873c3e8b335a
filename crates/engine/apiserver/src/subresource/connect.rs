//! Connections to what runs: logs, exec, attach and port-forward go to the node agent's socket, proxies to pods, services
//! and nodes.

use http::{Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::{proxy, relay};
use crate::{
    admission::{self, Operation, webhook::connect_options},
    object,
    response::Answer,
    status::Failure,
    verbs::Call,
};

/// Which container `kubectl` means when it does not say.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Whether a subresource is a connection.
pub fn is_connection(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Connects the client with what it wants to reach.
pub async fn connect(call: &Call<'_>, method: &Method, upgrade: Option<OnUpgrade>) -> Result<Answer, Failure> {
    let info = &call.request.info;
    call.resource.kind.subresource(&info.subresource).ok_or_else(Failure::no_such_resource)?;
    // Reading a log is no connection to those who are asked.
    if info.subresource != "log" {
        let attributes = call.attributes(Operation::Connect, &info.name, None, false);
        admission::validate_without_object(&attributes, &connect_options(&attributes)).await?;
    }
    if info.subresource == "proxy" {
        return proxy::proxy(call, method, upgrade).await;
    }
    let pod = object::decode(&*call.record()?)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        // A log that is not there yet is empty, as upstream has it.
        return match info.subresource.as_str() {
            "log" => Ok(crate::response::text(StatusCode::OK, "")),
            _ => Err(Failure::bad_request(format!("pod {} does not have a host assigned", info.name))),
        };
    }
    let (namespace, name) = (&info.namespace, &info.name);
    let target = match info.subresource.as_str() {
        "portforward" => format!("/portForward/{namespace}/{name}"),
        "log" => format!("/containerLogs/{namespace}/{name}/{}", container(call, &pod)?),
        verb => format!("/{verb}/{namespace}/{name}/{}", container(call, &pod)?),
    };
    let query = node_query(call);
    let target = if query.is_empty() { target } else { format!("{target}?{query}") };
    let stream = tokio::net::UnixStream::connect(&call.server.node_socket)
        .await
        .map_err(|error| Failure::internal(format!("error dialing the node agent of {node}: {error}")))?;
    let target = relay::Target { method: method.clone(), path: target, host: node.to_owned() };
    relay::explain(relay::relay(call, stream, target, upgrade).await?).await
}

/// The query as the node agent takes it: the client's, with the kubelet's names for the streams beside it.
fn node_query(call: &Call<'_>) -> String {
    let query = &call.request.query;
    let mut pairs: Vec<String> = Vec::new();
    for (key, value) in query.pairs() {
        if key != "container" {
            pairs.push(format!("{}={}", escape(key), escape(value)));
        }
    }
    for (ours, kubelets) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error")] {
        if matches!(call.request.info.subresource.as_str(), "exec" | "attach") && query.flag(ours) {
            pairs.push(format!("{kubelets}=1"));
        }
    }
    pairs.join("&")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    pod["spec"][list].as_array().into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
}

/// The container the client names, or the only one.
fn container(call: &Call<'_>, pod: &Value) -> Result<String, Failure> {
    let name = &call.request.info.name;
    let [containers, init, ephemeral] =
        ["containers", "initContainers", "ephemeralContainers"].map(|list| names(pod, list));
    let asked = call.request.query.get("container");
    if let Some(asked) = asked {
        let known = containers.iter().chain(&init).chain(&ephemeral).any(|container| *container == asked);
        return match known {
            true => Ok(asked.to_owned()),
            false => Err(Failure::bad_request(format!("container {asked} is not valid for pod {name}"))),
        };
    }
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    match containers.as_slice() {
        [] => Err(Failure::bad_request(format!("a container name must be specified for pod {name}"))),
        [only] if init.is_empty() || call.request.info.subresource != "log" => Ok((*only).to_owned()),
        _ if annotated.is_some_and(|name| containers.contains(&name)) => Ok(annotated.unwrap_or_default().to_owned()),
        [only] => Ok((*only).to_owned()),
        several if call.request.info.subresource != "log" => Ok(several[0].to_owned()),
        several => {
            let mut text =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", several.join(" "));
            if !init.is_empty() {
                text += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(Failure::bad_request(text))
        }
    }
}
