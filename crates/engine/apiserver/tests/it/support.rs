//! A server of one's own, in memory, and on loopback where a test wants to be a client from outside.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use coracle_apiserver::{AllowAll, Cidr, Guards, Options, Server, StaticTokens, User, generate_key};
use coracle_clock::SystemClock;
use coracle_store::Store;
use http_body_util::{BodyExt, Full};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::net::TcpListener;

/// The token of an administrator who comes without a certificate.
pub const TOKEN: &str = "an-administrators-token";

/// A server with all doors open, over an empty store.
pub async fn server() -> Server {
    server_over(Store::in_memory()).await
}

/// The same over a store of one's own.
pub async fn server_over(store: Store) -> Server {
    Server::start(store, options()).await.unwrap()
}

/// What a server is told unless a test tells it otherwise.
pub fn options() -> Options {
    Options {
        clock: Arc::new(SystemClock),
        authorizer: Arc::new(AllowAll),
        tokens: Arc::new(StaticTokens::new([(TOKEN.to_owned(), User::new("token-admin", ["system:masters"]))])),
        service_account_key: generate_key().unwrap(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        authority_pem: String::new(),
        node_socket: PathBuf::from("/nonexistent/node.sock"),
        dialer: None,
        service_range: Cidr { network: [10, 43, 0, 0].into(), prefix: 16 },
        node_ports: 30000..=32767,
        advertise: None,
        guards: Guards::default(),
    }
}

/// A client in the same process.
pub fn client(server: &Server) -> kube::Client {
    kube::Client::new(server.client_service(User::engine()), "default")
}

/// A server on a loopback port, with a kubeconfig for it.
pub struct Listening {
    pub server: Server,
    pub address: SocketAddr,
    pub kubeconfig: PathBuf,
    /// For clients who write HTTP by hand.
    pub tls: Arc<rustls::ClientConfig>,
    /// Whom they are to trust.
    pub authority: rustls::pki_types::CertificateDer<'static>,
    _directory: tempfile::TempDir,
}

impl Listening {
    /// One request over a TLS connection of its own, as whoever `token` stands for.
    pub async fn ask(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> (u16, Value) {
        let headers = token.map(|token| ("authorization", format!("Bearer {token}")));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask_with(&headers, method, path, body).await
    }

    /// The same with headers of one's own.
    pub async fn ask_with(&self, headers: &[(&str, &str)], method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, value) = self.exchange(headers, method, path, body).await;
        (status, value)
    }

    /// Status, headers and body of one request.
    pub async fn exchange(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, http::HeaderMap, Value) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        coracle_tasks::spawn("client-connection", async move {
            let _ended = connection.await;
        });
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::<bytes::Bytes>::from(body.to_owned())).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }

    /// Whom a token stands for, as `name groups`, or the status it is refused with.
    pub async fn whois(&self, token: &str) -> String {
        let review = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (status, answer) = self.ask(Some(token), "POST", path, review).await;
        let info = &answer["status"]["userInfo"];
        match status {
            201 => {
                let groups = info["groups"].as_array().unwrap().iter().map(|group| group.as_str().unwrap());
                format!("{} {}", info["username"].as_str().unwrap(), groups.collect::<Vec<_>>().join(","))
            }
            status => status.to_string(),
        }
    }
}

/// Waits until a condition holds, looking again and again.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// Serves `server` over TLS.
pub async fn listen(server: Server) -> Listening {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);

    let server_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "test server");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_certificate = leaf.signed_by(&server_key, &issuer).unwrap();

    let client_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "admin");
    leaf.distinguished_name.push(DnType::OrganizationName, "system:masters");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_certificate = leaf.signed_by(&client_key, &issuer).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority_certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![server_certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(server_key.serialize_der().into()),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let authority = authority_certificate.der().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = server.clone();
    coracle_tasks::spawn("api-listener", async move { serving.serve_tls(listener, Arc::new(tls)).await });

    let directory = tempfile::tempdir().unwrap();
    let encode = |text: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\ncontexts: [{{name: t, context: {{cluster: t, user: t}}}}]\n\
         clusters: [{{name: t, cluster: {{server: \"https://{address}\", certificate-authority-data: {}}}}}]\n\
         users: [{{name: t, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
        encode(authority_certificate.pem()),
        encode(client_certificate.pem()),
        encode(client_key.serialize_pem()),
    );
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, config).unwrap();
    Listening { server, address, kubeconfig, tls: client_tls(&authority), authority, _directory: directory }
}

/// A client that trusts one authority and shows no certificate.
pub fn client_tls(authority: &rustls::pki_types::CertificateDer<'static>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A webhook's server on loopback: answers each JSON document with what `answer` makes of it.
pub struct HookServer {
    pub url: String,
    /// As `clientConfig` wants it.
    pub ca_bundle: String,
}

/// Serves `answer`, whose arguments are the path and the document, until the test ends.
pub async fn hook_server(answer: impl Fn(&str, Value) -> Value + Send + Sync + 'static) -> HookServer {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_bundle = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "hook.default.svc".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    coracle_tasks::spawn("hook-server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            coracle_tasks::spawn("hook-connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let document = serde_json::from_slice(&body).unwrap_or_default();
                        let json = answer(&path, document).to_string();
                        Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::from(json)))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let _ended = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            });
        }
    });
    HookServer { url, ca_bundle: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca_bundle) }
}
