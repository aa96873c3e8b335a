//! The streaming protocols of exec, attach and port-forward: WebSocket channels, SPDY/3.1, and SPDY carried in WebSocket messages.
//!
//! Framing is pure and tested by text; [`remote`] makes one set of byte channels out of either protocol, so that whoever runs a
//! command never learns which one the client spoke.

pub mod negotiate;
pub mod portforward;
pub mod remote;
pub mod sink;
pub mod spdy;
pub mod tunnel;
pub mod websocket;

use std::io;

/// Why a streaming connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The transport failed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The peer broke the framing rules.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The peer never opened the streams it asked for.
    #[error("timed out waiting for the client to open {0}")]
    Missing(&'static str),
}

impl StreamError {
    fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }
}
