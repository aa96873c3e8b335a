//! The store and its interface, from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod store;
