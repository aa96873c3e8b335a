//! Where bytes for the client go, whichever protocol carries them.

use super::{StreamError, spdy::StreamWriter, websocket::ChannelWriter};

/// One byte stream towards the client.
#[derive(Clone)]
pub enum Sink {
    /// A SPDY stream.
    Spdy(StreamWriter),
    /// A channel of a WebSocket.
    Channel(ChannelWriter),
}

impl Sink {
    /// Sends bytes; waits where the client is slow.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), StreamError> {
        match self {
            Self::Spdy(stream) => stream.send(bytes).await,
            Self::Channel(channel) => channel.send(bytes).await,
        }
    }

    /// Says that no more bytes follow; the end of a channel is the end of its WebSocket.
    pub async fn finish(&self) -> Result<(), StreamError> {
        match self {
            Self::Spdy(stream) => stream.finish().await,
            Self::Channel(_) => Ok(()),
        }
    }
}
