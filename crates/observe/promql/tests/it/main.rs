//! Everything that is tested from outside.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod compare;
mod data;
mod golden;
mod parse;
mod random;
mod script;
mod scripts;
