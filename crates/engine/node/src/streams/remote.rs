//! The streams of exec and attach, gathered from either protocol: stdin, stdout, stderr, resize, and the status at the end.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{
    StreamError,
    negotiate::Protocol,
    sink::Sink,
    spdy::{self, headers},
    websocket::{BoxTransport, Channels, Version},
};

/// How long a client may take to open the streams it asked for.
const STREAM_CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The streams a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// A terminal's size, as clients send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct TerminalSize {
    #[serde(rename = "Width")]
    pub width: u16,
    #[serde(rename = "Height")]
    pub height: u16,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Exited(i32),
    /// It could not be run, or its streams broke.
    Failed(String),
}

/// The sizes a resize stream holds in one piece; what does not parse is passed over, as upstream does.
pub fn sizes(bytes: &[u8]) -> Vec<TerminalSize> {
    serde_json::Deserializer::from_slice(bytes).into_iter().map_while(Result::ok).collect()
}

/// The `Status` that goes to the client at the end.
pub fn status(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Exited(0) => Status { status: Some("Success".into()), ..Status::default() },
        Outcome::Exited(code) => Status {
            status: Some("Failure".into()),
            reason: Some("NonZeroExitCode".into()),
            message: Some(format!(
                "command terminated with non-zero exit code: command terminated with exit code {code}"
            )),
            details: Some(StatusDetails {
                causes: Some(vec![StatusCause {
                    reason: Some("ExitCode".into()),
                    message: Some(code.to_string()),
                    field: None,
                }]),
                ..StatusDetails::default()
            }),
            ..Status::default()
        },
        Outcome::Failed(message) => Status {
            status: Some("Failure".into()),
            reason: Some("InternalError".into()),
            message: Some(format!("Internal error occurred: {message}")),
            details: Some(StatusDetails {
                causes: Some(vec![StatusCause { message: Some(message.clone()), ..StatusCause::default() }]),
                ..StatusDetails::default()
            }),
            code: Some(500),
            ..Status::default()
        },
    }
}

enum Connection {
    Spdy(spdy::Incoming),
    Channels(Channels),
}

/// The streams of one exec or attach.
pub struct Remote {
    /// What the client types.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// What the client sees.
    pub stdout: Option<Sink>,
    /// What the client sees as errors; never with a terminal.
    pub stderr: Option<Sink>,
    /// Terminal sizes as JSON.
    pub resize: Option<mpsc::Receiver<Bytes>>,
    error: Sink,
    connection: Connection,
}

impl Remote {
    /// Gathers the streams over an upgraded connection.
    pub async fn open(transport: BoxTransport, protocol: Protocol, wanted: Wanted) -> Result<Self, StreamError> {
        match protocol {
            Protocol::Channels(version) => Self::over_channels(transport, version, wanted).await,
            Protocol::Spdy => Self::over_spdy(transport, wanted).await,
            Protocol::Tunnel => Err(StreamError::protocol("exec does not run in a tunnel")),
        }
    }

    async fn over_channels(transport: BoxTransport, version: Version, wanted: Wanted) -> Result<Self, StreamError> {
        let mut channels = Channels::serve(transport, version, &[0, 4]).await;
        let sink = |wanted: bool, channel| {
            let writer = channels.writer(channel);
            wanted.then_some(Sink::Channel(writer))
        };
        let stdout = sink(wanted.stdout, 1);
        let stderr = sink(wanted.stderr && !wanted.tty, 2);
        let error = Sink::Channel(channels.writer(3));
        // An empty message tells the client that the connection is up.
        stdout.as_ref().or(stderr.as_ref()).unwrap_or(&error).send(&[]).await?;
        let (stdin, resize) = (channels.take(0), channels.take(4));
        Ok(Self {
            stdin: stdin.filter(|_| wanted.stdin),
            stdout,
            stderr,
            resize: resize.filter(|_| wanted.tty),
            error,
            connection: Connection::Channels(channels),
        })
    }

    async fn over_spdy(transport: BoxTransport, wanted: Wanted) -> Result<Self, StreamError> {
        let mut incoming = spdy::serve(transport);
        let gathered = tokio::time::timeout(STREAM_CREATION_TIMEOUT, gather(&mut incoming, wanted)).await;
        let streams = gathered.map_err(|_| StreamError::Missing("its streams"))??;
        Ok(Self {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            resize: streams.resize,
            error: streams.error.ok_or(StreamError::Missing("the error stream"))?,
            connection: Connection::Spdy(incoming),
        })
    }

