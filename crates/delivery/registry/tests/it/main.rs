//! The registry as a client sees it, request by request, and what stays on disk.

mod content;
mod http;
