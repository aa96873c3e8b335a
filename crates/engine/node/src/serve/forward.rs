//! `/portForward`: ports of a pod for a client.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{Answer, Refusal, Server, exec, query::Query};
use crate::{
    pod::worker::Handle,
    streams::{
        negotiate::{Endpoint, negotiate},
        portforward::{self, Dial},
    },
};

/// Accepts the upgrade, and goes on in a task of its own.
pub fn serve(server: &Server, pod: &Handle, mut request: Request<Incoming>) -> Answer {
    let state = pod.state.borrow().clone();
    let host_network = state.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let uid = (!host_network).then(|| state.uid().to_owned());
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let ports: Result<Vec<u16>, _> =
        query.all("port").chain(query.all("ports")).flat_map(|text| text.split(',')).map(str::parse).collect();
    let ports = ports.map_err(|_| Refusal::bad("query parameter \"port\" is not a port number"))?;
    let (protocol, response) = negotiate(request.headers(), Endpoint::PortForward).map_err(exec::refuse)?;
    let network = server.context.network.clone();
    let dial: Dial = Arc::new(move |port| network.dial_loopback(uid.as_deref(), port));
    let upgrade = hyper::upgrade::on(&mut request);
    coracle_tasks::spawn("port-forward", async move {
        let result = async {
            let transport = upgrade.await.map_err(|error| error.to_string())?;
            let transport = Box::new(TokioIo::new(transport));
            portforward::serve(transport, protocol, &ports, dial).await.map_err(|error| error.to_string())
        };
        if let Err(error) = result.await {
            tracing::debug!(error, "port-forward");
        }
    });
    Ok(exec::empty(response))
}
