//! The registry as a client sees it, request by request, and what stays on disk.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod content;
mod crane;
mod http;
