//! A client that costs next to nothing beside a server on the same cores: HTTP/1.1 over TLS with requests written in one
//! piece, and answers that are counted and not looked into.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::chunks::Chunks;

const HEAD_MAX_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 128 * 1024;

/// The way to one server, as the kubeconfig's only user.
#[derive(Clone)]
pub struct Way {
    connector: TlsConnector,
    address: SocketAddr,
}

impl Way {
    /// Reads a kubeconfig that is JSON, with everything it needs inside.
    pub fn read(kubeconfig: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let document: Value = serde_json::from_slice(&text)?;
        let (cluster, user) = (&document["clusters"][0]["cluster"], &document["users"][0]["user"]);
        let pem = |value: &Value| anyhow::Ok(BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem(&cluster["certificate-authority-data"])?)?)?;
        let chain = CertificateDer::pem_slice_iter(&pem(&user["client-certificate-data"])?)
            .collect::<Result<Vec<_>, _>>()
            .context("the client's certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&pem(&user["client-key-data"])?).context("the client's key")?;
        let config = ClientConfig::builder_with_provider(Arc::new(offer()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let url = cluster["server"].as_str().unwrap_or_default();
        let address = url.strip_prefix("https://").and_then(|rest| rest.parse().ok());
        let address = address.with_context(|| format!("{url:?} is no address with a port"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), address })
    }

    /// A connection of one's own.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // A TLS session reads 4 KiB at a time; the system is asked for more.
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        let stream = self.connector.connect(ServerName::from(self.address.ip()), stream).await?;
        Ok(Connection { stream, request: Vec::new(), buffer: vec![0; READ_BYTES], start: 0, end: 0 })
    }
}

/// Ciphers in the order that client-go's TLS offers them where the processor knows AES.
fn offer() -> CryptoProvider {
    let first = [ring::cipher_suite::TLS13_AES_128_GCM_SHA256, ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    CryptoProvider { cipher_suites: first.into(), ..ring::default_provider() }
}

/// One connection; one request at a time.
pub struct Connection {
    stream: TlsStream<BufReader<TcpStream>>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// What was read and not yet taken.
    start: usize,
    end: usize,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    /// Sends a request and reads its answer to the end; how long its body was.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<usize> {
        let mut bytes = 0;
        let length = self.begin(method, path, body).await?;
        self.body(length, |piece| bytes += piece.len()).await?;
        Ok(bytes)
    }

    /// The body of an answer.
    pub async fn read(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        let length = self.begin("GET", path, "").await?;
        self.body(length, |piece| body.extend_from_slice(piece)).await?;
        Ok(body)
    }

    async fn body(&mut self, length: Length, mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
        match length {
            Length::Known(mut left) => {
                while left > 0 {
                    let available = self.available().await?;
                    let piece = &available[..left.min(available.len())];
                    each(piece);
                    let taken = piece.len();
                    left -= taken;
                    self.start += taken;
                }
            }
            Length::Chunked => {
                let mut chunks = Chunks::default();
                while !chunks.ended() {
                    let taken = chunks.feed(self.available().await?, &mut each)?;
                    self.start += taken;
                }
            }
        }
        Ok(())
    }

    /// Begins a watch; the answer's lines are then counted by [`Watch::lines`].
    pub async fn watch(mut self, path: &str) -> anyhow::Result<Watch> {
        match self.begin("GET", path, "").await? {
            Length::Chunked => Ok(Watch { connection: self, chunks: Chunks::default() }),
            Length::Known(_) => bail!("{path}: the answer is no stream"),
        }
    }

    async fn begin(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Length> {
        self.request.clear();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: api\r\nAccept: application/json\r\nUser-Agent: compare/1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        self.answer(method, path).await
    }

    /// Reads an answer's head.
    async fn answer(&mut self, method: &str, path: &str) -> anyhow::Result<Length> {
        let mut head = Vec::new();
        let end = loop {
            ensure!(head.len() < HEAD_MAX_BYTES, "{method} {path}: the answer's head does not end");
            let before = head.len();
            let available = self.available().await?;
            head.extend_from_slice(available);
            let found = head.windows(4).position(|window| window == b"\r\n\r\n");
            let taken = found.map_or(head.len(), |at| at + 4) - before;
            self.start += taken;
            if let Some(end) = found {
                break end;
            }
        };
        let head = std::str::from_utf8(&head[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 2"), "{method} {path}: {status}");
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                return Ok(Length::Known(value.parse()?));
            }
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Ok(Length::Chunked);
            }
        }
        bail!("{method} {path}: the answer does not say how long it is")
    }

    /// At least one byte that was not taken yet.
    async fn available(&mut self) -> anyhow::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, self.stream.read(&mut self.buffer).await?);
            ensure!(self.end > 0, "the server closed the connection");
        }
        Ok(&self.buffer[self.start..self.end])
    }
}

/// A watch under way.
pub struct Watch {
    connection: Connection,
    chunks: Chunks,
}

impl Watch {
    /// How many lines end in what comes next: each event is one.
    pub async fn lines(&mut self) -> anyhow::Result<usize> {
        let mut lines = 0;
        let count = |piece: &[u8]| lines += piece.iter().filter(|byte| **byte == b'\n').count();
        let taken = self.chunks.feed(self.connection.available().await?, count)?;
        self.connection.start += taken;
        ensure!(!self.chunks.ended(), "the watch ended");
        Ok(lines)
    }
}
