//! Connections from inside the node's network, for callers on any runtime.

use std::{io, net::SocketAddr};

use tokio::{net::TcpStream, runtime::Handle};

/// Connects from inside the node's network.
#[derive(Debug, Clone)]
pub struct NodeDialer(Handle);

impl NodeDialer {
    /// `node_runtime` is a runtime whose threads are inside: see [`crate::Node::runtime`].
    pub fn new(node_runtime: Handle) -> Self {
        Self(node_runtime)
    }

    /// A socket belongs to the network of the thread that makes it; afterwards any thread may use it.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let connect = async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        coracle_tasks::spawn_on(&self.0, "dial-pod", connect).await.map_err(io::Error::other)?
    }
}
