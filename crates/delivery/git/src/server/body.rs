//! Bodies between the asynchronous server and the blocking readers and writers of packs.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::Refusal;

/// Chunks that may wait for a client that reads slowly.
const QUEUED_CHUNKS: usize = 16;
/// How much is gathered before it is sent.
const CHUNK_BYTES: usize = 1 << 16;

/// A blocking reader of `body`, unpacked where the client packed it. To be used outside the runtime's own threads.
pub fn reader(body: Body, headers: &HeaderMap, idle: Duration) -> Result<Box<dyn Read + Send>, Refusal> {
    let chunks = impatient(body.into_data_stream().map_err(io::Error::other), idle);
    let plain = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(Box::new(plain)),
        Some(b"gzip" | b"x-gzip") => Ok(Box::new(MultiGzDecoder::new(plain))),
        Some(_) => Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only gzip is understood as content encoding")),
    }
}

/// `chunks`, ending in an error where the next one takes longer than `idle`.
fn impatient(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    idle: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(Some(Box::pin(chunks)), move |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout(idle, chunks.next()).await {
            Ok(Some(chunk)) => Some((chunk, Some(chunks))),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

/// A blocking writer, and the body its bytes come out of. Writing fails once the client is gone.
pub fn writer() -> (Writer, Body) {
    let (chunks, mut receiver) = mpsc::channel(QUEUED_CHUNKS);
    let body = Body::from_stream(futures::stream::poll_fn(move |context| receiver.poll_recv(context)));
    (Writer { chunks, gathered: Vec::new() }, body)
}

/// The writing end of a response.
pub struct Writer {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

impl Writer {
    /// Sends what is gathered and breaks the connection, so that the client does not take the response for whole.
    pub fn fail(mut self) {
        let _ = self.flush();
        let _ = self.chunks.blocking_send(Err(io::ErrorKind::BrokenPipe.into()));
    }
}

impl Write for Writer {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(content);
        if self.gathered.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.gathered));
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
