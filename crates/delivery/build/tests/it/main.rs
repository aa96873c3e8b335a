//! Whole builds, into a store on disk. Commands run in a sandbox that only pretends.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod building;
mod copying;
mod world;
