//! Connections that go on as another protocol, such as WebSocket: carried byte for byte until one side ends.

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::{
    body::{ResponseBody, full},
    counters::Open,
    retry::Answer,
};

/// Joins the client's connection with the pod's, after the pod agreed to switch.
pub(crate) fn join(client: OnUpgrade, answer: Answer, open: Open) -> Response<ResponseBody> {
    let Answer { mut response, lease, pod, .. } = answer;
    let upstream = hyper::upgrade::on(&mut response);
    coracle_tasks::spawn("gateway-upgrade", async move {
        // The pod counts as busy, and the route as open, for as long as the two talk.
        let _held = (lease, open);
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await;
            }
            Err(error) => tracing::debug!(%pod, %error, "connection not upgraded"),
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, full(""))
}
