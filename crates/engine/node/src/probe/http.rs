//! HTTP probes and hooks: a GET without trust and without patience.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1 as core;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outcome, dial, port};

/// What is read of an answer.
const MAX_BODY_BYTES: usize = 10 << 10;
const MAX_REDIRECTS: usize = 10;
const USER_AGENT: &str = "kube-probe/1.35";

/// What a GET asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// The target of an `httpGet`; `pod_ip` where it names no host.
    pub fn of(action: &core::HTTPGetAction, container: &core::Container, pod_ip: &str) -> Result<Self, String> {
        let path = action.path.clone().unwrap_or_default();
        Ok(Self {
            tls: action.scheme.as_deref() == Some("HTTPS"),
            host: action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
            port: port(&action.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: action
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, http::Error> {
        let mut request = Request::builder().uri(&self.path);
        let named = |name: &str| self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        if !named("host") {
            request = request.header(header::HOST, self.authority());
        }
        if !named("user-agent") {
            request = request.header(header::USER_AGENT, USER_AGENT);
        }
        if !named("accept") {
            request = request.header(header::ACCEPT, "*/*");
        }
        // An empty value leaves the header out, which is how one is silenced.
        for (name, value) in self.headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.header(header::CONNECTION, "close").body(Empty::new())
    }

    /// Where a redirect leads, if it stays on this host.
    fn follow(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        match uri.host() {
            None => Some(Self { path, ..self.clone() }),
            Some(host) if host == self.host => {
                let tls = uri.scheme_str() == Some("https");
                let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
                Some(Self { tls, port, path, ..self.clone() })
            }
            Some(_) => None,
        }
    }
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

/// Asks once, redirects and all, within `timeout`.
pub async fn probe(target: Target, timeout: Duration) -> Outcome {
    let url = target.url();
    match tokio::time::timeout(timeout, ask(target, timeout)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn ask(mut target: Target, timeout: Duration) -> Outcome {
    for _ in 0..=MAX_REDIRECTS {
        let answer = match get(&target, timeout).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failure(format!("Get \"{}\": {error}", target.url())),
        };
        match (answer.status, &answer.location) {
            (200..=299, _) => return Outcome::Success,
            (300..=399, Some(location)) => match target.follow(location) {
                Some(next) => target = next,
                None => return Outcome::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
            },
            (300..=399, None) => return Outcome::Success,
            (status, _) => return Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
    Outcome::Failure(format!("Get \"{}\": stopped after {MAX_REDIRECTS} redirects", target.url()))
}

async fn get(target: &Target, timeout: Duration) -> Result<Answer, String> {
    let connection = dial(&target.host, target.port, timeout).await?;
    // Probes are many and short: a small answer must not wait for more.
    let _ = connection.set_nodelay(true);
    if !target.tls {
        return exchange(connection, target).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
    let connection = connector().connect(name, connection).await.map_err(|error| error.to_string())?;
    exchange(connection, target).await
}

async fn exchange<T>(connection: T, target: &Target) -> Result<Answer, String>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = target.request().map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| read_error(&error))?;
        let status = response.status().as_u16();
        let location =
            response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The body does not decide anything; what cannot be read of it is left.
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Ok(Answer { status, location, body })
    };
    tokio::pin!(exchange, connection);
    // The connection does the work; the answer may still come after it has ended.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(read_error(&error)),
        },
    }
}

fn read_error(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() { "EOF".to_owned() } else { error.to_string() }
}

/// Probes ask whether somebody answers, not who: certificates of pods are not checked, as in every kubelet.
fn connector() -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(coracle_certs::Anyone(provider)))
        .with_no_client_auth();
    Arc::new(config).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{Target, probe};

    fn target(port: u16) -> Target {
        Target {
            tls: false,
            host: "127.0.0.1".into(),
            port,
            path: "/healthz".into(),
            headers: vec![("X-A".into(), "1".into())],
        }
    }

    /// Answers each connection with the next answer, and shows what was asked and found.
    async fn check(answers: &'static [&'static str], expected: Expect) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let server = async {
            let mut asked = String::new();
            for answer in answers {
                let (mut connection, _) = listener.accept().await.expect("dialled");
                let mut buffer = vec![0; 1024];
                let length = connection.read(&mut buffer).await.expect("asked");
                asked += &String::from_utf8_lossy(&buffer[..length]);
                connection.write_all(answer.as_bytes()).await.expect("open");
            }
            asked
        };
        let (asked, outcome) = tokio::join!(server, probe(target(port), Duration::from_secs(5)));
        let shown = format!("{}{outcome:?}", asked.replace("\r\n\r\n", "\n").replace("\r\n", " | "));
        expected.assert_eq(&shown.replace(&port.to_string(), "PORT"));
    }

    #[tokio::test]
    async fn any_status_below_400_is_well() {
        check(&["HTTP/1.1 204 No Content\r\n\r\n"], expect![[r#"
            GET /healthz HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
            Success"#]]).await;
        check(&["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"], expect![[r#"
            GET /healthz HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
            Failure("HTTP probe failed with statuscode: 503")"#]]).await;
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_only() {
        check(
            &["HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
            expect![[r#"
                GET /healthz HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
                GET /next HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
                Success"#]],
        )
        .await;
        check(
            &["HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 4\r\n\r\nmove"],
            expect![[r#"
                GET /healthz HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
                Warning("Probe terminated redirects, Response body: move")"#]],
        )
        .await;
    }

    #[tokio::test]
    async fn silence_and_closed_doors_are_told_apart() {
        check(&[""], expect![[r#"
            GET /healthz HTTP/1.1 | host: 127.0.0.1:PORT | user-agent: kube-probe/1.35 | accept: */* | x-a: 1 | connection: close
            Failure("Get \"http://127.0.0.1:PORT/healthz\": EOF")"#]]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let outcome = probe(target(port), Duration::from_millis(20)).await;
        let shown = format!("{outcome:?}").replace(&port.to_string(), "PORT");
        expect![[r#"Failure("Get \"http://127.0.0.1:PORT/healthz\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)")"#]].assert_eq(&shown);
        drop(listener);
        let outcome = probe(target(port), Duration::from_secs(5)).await;
        let shown = format!("{outcome:?}").replace(&port.to_string(), "PORT");
        expect![[
            r#"Failure("Get \"http://127.0.0.1:PORT/healthz\": dial tcp 127.0.0.1:PORT: connect: connection refused")"#
        ]]
        .assert_eq(&shown);
    }
}
