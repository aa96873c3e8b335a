//! What the gateway is told by whoever starts it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use coracle_certs::Identity;
use futures::future::BoxFuture;
use tokio::net::TcpStream;

/// How pods are reached: their network may not be that of the gateway's listeners.
pub trait Dialer: Send + Sync + 'static {
    /// Connects to a pod.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>>;
}

impl<F> Dialer for F
where
    F: Fn(SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync + 'static,
{
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        self(address)
    }
}

/// Settings with their customary values.
#[derive(Clone)]
pub struct Options {
    /// The IngressClass that is this gateway's; ingresses without any class are taken too.
    pub class: String,
    /// What `status.loadBalancer` of an ingress says.
    pub addresses: Vec<IpAddr>,
    /// Shown where no secret has a certificate for the server name. `None`: such connections are refused.
    pub fallback_certificate: Option<Identity>,
    /// For a connection to a pod.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the response.
    pub response_timeout: Duration,
    /// How long a request may look for a pod that takes it, when all refuse or none is ready.
    pub retry_window: Duration,
    /// How long an unused connection to a pod is kept.
    pub idle_timeout: Duration,
    /// For a client to send a request's head.
    pub header_timeout: Duration,
    /// Connections of clients at the same time.
    pub max_connections: usize,
    /// The largest request body; `None`: any.
    pub max_body_bytes: Option<u64>,
    /// How long open requests may go on when the gateway stops.
    pub stop_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            class: "coracle".to_owned(),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            fallback_certificate: None,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(60),
            retry_window: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            max_body_bytes: None,
            stop_timeout: Duration::from_secs(10),
        }
    }
}
