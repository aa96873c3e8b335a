//! The `v4.channel.k8s.io` and `v5.channel.k8s.io` protocols: every binary message begins with the number of its channel.
//! Version 5 adds one thing: with a message on channel 255 the client says which channel it has finished.

use std::{collections::HashMap, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, mpsc},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::StreamError;

/// The channel on which a client of version 5 names a channel it has finished; servers never use it.
const CLOSE_CHANNEL: u8 = 255;
/// Messages held for a channel nobody reads; more than that holds up the connection.
const CHANNEL_QUEUE_MESSAGES: usize = 32;

/// Anything bytes go through in both directions.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// An upgraded connection of any kind.
pub type BoxTransport = Box<dyn Transport>;

/// The version of the channel protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A channel ends with the connection.
    V4,
    /// A channel can end by itself.
    V5,
}

/// What a message means; pure, so that it can be tested as text.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Bytes(u8, Bytes),
    Finished(u8),
    Nothing,
}

fn meaning(version: Version, mut message: Bytes) -> Meaning {
    if message.is_empty() {
        return Meaning::Nothing;
    }
    let channel = message.split_to(1)[0];
    match (version, channel, message.first()) {
        (Version::V5, CLOSE_CHANNEL, Some(finished)) => Meaning::Finished(*finished),
        (_, _, None) => Meaning::Nothing,
        _ => Meaning::Bytes(channel, message),
    }
}

type Outbound = Arc<Mutex<SplitSink<WebSocketStream<BoxTransport>, Message>>>;

/// One channel towards the client.
#[derive(Clone)]
pub struct ChannelWriter {
    channel: u8,
    outbound: Outbound,
}

impl ChannelWriter {
    /// Sends bytes, or the bare channel number where there are none.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), StreamError> {
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.put_u8(self.channel);
        message.put_slice(bytes);
        send(&self.outbound, message.freeze()).await
    }
}

async fn send(outbound: &Outbound, message: Bytes) -> Result<(), StreamError> {
    outbound.lock().await.send(Message::Binary(message)).await.map_err(into_stream_error)
}

fn into_stream_error(error: tungstenite::Error) -> StreamError {
    match error {
        tungstenite::Error::Io(error) => StreamError::Io(error),
        other => StreamError::protocol(other.to_string()),
    }
}

/// A WebSocket whose messages are sorted by channel.
pub struct Channels {
    outbound: Outbound,
    queues: HashMap<u8, mpsc::Receiver<Bytes>>,
}

impl Channels {
    /// Speaks the protocol over `transport` as the server; `readable` are the channels the client may write to.
    pub async fn serve(transport: BoxTransport, version: Version, readable: &[u8]) -> Self {
        let socket = WebSocketStream::from_raw_socket(transport, Role::Server, None).await;
        let (outbound, mut inbound) = socket.split();
        let mut senders = HashMap::new();
        let mut queues = HashMap::new();
        for channel in readable {
            let (sender, receiver) = mpsc::channel(CHANNEL_QUEUE_MESSAGES);
            senders.insert(*channel, sender);
            queues.insert(*channel, receiver);
        }
        coracle_tasks::spawn("websocket", async move {
            while let Some(Ok(message)) = inbound.next().await {
                let payload = match message {
                    Message::Binary(payload) => payload,
                    Message::Text(text) => text.into(),
                    Message::Close(_) => break,
                    _ => continue,
                };
                dispatch(&mut senders, meaning(version, payload)).await;
            }
        });
        Self { outbound: Arc::new(Mutex::new(outbound)), queues }
    }

    /// The bytes of a channel; each can be taken once.
    pub fn take(&mut self, channel: u8) -> Option<mpsc::Receiver<Bytes>> {
        self.queues.remove(&channel)
    }

    /// A channel towards the client.
    pub fn writer(&self, channel: u8) -> ChannelWriter {
        ChannelWriter { channel, outbound: self.outbound.clone() }
    }

    /// Ends the connection in good order.
    pub async fn close(&self) {
        // Without a code clients take the end for an accident.
        let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let mut outbound = self.outbound.lock().await;
        if outbound.send(Message::Close(Some(frame))).await.is_ok() {
            // The peer may be gone already, which is what this asks for.
            let _ = outbound.close().await;
        }
    }
}

async fn dispatch(senders: &mut HashMap<u8, mpsc::Sender<Bytes>>, meaning: Meaning) {
    match meaning {
        Meaning::Bytes(channel, bytes) => {
            if let Some(sender) = senders.get(&channel)
                && sender.send(bytes).await.is_err()
            {
                // Nobody reads the channel any more; the rest of it is dropped.
                senders.remove(&channel);
            }
        }
        Meaning::Finished(channel) => {
            senders.remove(&channel);
        }
        Meaning::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::{Channels, Meaning, Version, meaning};

    #[test]
    fn a_message_is_a_channel_and_its_bytes() {
        let read = |version, bytes: &'static [u8]| meaning(version, Bytes::from_static(bytes));
        assert_eq!(read(Version::V4, b"\x00ls"), Meaning::Bytes(0, Bytes::from_static(b"ls")));
        assert_eq!(read(Version::V4, b""), Meaning::Nothing);
        assert_eq!(read(Version::V4, b"\x00"), Meaning::Nothing);
        assert_eq!(read(Version::V5, b"\xff\x00"), Meaning::Finished(0));
        assert_eq!(read(Version::V4, b"\xff\x00"), Meaning::Bytes(255, Bytes::from_static(b"\0")));
    }

    #[tokio::test]
    async fn channels_are_sorted_and_can_be_finished() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let mut channels = Channels::serve(Box::new(ours), Version::V5, &[0, 4]).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        for message in [&b"\x00in"[..], b"\x04size", b"\x09stray", b"\xff\x00"] {
            client.send(Message::Binary(Bytes::from_static(message))).await.expect("open");
        }
        let mut stdin = channels.take(0).expect("readable");
        assert_eq!(stdin.recv().await.as_deref(), Some(&b"in"[..]));
        assert_eq!(stdin.recv().await, None);
        assert_eq!(channels.take(4).expect("readable").recv().await.as_deref(), Some(&b"size"[..]));

        let stdout = channels.writer(1);
        stdout.send(b"out").await.expect("open");
        channels.close().await;
        drop((stdout, channels));
        let mut seen = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            seen.push(match message {
                Message::Close(frame) => format!("closed with {:?}", frame.map(|frame| u16::from(frame.code))),
                message => format!("{:?}", message.into_data()),
            });
        }
        assert_eq!(seen, ["b\"\\x01out\"", "closed with Some(1000)"]);
    }
}
