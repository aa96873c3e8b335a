//! Clients' connections: accepted, bounded, decrypted, and ended gently.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{headers::Client, proxy::Proxy};

/// When the machine has no more file descriptors, accepting fails at once each time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const STREAMS_PER_CONNECTION: u32 = 256;

/// Accepts connections until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    proxy: Arc<Proxy>,
    connections: Arc<GracefulShutdown>,
) {
    let slots = Arc::new(Semaphore::new(proxy.options.max_connections));
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        // Waiting here leaves further clients in the listener's queue instead of turning them away.
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "client not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, proxy, watcher) = (tls.clone(), Arc::clone(&proxy), connections.watcher());
        coracle_tasks::spawn("gateway-client", async move {
            if let Err(error) = connection(stream, address, port, tls, proxy, watcher).await {
                tracing::debug!(client = %address, error, "connection ended");
            }
            drop(slot);
        });
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    port: u16,
    tls: Option<TlsAcceptor>,
    proxy: Arc<Proxy>,
    watcher: Watcher,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    stream.set_nodelay(true).map_err(text)?;
    let client = Client { ip: address.ip().to_canonical(), port, is_tls: tls.is_some() };
    match tls {
        None => requests(stream, client, proxy, watcher).await,
        Some(tls) => {
            let handshake = timeout(proxy.options.header_timeout, tls.accept(stream)).await;
            let stream = handshake.map_err(|_| "no TLS handshake in time".to_owned())?.map_err(text)?;
            requests(stream, client, proxy, watcher).await
        }
    }
}

async fn requests<S>(stream: S, client: Client, proxy: Arc<Proxy>, watcher: Watcher) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(proxy.options.header_timeout);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_PER_CONNECTION);
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.handle(request, client).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    watcher.watch(connection.into_owned()).await.map_err(|error| error.to_string())
}
