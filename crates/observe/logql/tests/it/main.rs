//! LogQL as those who use it see it.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod cases;
mod hostile;
mod naive;
mod naive_operators;
mod source;