    /// Tells the client how it ended, and ends the connection.
    pub async fn close(self, outcome: &Outcome) -> Result<(), StreamError> {
        for sink in [&self.stdout, &self.stderr].into_iter().flatten() {
            sink.finish().await?;
        }
        let status = serde_json::to_vec(&status(outcome)).expect("a status is JSON");
        self.error.send(&status).await?;
        self.error.finish().await?;
        match self.connection {
            Connection::Spdy(incoming) => incoming.close().await,
            Connection::Channels(channels) => channels.close().await,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Gathered {
    stdin: Option<mpsc::Receiver<Bytes>>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
    resize: Option<mpsc::Receiver<Bytes>>,
    error: Option<Sink>,
}

async fn gather(incoming: &mut spdy::Incoming, wanted: Wanted) -> Result<Gathered, StreamError> {
    let mut gathered = Gathered::default();
    let expected = 1
        + usize::from(wanted.stdin)
        + usize::from(wanted.stdout)
        + usize::from(wanted.stderr && !wanted.tty)
        + usize::from(wanted.tty);
    for _ in 0..expected {
        let stream = incoming.accept().await.ok_or(StreamError::Missing("its streams"))?;
        let sink = Sink::Spdy(stream.writer);
        match headers::find(&stream.headers, "streamtype") {
            Some("error") => gathered.error = Some(sink),
            Some("stdin") => gathered.stdin = Some(stream.reader.into_inner()),
            Some("stdout") => gathered.stdout = Some(sink),
            Some("stderr") => gathered.stderr = Some(sink),
            Some("resize") => gathered.resize = Some(stream.reader.into_inner()),
            other => return Err(StreamError::protocol(format!("stream of unknown type {other:?}"))),
        }
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::{Expect, expect};
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::{Outcome, Remote, TerminalSize, Wanted, sizes, status};
    use crate::streams::{negotiate::Protocol, websocket::Version};

    fn check(outcome: Outcome, expected: Expect) {
        expected.assert_eq(&serde_json::to_string(&status(&outcome)).unwrap());
    }

    #[test]
    fn the_status_says_how_it_ended() {
        check(Outcome::Exited(0), expect![[r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Success"}"#]]);
        check(
            Outcome::Exited(3),
            expect![[
                r#"{"apiVersion":"v1","kind":"Status","details":{"causes":[{"message":"3","reason":"ExitCode"}]},"message":"command terminated with non-zero exit code: command terminated with exit code 3","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}"#
            ]],
        );
        check(
            Outcome::Failed("no such container".into()),
            expect![[
                r#"{"apiVersion":"v1","kind":"Status","code":500,"details":{"causes":[{"message":"no such container"}]},"message":"Internal error occurred: no such container","metadata":{},"reason":"InternalError","status":"Failure"}"#
            ]],
        );
    }

    #[test]
    fn sizes_may_come_several_at_once() {
        let read = sizes(b"{\"Width\":80,\"Height\":24}\n{\"Width\":100,\"Height\":30}\n");
        assert_eq!(read, [TerminalSize { width: 80, height: 24 }, TerminalSize { width: 100, height: 30 }]);
        assert!(sizes(b"not a size").is_empty());
    }

    #[tokio::test]
    async fn exec_over_a_websocket() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        let mut remote = Remote::open(Box::new(ours), Protocol::Channels(Version::V4), wanted).await.expect("open");
        client.send(Message::Binary(Bytes::from_static(b"\x00date"))).await.expect("open");
        assert_eq!(remote.stdin.as_mut().expect("wanted").recv().await.as_deref(), Some(&b"date"[..]));
        assert!(remote.resize.is_none());
        remote.stdout.as_ref().expect("wanted").send(b"today").await.expect("open");
        remote.close(&Outcome::Exited(0)).await.expect("open");
        let mut seen = Vec::new();
        while let Some(Ok(Message::Binary(message))) = client.next().await {
            seen.push(String::from_utf8(message.to_vec()).expect("text"));
        }
        expect![[r#"
            [
                "\u{1}",
                "\u{1}today",
                "\u{3}{\"apiVersion\":\"v1\",\"kind\":\"Status\",\"metadata\":{},\"status\":\"Success\"}",
            ]
        "#]]
        .assert_debug_eq(&seen);
    }
}
