//! The gateway as the binary holds it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper_util::server::graceful::GracefulShutdown;
use kube::Client;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_rustls::TlsAcceptor;

use crate::{
    counters::RouteStats,
    follow::{self, Targets},
    options::{Dialer, Options},
    proxy::Proxy,
    routes::Table,
    server, status,
    tls::{self, Certificates},
};

/// A running gateway. Must be started, and given listeners, on the runtime that is to serve them.
pub struct Gateway {
    proxy: Arc<Proxy>,
    certificates: Arc<Certificates>,
    connections: Arc<GracefulShutdown>,
    followers: Vec<JoinHandle<()>>,
    listeners: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Starts following the API; nothing is served until there is a listener.
    pub fn start(client: Client, dialer: Arc<dyn Dialer>, options: Options) -> Result<Self, coracle_certs::Error> {
        let certificates = Certificates::new(options.fallback_certificate.as_ref())?;
        let (ready, is_ready) = watch::channel(false);
        let (ours, our_ingresses) = watch::channel(Vec::new());
        let (class, addresses) = (options.class.clone(), options.addresses.clone());
        let table = ArcSwap::from_pointee(Table::default());
        let proxy = Arc::new(Proxy { table, ready: is_ready, dialer, options });
        let targets = Targets { proxy: Arc::clone(&proxy), certificates: Arc::clone(&certificates), ready, ours };
        let followers = vec![
            coracle_tasks::spawn("gateway-routes", follow::run(client.clone(), targets)),
            coracle_tasks::spawn("gateway-status", status::run(client, class, addresses, our_ingresses)),
        ];
        Ok(Self { proxy, certificates, connections: Arc::default(), followers, listeners: Mutex::default() })
    }

    /// Returns when the first whole table is in use.
    pub async fn ready(&self) {
        // An error means that the follower ended, which only stopping does.
        let _ = self.proxy.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Serves plain HTTP/1.1 and HTTP/2 on `listener`.
    pub fn serve_http(&self, listener: TcpListener) {
        self.serve(listener, None);
    }

    /// Serves HTTP/1.1 and HTTP/2 over TLS on `listener`.
    pub fn serve_https(&self, listener: TcpListener) {
        let config = tls::server_config(Arc::clone(&self.certificates));
        self.serve(listener, Some(TlsAcceptor::from(config)));
    }

    /// What is served, with counts since the start.
    pub fn routes(&self) -> Vec<RouteStats> {
        self.proxy.table.load().stats()
    }

    /// Takes no new connections, and lets open requests end within the limit.
    pub async fn stop(mut self) {
        for listener in self.listeners.get_mut().drain(..) {
            listener.abort();
            let _ = listener.await;
        }
        // The listeners are gone, so nobody else holds it.
        let Some(connections) = Arc::into_inner(std::mem::take(&mut self.connections)) else { return };
        if timeout(self.proxy.options.stop_timeout, connections.shutdown()).await.is_err() {
            tracing::warn!("the gateway stops with requests still open");
        }
    }

    fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let serve = server::serve(listener, tls, Arc::clone(&self.proxy), Arc::clone(&self.connections));
        self.listeners.lock().push(coracle_tasks::spawn("gateway-listener", serve));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.followers.iter().chain(self.listeners.get_mut().iter()).for_each(JoinHandle::abort);
    }
}
