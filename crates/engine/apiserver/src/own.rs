//! Paths of this server's own, beside Kubernetes': `/coracle/v1/backup` and `/coracle/v1/encryption/rotate`. Who may is
//! decided by roles for paths, so that at first only administrators of the cluster may.

use std::io::{self, Write};

use bytes::Bytes;
use futures::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    request::Request,
    response::{self, Answer, BoxError},
    server::Server,
    status::Failure,
};

/// Pieces of a backup that may wait for a slow client.
const PIECES: usize = 16;

/// Answers a path below `/coracle/`.
pub async fn answer(server: &Server, request: &Request, method: &Method) -> Result<Answer, Failure> {
    match (request.info.path.trim_matches('/'), method) {
        ("coracle/v1/backup", &Method::GET) => backup(server, request),
        ("coracle/v1/encryption/rotate", &Method::POST) => rotate(server, request).await,
        ("coracle/v1/backup" | "coracle/v1/encryption/rotate", _) => Err(Failure::method_not_allowed()),
        _ => Ok(crate::serve::not_found()),
    }
}

/// Everything in one stream, while writes go on. `?keys=true` puts the encryption keys into it. A stream that is broken
/// off has no checksum at its end, so that it is not taken for a backup.
fn backup(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let mut more = Vec::new();
    if let (true, Some(encryption)) = (request.query.flag("keys"), &server.encryption) {
        let keys = std::fs::read(encryption.path()).map_err(Failure::internal)?;
        more.push((ENCRYPTION_KEYS.to_owned(), keys));
    }
    let (sender, receiver) = mpsc::channel(PIECES);
    let store = server.store.clone();
    coracle_tasks::spawn("backup", async move {
        if let Err(error) = store.backup(Pieces(sender), more).await {
            tracing::warn!(%error, "a backup was broken off");
        }
    });
    let frames = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(piece)), receiver))
    });
    Ok(response::with_body(StatusCode::OK, "application/octet-stream", StreamBody::new(frames).boxed_unsync()))
}

/// The name of the encryption keys in a backup.
pub const ENCRYPTION_KEYS: &str = "encryption.yaml";

/// Hands over what is written to it.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A new key, and everything written anew with it.
async fn rotate(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let Some(encryption) = &server.encryption else {
        return Err(Failure::bad_request("this server encrypts nothing"));
    };
    let key = encryption.rotate().map_err(Failure::internal)?;
    server.store.rewrite().await.map_err(Failure::internal)?;
    Ok(response::value(StatusCode::OK, request.accept, &json!({"key": key, "objects": server.store.snapshot().len()})))
}
