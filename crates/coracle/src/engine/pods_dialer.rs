//! The way to pods for rooms whose own sockets are on the host: connections made inside the node's network.

use std::{io, net::SocketAddr};

use coracle_network::NodeDialer;
use futures::future::BoxFuture;
use tokio::{net::TcpStream, runtime::Handle};

/// Dials from inside, for the API server's proxy and for the gateway.
pub struct PodsDialer(NodeDialer);

impl PodsDialer {
    pub fn new(inside: Handle) -> Self {
        Self(NodeDialer::new(inside))
    }
}

impl coracle_apiserver::Dialer for PodsDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(self.0.dial(address))
    }
}

impl coracle_gateway::Dialer for PodsDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        let dialer = self.0.clone();
        Box::pin(async move { dialer.dial(address).await })
    }
}
