//! SPDY/3.1, as much of it as kubectl and client-go speak: streams opened by the client, data both ways, pings, goodbye.

mod dictionary;
pub mod frame;
pub mod headers;
mod session;

pub use session::{Incoming, Stream, StreamReader, StreamWriter, serve};
