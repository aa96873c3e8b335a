//! A node with real containers, a real network and a real API server, as root. Each test has its own of everything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kubectl;
mod pods;
mod rig;
mod survival;
