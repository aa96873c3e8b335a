//! A byte stream inside the binary messages of a WebSocket: how kubectl carries SPDY through proxies that know only WebSockets.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::Role},
};

use super::websocket::BoxTransport;

/// The byte stream.
pub struct Tunnel {
    socket: WebSocketStream<BoxTransport>,
    unread: Bytes,
}

impl Tunnel {
    /// Speaks WebSocket over `transport` as the server.
    pub async fn serve(transport: BoxTransport) -> Self {
        Self { socket: WebSocketStream::from_raw_socket(transport, Role::Server, None).await, unread: Bytes::new() }
    }
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                None | Some(Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            }
        }
        let length = self.unread.len().min(out.remaining());
        out.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(into_io)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.socket).start_send(message).map_err(into_io)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(into_io)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::Tunnel;

    #[tokio::test]
    async fn messages_become_one_byte_stream() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let mut tunnel = Tunnel::serve(Box::new(ours)).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        client.send(Message::Binary(Bytes::from_static(b"one "))).await.expect("open");
        client.send(Message::Binary(Bytes::from_static(b"two"))).await.expect("open");
        let mut read = [0; 7];
        tunnel.read_exact(&mut read).await.expect("both messages");
        assert_eq!(&read, b"one two");

        tunnel.write_all(b"back").await.expect("open");
        tunnel.flush().await.expect("open");
        assert_eq!(client.next().await.expect("open").expect("a message").into_data(), Bytes::from_static(b"back"));
        client.close(None).await.expect("open");
        assert_eq!(tunnel.read(&mut read).await.expect("an end"), 0);
    }
}
