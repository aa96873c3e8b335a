//! The network as pods see it: real namespaces, cables, rules and sockets. Needs root; nothing leaves the namespaces.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

mod names;
mod outside;
mod pods;
mod services;
