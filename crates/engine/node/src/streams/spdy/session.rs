//! One SPDY connection: the read side hands each stream its bytes, the write side is shared and waits where the transport does.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Mutex, mpsc},
};

use super::{
    frame::{self, Frame, MAX_FRAME_BYTES},
    headers::{Decoder, Encoder, HeaderList},
};
use crate::streams::StreamError;

/// Data frames held for a stream nobody reads; more than that holds up the connection, which is SPDY's only brake here.
const STREAM_QUEUE_FRAMES: usize = 32;
/// Streams opened and not yet taken.
const INCOMING_QUEUE_STREAMS: usize = 64;
/// What one data frame carries at most.
const MAX_DATA_BYTES: usize = 32 << 10;

type Transport = Box<dyn AsyncWrite + Send + Unpin>;

struct Outbound {
    transport: Transport,
    encoder: Encoder,
}

impl Outbound {
    async fn frame(&mut self, frame: &Frame) -> Result<(), StreamError> {
        self.transport.write_all(&frame::encode(frame)).await?;
        Ok(self.transport.flush().await?)
    }
}

/// A stream the client opened.
pub struct Stream {
    /// What the client said it is for.
    pub headers: HeaderList,
    /// Its bytes from the client.
    pub reader: StreamReader,
    /// Its bytes to the client.
    pub writer: StreamWriter,
}

/// The client's bytes of one stream.
pub struct StreamReader(mpsc::Receiver<Bytes>);

impl StreamReader {
    /// The next bytes; `None` once the client has finished.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    /// The queue itself, where a plain receiver is wanted.
    pub fn into_inner(self) -> mpsc::Receiver<Bytes> {
        self.0
    }
}

/// The engine's bytes of one stream.
#[derive(Clone)]
pub struct StreamWriter {
    stream: u32,
    outbound: Arc<Mutex<Outbound>>,
}

impl StreamWriter {
    /// Sends bytes, in frames of a bounded size.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), StreamError> {
        for chunk in bytes.chunks(MAX_DATA_BYTES) {
            let mut outbound = self.outbound.lock().await;
            outbound.transport.write_all(&frame::data_header(self.stream, false, chunk.len())).await?;
            outbound.transport.write_all(chunk).await?;
            outbound.transport.flush().await?;
        }
        Ok(())
    }

    /// Says that no more bytes follow.
    pub async fn finish(&self) -> Result<(), StreamError> {
        let fin = Frame::Data { stream: self.stream, fin: true, payload: Bytes::new() };
        self.outbound.lock().await.frame(&fin).await
    }

    /// Ends the stream at once (status 5: cancelled).
    pub async fn reset(&self) -> Result<(), StreamError> {
        self.outbound.lock().await.frame(&Frame::RstStream { stream: self.stream, status: 5 }).await
    }
}

/// The streams a client opens, in order.
pub struct Incoming {
    streams: mpsc::Receiver<Stream>,
    outbound: Arc<Mutex<Outbound>>,
}

impl Incoming {
    /// The next stream; `None` once the connection is over.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Says good-bye and closes the write side.
    pub async fn close(&self) {
        let mut outbound = self.outbound.lock().await;
        let goodbye = Frame::GoAway { last_stream: 0, status: 0 };
        if outbound.frame(&goodbye).await.is_ok() {
            // The peer may be gone already, which is what this asks for.
            let _ = outbound.transport.shutdown().await;
        }
    }
}

/// Speaks SPDY over `transport` as the server; reading goes on in a task until either side ends.
pub fn serve<T>(transport: T) -> Incoming
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(transport);
    let outbound = Arc::new(Mutex::new(Outbound { transport: Box::new(write), encoder: Encoder::default() }));
    let (opened, streams) = mpsc::channel(INCOMING_QUEUE_STREAMS);
    let reader = Reader { outbound: outbound.clone(), opened, decoder: Decoder::default(), queues: HashMap::new() };
    coracle_tasks::spawn("spdy", async move {
        if let Err(error) = reader.run(read).await {
            tracing::debug!(%error, "spdy connection ended");
        }
    });
    Incoming { streams, outbound }
}

struct Reader {
    outbound: Arc<Mutex<Outbound>>,
    opened: mpsc::Sender<Stream>,
    decoder: Decoder,
    queues: HashMap<u32, mpsc::Sender<Bytes>>,
}

