//! Clients on the network: TLS, HTTP/1.1 and HTTP/2, upgrades.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Peer, handle};
use crate::{authn::User, server::Server};

const HANDSHAKE: Duration = Duration::from_secs(10);
const SLOWEST_HEADERS: Duration = Duration::from_secs(30);
const HEADERS_BYTES: usize = 1 << 20;
/// As many as upstream allows on one connection.
const STREAMS: u32 = 1000;
const PAUSE_WHEN_OUT_OF_FILES: Duration = Duration::from_millis(50);

impl Server {
    /// Accepts TLS connections until the server stops. `tls` verifies client certificates where they are offered, and
    /// names `h2` and `http/1.1` as its protocols.
    pub fn serve_tls(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>) -> BoxFuture<'_, ()> {
        Box::pin(self.accept_all(listener, tls))
    }

    async fn accept_all(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let (server, acceptor) = (self.clone(), acceptor.clone());
                    let connection = connection(server, acceptor, stream, address.ip());
                    coracle_tasks::spawn("api-connection", connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE_WHEN_OUT_OF_FILES).await;
                }
            }
        }
    }
}

async fn connection(server: Server, acceptor: TlsAcceptor, stream: TcpStream, address: IpAddr) {
    let _immediate = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let user = certificate.and_then(|certificate| User::from_certificate(certificate)).map(Arc::new);
    let peer = Peer { user, address: Some(address) };
    let serving = server.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (server, peer) = (serving.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handle(&server, &peer, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(SLOWEST_HEADERS).max_buf_size(HEADERS_BYTES);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
