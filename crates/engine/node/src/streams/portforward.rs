//! Port-forward: pairs of a data and an error stream, each data stream joined to a connection into the pod.

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use super::{
    StreamError,
    negotiate::Protocol,
    sink::Sink,
    spdy::{self, headers},
    tunnel::Tunnel,
    websocket::{BoxTransport, Channels},
};

/// Connects to a port inside the pod.
pub type Dial = Arc<dyn Fn(u16) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Bytes read from the pod in one go.
const READ_BYTES: usize = 32 << 10;

/// Serves one port-forward connection until the client leaves. `ports` are those named in the query, which only
/// WebSocket channels need: SPDY names a port with every stream.
pub async fn serve(transport: BoxTransport, protocol: Protocol, ports: &[u16], dial: Dial) -> Result<(), StreamError> {
    match protocol {
        Protocol::Spdy => over_spdy(spdy::serve(transport), dial).await,
        Protocol::Tunnel => over_spdy(spdy::serve(Tunnel::serve(transport).await), dial).await,
        Protocol::Channels(version) => {
            let readable: Vec<u8> = channel_numbers(ports)?.iter().map(|(_, data)| *data).collect();
            over_channels(Channels::serve(transport, version, &readable).await, ports, dial).await
        }
    }
}

/// Each port with its data channel; the error channel is the next number.
fn channel_numbers(ports: &[u16]) -> Result<Vec<(u16, u8)>, StreamError> {
    let numbers = (0..=u8::MAX - 1).step_by(2);
    if ports.is_empty() || ports.len() > numbers.len() {
        return Err(StreamError::protocol(format!("{} ports in the query", ports.len())));
    }
    Ok(ports.iter().copied().zip(numbers).collect())
}

async fn over_channels(mut channels: Channels, ports: &[u16], dial: Dial) -> Result<(), StreamError> {
    let mut forwards = Vec::new();
    for (port, data) in channel_numbers(ports)? {
        let (data_sink, error_sink) = (Sink::Channel(channels.writer(data)), Sink::Channel(channels.writer(data + 1)));
        // Both channels begin with the port, little endian.
        data_sink.send(&port.to_le_bytes()).await?;
        error_sink.send(&port.to_le_bytes()).await?;
        let reader = channels.take(data).expect("every data channel is readable");
        forwards.push(forward(port, reader, data_sink, error_sink, dial.clone()));
    }
    futures::future::join_all(forwards).await;
    channels.close().await;
    Ok(())
}

async fn over_spdy(mut incoming: spdy::Incoming, dial: Dial) -> Result<(), StreamError> {
    let mut errors: HashMap<String, Sink> = HashMap::new();
    let mut forwards = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = incoming.accept() => stream,
            Some(_) = forwards.join_next(), if !forwards.is_empty() => continue,
        };
        let Some(stream) = stream else { break };
        let port = headers::find(&stream.headers, "port").unwrap_or_default().to_owned();
        let request = headers::find(&stream.headers, "requestid").unwrap_or(&port).to_owned();
        match headers::find(&stream.headers, "streamtype") {
            Some("error") => {
                errors.insert(request, Sink::Spdy(stream.writer));
            }
            Some("data") => {
                let port: u16 = port.parse().map_err(|_| StreamError::protocol(format!("port {port:?}")))?;
                let error = errors.remove(&request).ok_or(StreamError::Missing("the error stream first"))?;
                let data = Sink::Spdy(stream.writer);
                forwards.spawn(forward(port, stream.reader.into_inner(), data, error, dial.clone()));
            }
            other => return Err(StreamError::protocol(format!("stream of unknown type {other:?}"))),
        }
    }
    // Dropping the set ends what is still under way: the client is gone.
    Ok(())
}

/// Joins one data stream to a connection; what goes wrong is told on the error stream.
async fn forward(port: u16, from_client: mpsc::Receiver<Bytes>, data: Sink, error: Sink, dial: Dial) {
    let result = match dial(port).await {
        Ok(connection) => join(connection, from_client, &data).await,
        Err(failure) => {
            let message = format!(
                "error forwarding port {port} to pod: failed to connect to localhost:{port} inside the pod: {failure}"
            );
            // A client that left does not need the message.
            error.send(message.as_bytes()).await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, port, "port-forward ended");
    }
    // Both are over either way; a client that left has closed them itself.
    let _ = data.finish().await;
    let _ = error.finish().await;
}

async fn join(connection: TcpStream, mut from_client: mpsc::Receiver<Bytes>, data: &Sink) -> Result<(), StreamError> {
    let (mut read, mut write) = connection.into_split();
    let upload = async {
        while let Some(bytes) = from_client.recv().await {
            write.write_all(&bytes).await?;
        }
        Ok::<_, StreamError>(write.shutdown().await?)
    };
    let download = async {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match read.read(&mut buffer).await? {
                0 => return Ok::<_, StreamError>(()),
                length => data.send(&buffer[..length]).await?,
            }
        }
    };
    tokio::pin!(upload, download);
    // The pod's side decides when it is over: a client often finishes sending long before the answer ends.
    let mut uploading = true;
    loop {
        tokio::select! {
            result = &mut download => return result,
            result = &mut upload, if uploading => {
                uploading = false;
                if let Err(error) = result {
                    tracing::trace!(%error, "the pod takes no more bytes");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use bytes::Bytes;
    use expect_test::expect;
    use futures::{FutureExt, SinkExt, StreamExt};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::{Dial, channel_numbers, serve};
    use crate::streams::{negotiate::Protocol, websocket::Version};

    #[test]
    fn ports_get_pairs_of_channels() {
        assert_eq!(channel_numbers(&[80, 443]).unwrap(), [(80, 0), (443, 2)]);
        assert!(channel_numbers(&[]).is_err());
        assert!(channel_numbers(&[1; 200]).is_err());
    }

    async fn messages(dial: Dial, request: &'static [u8]) -> Vec<String> {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = serve(Box::new(ours), Protocol::Channels(Version::V4), &[80], dial);
        let client = async {
            let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
            client.send(Message::Binary(Bytes::from_static(request))).await.expect("open");
            let mut seen = Vec::new();
            while let Some(Ok(Message::Binary(message))) = client.next().await {
                seen.push(format!("{}: {:?}", message[0], String::from_utf8_lossy(&message[1..])));
            }
            seen
        };
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn bytes_go_to_the_pod_and_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let pod = async {
            let (mut connection, _) = listener.accept().await.expect("dialled");
            let mut question = [0; 4];
            connection.read_exact(&mut question).await.expect("asked");
            connection.write_all(b"pong").await.expect("open");
        };
        let dial: Dial = Arc::new(move |_| TcpStream::connect(address).boxed());
        let (_, seen) = tokio::join!(pod, messages(dial, b"\x00ping"));
        expect![[r#"
            [
                "0: \"P\\0\"",
                "1: \"P\\0\"",
                "0: \"pong\"",
            ]
        "#]]
        .assert_debug_eq(&seen);
    }

    #[tokio::test]
    async fn a_closed_port_is_told_on_the_error_channel() {
        let dial: Dial = Arc::new(|_| async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }.boxed());
        expect![[r#"
            [
                "0: \"P\\0\"",
                "1: \"P\\0\"",
                "1: \"error forwarding port 80 to pod: failed to connect to localhost:80 inside the pod: connection refused\"",
            ]
        "#]]
        .assert_debug_eq(&messages(dial, b"\x00ping").await);
    }
}