impl Reader {
    async fn run(mut self, mut transport: impl AsyncRead + Unpin) -> Result<(), StreamError> {
        let mut buffer = BytesMut::with_capacity(16 << 10);
        loop {
            while let Some(frame) = frame::parse(&mut buffer)? {
                if !self.handle(frame).await? {
                    return Ok(());
                }
            }
            if buffer.len() > 2 * MAX_FRAME_BYTES {
                return Err(StreamError::protocol("frame never completes"));
            }
            if transport.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// False once the connection is to end.
    async fn handle(&mut self, frame: Frame) -> Result<bool, StreamError> {
        match frame {
            Frame::SynStream { stream, fin, headers } => return self.open(stream, fin, &headers).await,
            Frame::SynReply { headers, .. } | Frame::Headers { headers, .. } => {
                // Part of the one compression stream, wanted or not.
                self.decoder.decode(&headers)?;
            }
            Frame::Data { stream, fin, payload } => self.deliver(stream, fin, payload).await,
            Frame::RstStream { stream, .. } => {
                self.queues.remove(&stream);
            }
            Frame::Ping { id } => self.outbound.lock().await.frame(&Frame::Ping { id }).await?,
            Frame::GoAway { .. } | Frame::Ignored { .. } => {}
        }
        Ok(true)
    }

    async fn open(&mut self, stream: u32, fin: bool, block: &[u8]) -> Result<bool, StreamError> {
        let headers = self.decoder.decode(block)?;
        {
            let mut outbound = self.outbound.lock().await;
            let block = outbound.encoder.encode(&[]);
            outbound.frame(&Frame::SynReply { stream, fin: false, headers: block }).await?;
        }
        let (queue, bytes) = mpsc::channel(STREAM_QUEUE_FRAMES);
        if !fin {
            self.queues.insert(stream, queue);
        }
        let writer = StreamWriter { stream, outbound: self.outbound.clone() };
        Ok(self.opened.send(Stream { headers, reader: StreamReader(bytes), writer }).await.is_ok())
    }

    async fn deliver(&mut self, stream: u32, fin: bool, payload: Bytes) {
        if !payload.is_empty()
            && let Some(queue) = self.queues.get(&stream)
            && queue.send(payload).await.is_err()
        {
            // Nobody reads the stream any more; the rest of it is dropped.
            self.queues.remove(&stream);
        }
        if fin {
            self.queues.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::serve;
    use crate::streams::spdy::{
        frame::{Frame, encode, parse},
        headers::{Decoder, Encoder, find},
    };

    struct Client {
        wire: DuplexStream,
        buffer: BytesMut,
        encoder: Encoder,
        decoder: Decoder,
    }

    impl Client {
        fn new(wire: DuplexStream) -> Self {
            Self { wire, buffer: BytesMut::new(), encoder: Encoder::default(), decoder: Decoder::default() }
        }

        async fn send(&mut self, frame: Frame) {
            self.wire.write_all(&encode(&frame)).await.expect("open");
        }

        async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
            let headers = self.encoder.encode(headers);
            self.send(Frame::SynStream { stream, fin: false, headers }).await;
        }

        async fn recv(&mut self) -> Frame {
            loop {
                if let Some(frame) = parse(&mut self.buffer).expect("well formed") {
                    return frame;
                }
                assert_ne!(self.wire.read_buf(&mut self.buffer).await.expect("open"), 0, "closed");
            }
        }
    }

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let mut incoming = serve(ours);
        let mut client = Client::new(theirs);
        client.open(1, &[("streamtype", "data"), ("port", "80")]).await;
        let mut stream = incoming.accept().await.expect("opened");
        assert_eq!(find(&stream.headers, "port"), Some("80"));
        let Frame::SynReply { stream: 1, headers, .. } = client.recv().await else { panic!("no reply") };
        assert!(client.decoder.decode(&headers).expect("readable").is_empty());

        client.send(Frame::Data { stream: 1, fin: true, payload: Bytes::from_static(b"question") }).await;
        assert_eq!(stream.reader.recv().await.as_deref(), Some(&b"question"[..]));
        assert_eq!(stream.reader.recv().await, None);

        stream.writer.send(b"answer").await.expect("open");
        stream.writer.finish().await.expect("open");
        assert_eq!(client.recv().await, Frame::Data { stream: 1, fin: false, payload: Bytes::from_static(b"answer") });
        assert_eq!(client.recv().await, Frame::Data { stream: 1, fin: true, payload: Bytes::new() });
    }

    #[tokio::test]
    async fn pings_come_back_and_the_end_is_told() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let mut incoming = serve(ours);
        let mut client = Client::new(theirs);
        client.send(Frame::Ping { id: 3 }).await;
        assert_eq!(client.recv().await, Frame::Ping { id: 3 });
        incoming.close().await;
        assert_eq!(client.recv().await, Frame::GoAway { last_stream: 0, status: 0 });
        drop(client);
        assert!(incoming.accept().await.is_none());
    }

    #[tokio::test]
    async fn bytes_for_an_unknown_stream_are_dropped() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let _incoming = serve(ours);
        let mut client = Client::new(theirs);
        client.send(Frame::Data { stream: 9, fin: false, payload: Bytes::from_static(b"lost") }).await;
        client.send(Frame::Ping { id: 4 }).await;
        assert_eq!(client.recv().await, Frame::Ping { id: 4 });
    }
}
