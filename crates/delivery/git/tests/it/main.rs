//! The server against the real `git`, over loopback.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod fetching;
mod pushing;
mod reading;
mod refusing;
mod world;
