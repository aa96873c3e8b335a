//! TLS: which certificate is shown, and what is spoken.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use coracle_certs::{Authority, Identity, LeafRequest, Usage};
use coracle_clock::SystemClock;
use coracle_gateway::Options;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::SignedDuration;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Edge, HOST, Pod, eventually, put_ingress, spawn};

fn issue(authority: &Authority) -> Identity {
    let request = LeafRequest {
        common_name: "test".to_owned(),
        organizations: Vec::new(),
        alternative_names: vec![HOST.to_owned(), "other.localhost".to_owned()],
        usage: Usage::Server,
        valid_for: SignedDuration::from_hours(1),
    };
    authority.issue(&request, &SystemClock).unwrap()
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

async fn connect(address: SocketAddr, authority: &Authority, name: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority.certificate_pem())).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

async fn shown(address: SocketAddr, authority: &Authority, name: &str) -> CertificateDer<'static> {
    let stream = connect(address, authority, name).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn put_secret(edge: &Edge, identity: &Identity) {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let data = json!({"tls.crt": encode(&identity.certificate_pem), "tls.key": encode(&identity.key_pem)});
    let metadata = json!({"namespace": "app", "name": "certificate"});
    edge.api.put("/api/v1/secrets", json!({"metadata": metadata, "type": "kubernetes.io/tls", "data": data}));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_follow_secrets_and_http2_is_spoken() {
    let authority = Authority::ephemeral("test", &SystemClock).unwrap();
    let [fallback, first, second] = [(), (), ()].map(|()| issue(&authority));
    let edge = Edge::start_with(Options { fallback_certificate: Some(fallback.clone()), ..Options::default() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    edge.gateway.serve_https(listener);
    assert_eq!(shown(address, &authority, HOST).await, certificate(&fallback.certificate_pem));

    put_secret(&edge, &first);
    put_ingress(&edge.api, json!({"tls": [{"hosts": [HOST], "secretName": "certificate"}]}));
    let shows =
        async |identity: &Identity| shown(address, &authority, HOST).await == certificate(&identity.certificate_pem);
    eventually("the secret's certificate is shown", async || shows(&first).await).await;
    assert_eq!(shown(address, &authority, "other.localhost").await, certificate(&fallback.certificate_pem));
    put_secret(&edge, &second);
    eventually("the new certificate is shown", async || shows(&second).await).await;
    put_secret(&edge, &Identity { key_pem: first.key_pem.clone(), ..second.clone() });
    eventually("a certificate without its key is not shown", async || shows(&fallback).await).await;

    let pod = Pod::start("one").await;
    edge.put_pods(&[&pod]).await;
    edge.wait_for(&[&pod]).await;
    let stream = connect(address, &authority, HOST).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    spawn(connection);
    let request = Request::get(format!("https://{HOST}/headers")).body(Empty::<Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains("x-forwarded-proto: https") && text.contains(&format!("host: {HOST}")), "{text}");
}
